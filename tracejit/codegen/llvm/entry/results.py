"""Steps that make what a call returns.

Leaves first, then the containers around them from places in a row, and `end` at last.
"""

from .run import keep_memory, new_array
from .writer import KEY, WORD, Step, StepWriter


def _take(w: StepWriter) -> None:
    """Words: place to move from, place to move to."""
    source = w.place(1)
    w.store("ptr", w.load("ptr", source, WORD), w.place(2), WORD)
    w.store("ptr", "null", source, WORD)
    w.go_on(3)


def _share(w: StepWriter) -> None:
    """Words: place of an object, place for another reference to it."""
    _keep_new(w, w.load("ptr", w.place(1), WORD))
    w.go_on(3)


def _view(w: StepWriter) -> None:
    """Words: place of an array, of its view, dtype, flags that the view may have of the
    array's, offset in bytes, rank, shape, strides.
    """
    base, rank = w.load("ptr", w.place(1), WORD), w.word(6)
    data = w.gep("i8", w.field("ptr", base, w.layout.array_data), w.word(5))
    flags = w.field("i32", base, w.layout.array_flags)
    allowed = w.op(f"trunc i64 {w.word(4)} to i32")
    flags = w.op(f"and i32 {flags}, {allowed}")
    shape = w.gep("i64", "%op", 7)
    strides = w.gep("i64", shape, rank)
    made = new_array(w, w.pointer(3), rank, shape, data, flags, strides)
    w.store("ptr", made, w.place(2), WORD)
    keep_memory(w, made, base)
    w.go_on(w.op(f"add i64 {w.op(f'shl i64 {rank}, 1')}, 7"))


def _object(w: StepWriter) -> None:
    """Words: object, place for a reference to it."""
    _keep_new(w, w.pointer(1))
    w.go_on(3)


def _keep_new(w: StepWriter, found: str) -> None:
    w.extern("void", "Py_IncRef", [("ptr", found)])
    w.store("ptr", found, w.place(2), WORD)


def _made(w: StepWriter, result: str) -> None:
    """Note a new object at the place of word 2; the step has 3 words."""
    w.check_object(result)
    w.store("ptr", result, w.place(2), WORD)
    w.go_on(3)


def _numpy_scalar(w: StepWriter) -> None:
    """Words: place of the value, place of the result, dtype."""
    arguments = [("ptr", w.place(1)), ("ptr", w.pointer(3)), ("ptr", "null")]
    scalar = w.extern("ptr", "PyArray_Scalar", arguments)
    w.check_object(scalar)
    w.store("ptr", scalar, w.place(2), WORD)
    w.go_on(4)


def _python_int(w: StepWriter) -> None:
    """Words: place of the value, place of the result."""
    number = w.load("i64", w.place(1), WORD)
    _made(w, w.extern("ptr", "PyLong_FromLongLong", [("i64", number)]))


def _python_bool(w: StepWriter) -> None:
    """Words: place of the value, place of the result."""
    byte = w.load("i8", w.place(1), 1)
    number = w.op(f"zext i8 {byte} to i64")
    _made(w, w.extern("ptr", "PyBool_FromLong", [("i64", number)]))


def _python_float(w: StepWriter) -> None:
    """Words: place of the value, place of the result."""
    number = w.load("double", w.place(1), WORD)
    _made(w, w.extern("ptr", "PyFloat_FromDouble", [("double", number)]))


def _python_complex(w: StepWriter) -> None:
    """Words: place of the value, place of the result."""
    at = w.place(1)
    parts = [("double", w.load("double", w.gep("double", at, k), WORD)) for k in (0, 1)]
    _made(w, w.extern("ptr", "PyComplex_FromDoubles", parts))


def _sequence_of(kind: str) -> Step:
    def write(w: StepWriter) -> None:
        """Words: count, place of the first item, place of the result."""
        count, first, to = w.word(1), w.place(2), w.place(3)
        made = w.extern("ptr", f"Py{kind}_New", [("i64", count)])
        w.check_object(made)
        w.store("ptr", made, to, WORD)
        with w.loop(0, count, 1) as loop:
            at = w.gep("ptr", first, loop.index)
            item = w.load("ptr", at, WORD)
            w.store("ptr", "null", at, WORD)
            arguments = [("ptr", made), ("i64", loop.index), ("ptr", item)]
            w.extern("i32", f"Py{kind}_SetItem", arguments)
            loop.yield_([])
        w.go_on(4)

    return write


def _dict_of(w: StepWriter) -> None:
    """Words: count, place of the first value, place of the result, model, keys.

    The result starts as a copy of the model, a dict with those keys: it does not grow.
    """
    count, first, to = w.word(1), w.place(2), w.place(3)
    keys = w.gep("ptr", "%op", 5)
    made = w.extern("ptr", "PyDict_Copy", [("ptr", w.pointer(4))])
    w.check_object(made)
    w.store("ptr", made, to, WORD)
    with w.loop(0, count, 1, [("i32", "0")]) as loop:
        key = w.load("ptr", w.gep("ptr", keys, loop.index), WORD)
        value = w.load("ptr", w.gep("ptr", first, loop.index), WORD)
        arguments = [("ptr", made), ("ptr", key), ("ptr", value)]
        failed = w.extern("i32", "PyDict_SetItem", arguments)
        loop.yield_([w.op(f"or i32 {loop.carried[0]}, {failed}")])
    w.check(w.op(f"icmp eq i32 {loop.results[0]}, 0"))
    w.go_on(w.op(f"add i64 {count}, 5"))


def _made_by(w: StepWriter) -> None:
    """Words: count, place of the first value, place of the result, callable."""
    values = [("ptr", w.place(2)), ("i64", w.word(1)), ("ptr", "null")]
    result = w.extern("ptr", "PyObject_Vectorcall", [("ptr", w.pointer(4)), *values])
    w.check_object(result)
    w.store("ptr", result, w.place(3), WORD)
    w.go_on(5)


def _finish(w: StepWriter) -> None:
    """Words: callable, place of the result, places of its two arguments' lists."""
    arguments = w.gep("i8", "%frame", KEY)
    for k in range(2):
        made = w.load("ptr", w.place(3 + k), WORD)
        w.store("ptr", made, w.gep("ptr", arguments, k), WORD)
    rest = [("ptr", arguments), ("i64", "2"), ("ptr", "null")]
    result = w.extern("ptr", "PyObject_Vectorcall", [("ptr", w.pointer(1)), *rest])
    w.check_object(result)
    w.store("ptr", result, w.place(2), WORD)
    w.go_on(5)


def _end(w: StepWriter) -> None:
    """Words: place of the result."""
    at = w.place(1)
    result = w.load("ptr", at, WORD)
    w.store("ptr", "null", at, WORD)
    w.ret("ptr", result)


RESULT_STEPS: dict[str, Step] = {
    "take": _take,
    "share": _share,
    "view": _view,
    "object": _object,
    "numpy_scalar": _numpy_scalar,
    "python_int": _python_int,
    "python_bool": _python_bool,
    "python_float": _python_float,
    "python_complex": _python_complex,
    "tuple_of": _sequence_of("Tuple"),
    "list_of": _sequence_of("List"),
    "dict_of": _dict_of,
    "made_by": _made_by,
    "finish": _finish,
    "end": _end,
}
