"""Steps that run the program: results' memory, the call, what is written back.

References that steps make are kept at places of the frame that are cleaned up after the
call, whatever happens, so that a step that fails just returns NULL.
"""

from .writer import ARENA, KEY, WORD, Step, StepWriter

_CARRAY = 0x0501  # C-contiguous, aligned, writeable
_CACHE_LINE = 64
_PAGE = 4096  # where large results start: see `runtime.cpu.memory.pool`
_ARRAY_TYPE = "@PyArray_Type"


def _new(w: StepWriter) -> None:
    """Words: place, place of its address, dtype, rank, shape. As `numpy.empty`."""
    rank = w.word(4)
    array = new_array(w, w.pointer(3), rank, w.gep("i64", "%op", 5), "null", "0")
    w.store("ptr", array, w.place(1), WORD)
    data = w.field("ptr", array, w.layout.array_data)
    w.store("ptr", data, w.place(2), WORD)
    w.go_on(w.op(f"add i64 {rank}, 5"))


def _new_aligned(w: StepWriter) -> None:
    """Words: as `new`, then dtype of bytes and their number, a cache line to spare."""
    rank = w.word(4)
    shape = w.gep("i64", "%op", 5)
    rest = w.gep("i64", shape, rank)
    byte = w.load("ptr", rest, WORD)
    base = new_array(w, byte, "1", w.gep("i64", rest, 1), "null", "0")
    _new_inside(w, base, rank, shape)
    w.go_on(w.op(f"add i64 {rank}, 7"))


def _new_part(w: StepWriter) -> None:
    """Words: as `new` up to the rank, place of the memory's array, offset, shape."""
    rank = w.word(4)
    base = w.load("ptr", w.place(5), WORD)
    start = w.field("ptr", base, w.layout.array_data)
    data = w.gep("i8", start, w.word(6))
    shape = w.gep("i64", "%op", 7)
    array = new_array(w, w.pointer(3), rank, shape, data, str(_CARRAY))
    w.store("ptr", array, w.place(1), WORD)
    w.store("ptr", data, w.place(2), WORD)
    keep_memory(w, array, base)
    w.go_on(w.op(f"add i64 {rank}, 7"))


def _new_pooled(w: StepWriter) -> None:
    """Words: as `new`, then a callable and its argument: it gives the bytes to use."""
    rank = w.word(4)
    shape = w.gep("i64", "%op", 5)
    rest = w.gep("i64", shape, rank)
    base = _call(w, w.load("ptr", rest, WORD), w.gep("i64", rest, 1), 1)
    w.check_object(base)
    _new_inside(w, base, rank, shape, _PAGE)
    w.go_on(w.op(f"add i64 {rank}, 7"))


def _new_inside(
    w: StepWriter, base: str, rank: str, shape: str, alignment: int = _CACHE_LINE
) -> None:
    """Make an array at the first cache line or page in `base`, which it keeps."""
    start = w.field("i64", base, w.layout.array_data)
    up = w.op(f"add i64 {start}, {alignment - 1}")
    aligned = w.op(f"and i64 {up}, {-alignment}")
    data = w.op(f"inttoptr i64 {aligned} to ptr")
    # The place holds the bytes until the array does, for the case that it fails.
    w.store("ptr", base, w.place(1), WORD)
    array = new_array(w, w.pointer(3), rank, shape, data, str(_CARRAY))
    w.store("ptr", array, w.place(1), WORD)
    w.store("ptr", data, w.place(2), WORD)
    _give_memory(w, array, base)


def new_array(
    w: StepWriter,
    dtype: str,
    rank: str,
    shape: str,
    data: str,
    flags: str,
    strides: str = "null",
) -> str:
    """Return a new array; leave with an error if there is none."""
    w.extern("void", "Py_IncRef", [("ptr", dtype)])
    number = rank if rank.isdecimal() else w.op(f"trunc i64 {rank} to i32")
    arguments = [
        ("ptr", _ARRAY_TYPE),
        ("ptr", dtype),
        ("i32", number),
        ("ptr", shape),
        ("ptr", strides),
        ("ptr", data),
        ("i32", flags),
        ("ptr", "null"),
    ]
    array = w.extern("ptr", "PyArray_NewFromDescr", arguments)
    w.check_object(array)
    return array


def keep_memory(w: StepWriter, array: str, base: str) -> None:
    """Have an array keep the one whose memory it lies in."""
    w.extern("void", "Py_IncRef", [("ptr", base)])
    _give_memory(w, array, base)


def _give_memory(w: StepWriter, array: str, base: str) -> None:
    """Hand an array the reference to the one whose memory it lies in."""
    arguments = [("ptr", array), ("ptr", base)]
    failed = w.extern("i32", "PyArray_SetBaseObject", arguments)
    w.check(w.op(f"icmp eq i32 {failed}, 0"))


def _turn(w: StepWriter) -> None:
    """Words: place of an array, rank, axes. It becomes its transposed view."""
    array, rank = w.load("ptr", w.place(1), WORD), w.word(2)
    axes = w.gep("i8", "%frame", KEY)  # a struct of a pointer and a number
    w.store("ptr", w.gep("i64", "%op", 3), axes, WORD)
    w.store("i64", rank, w.gep("i64", axes, 1), WORD)
    arguments = [("ptr", array), ("ptr", axes)]
    turned = w.extern("ptr", "PyArray_Transpose", arguments)
    w.check_object(turned)
    w.store("ptr", turned, w.place(1), WORD)
    w.extern("void", "Py_DecRef", [("ptr", array)])
    w.go_on(w.op(f"add i64 {rank}, 3"))


def _call(w: StepWriter, function: str, arguments: str, count: int) -> str:
    """Call a Python function; return its result, NULL for an error."""
    rest = [("ptr", arguments), ("i64", str(count)), ("ptr", "null")]
    return w.extern("ptr", "PyObject_Vectorcall", [("ptr", function), *rest])


def _run(w: StepWriter) -> None:
    """Words: program, place of its pointers, callable that raises its error."""
    _finish_run(w, _call_program(w))


def _run_released(w: StepWriter) -> None:
    """Words: as `run`. Other threads run meanwhile."""
    state = w.extern("ptr", "PyEval_SaveThread", [])
    word = _call_program(w)
    w.extern("void", "PyEval_RestoreThread", [("ptr", state)])
    _finish_run(w, word)


def _call_program(w: StepWriter) -> str:
    arena = w.load("ptr", w.gep("i8", "%frame", ARENA), WORD)
    return w.op(f"call i64 {w.pointer(1)}(ptr {w.place(2)}, ptr {arena})")


def _finish_run(w: StepWriter, word: str) -> None:
    """Raise what an error word says, or go on."""
    failed = w.op(f"icmp ne i64 {word}, 0")
    with w.if_(failed, unlikely=True) as branch:
        arena = w.load("i64", w.gep("i8", "%frame", ARENA), WORD)
        numbers = w.gep("i8", "%frame", KEY)
        for k, number in enumerate((word, arena)):
            made = w.extern("ptr", "PyLong_FromLongLong", [("i64", number)])
            w.check_object(made)
            w.store("ptr", made, w.gep("ptr", numbers, k), WORD)
        _call(w, w.pointer(3), numbers, 2)
        for k in range(2):
            made = w.load("ptr", w.gep("ptr", numbers, k), WORD)
            w.extern("void", "Py_DecRef", [("ptr", made)])
        branch.yield_([])
    w.check(w.op(f"icmp eq i64 {word}, 0"))
    w.go_on(4)


def _copy(w: StepWriter) -> None:
    """Words: place of the array to write, place of what to write."""
    arrays = [("ptr", w.load("ptr", w.place(k), WORD)) for k in (1, 2)]
    failed = w.extern("i32", "PyArray_CopyInto", arrays)
    w.check(w.op(f"icmp eq i32 {failed}, 0"))
    w.go_on(3)


RUN_STEPS: dict[str, Step] = {
    "new": _new,
    "new_aligned": _new_aligned,
    "new_part": _new_part,
    "new_pooled": _new_pooled,
    "turn": _turn,
    "run": _run,
    "run_released": _run_released,
    "copy": _copy,
}
