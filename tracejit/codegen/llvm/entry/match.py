"""Steps that tell whether a call is the one that a list of steps is for.

Steps that look a value up (an argument, an item of a container), and those that check
it and note it in the frame, run no Python code, so that references need not be held.
Those that look at captured arrays may, and come after `hold`.
"""

from ..text import vec
from .writer import KEY, LANES, MISS, MISS_HELD, VALUE, WORD, Step, StepWriter

APART_WORDS = _ROW = 5  # of a row of `apart`
_ADDRESS = 4  # which of them is the address of the first byte
_FILTER = 4096  # bits
_MULTIPLIER = -7046029254386353131  # 2**64 divided by the golden ratio, made odd

# Looking up


def _arg(w: StepWriter) -> None:
    """Words: index."""
    value = w.load("ptr", w.gep("ptr", "%args", w.word(1)), WORD)
    w.go_on(2, value)


def _constant(w: StepWriter) -> None:
    """Words: object."""
    w.go_on(2, w.pointer(1))


def _tuple_item(w: StepWriter) -> None:
    """Words: place of the tuple, index."""
    container = w.load("ptr", w.place(1), WORD)
    items = w.gep("i8", container, w.layout.tuple_items)
    w.go_on(3, w.load("ptr", w.gep("ptr", items, w.word(2)), WORD))


def _list_item(w: StepWriter) -> None:
    """Words: place of the list, index."""
    container = w.load("ptr", w.place(1), WORD)
    items = w.field("ptr", container, w.layout.list_items)
    w.go_on(3, w.load("ptr", w.gep("ptr", items, w.word(2)), WORD))


def _dict_item(w: StepWriter) -> None:
    """Words: place of the dict, key, type of the key whose values compare, or 0."""
    container = w.load("ptr", w.place(1), WORD)
    position = w.gep("i64", w.place(1), 1)
    key_at, value_at = w.gep("i8", "%frame", KEY), w.gep("i8", "%frame", VALUE)
    places = [("ptr", p) for p in (container, position, key_at, value_at)]
    found = w.extern("i32", "PyDict_Next", places)
    w.require(w.op(f"icmp ne i32 {found}, 0"))
    key, expected = w.load("ptr", key_at, WORD), w.pointer(2)
    _require_equal_objects(w, key, expected, w.pointer(3))
    w.go_on(4, w.load("ptr", value_at, WORD))


def _attribute(w: StepWriter) -> None:
    """Words: place of the object, name. Of plain fields, which the object holds."""
    container = w.load("ptr", w.place(1), WORD)
    arguments = [("ptr", container), ("ptr", w.pointer(2))]
    value = w.extern("ptr", "PyObject_GetAttr", arguments)
    _forget_error(w, value)
    w.require(w.op(f"icmp ne ptr {value}, null"))
    w.extern("void", "Py_DecRef", [("ptr", value)])
    w.go_on(3, value)


def _forget_error(w: StepWriter, found: str) -> None:
    """Drop the exception if nothing was found."""
    missing = w.op(f"icmp eq ptr {found}, null")
    with w.if_(missing, unlikely=True) as branch:
        w.extern("void", "PyErr_Clear", [])
        branch.yield_([])


def _require_equal_objects(
    w: StepWriter, a: str, b: str, kind: str, otherwise: int = MISS
) -> None:
    """Go on if two objects are one, or equal ones of the exact type `kind`."""

    def compare() -> list[str]:
        is_kind = w.op(f"icmp eq ptr {w.type_of(a)}, {kind}")
        with w.if_(is_kind, [("i1", "false")]) as branch:
            arguments = [("ptr", a), ("ptr", b), ("i32", "2")]
            equal = w.extern("i32", "PyObject_RichCompareBool", arguments)
            branch.yield_([w.op(f"icmp eq i32 {equal}, 1")])
        return [branch.results[0]]

    same = w.op(f"icmp eq ptr {a}, {b}")
    [equal] = w.if_else(same, ["i1"], lambda: ["true"], compare)
    w.require(equal, otherwise)


# Checking leaves


def _keep(w: StepWriter) -> None:
    """Note the value at the place that word 1 names."""
    w.store("ptr", w.value, w.place(1), WORD)


def _array(w: StepWriter) -> None:
    """Words: place, place of its address, type, dtype, flags, rank, shape."""
    rank = _check_array(w)
    w.go_on(w.op(f"add i64 {rank}, 7"))


def _strided(w: StepWriter) -> None:
    """Words: as `array`, then strides in bytes."""
    rank = _check_array(w)
    strides = w.field("ptr", w.value, w.layout.array_strides)
    _require_words(w, strides, w.op(f"add i64 {rank}, 7"), rank)
    twice = w.op(f"shl i64 {rank}, 1")
    w.go_on(w.op(f"add i64 {twice}, 7"))


def _check_array(w: StepWriter) -> str:
    """Check an array but its strides; note its address and return its rank."""
    w.require_equal("ptr", w.type_of(w.value), w.pointer(3))
    dtype = w.field("ptr", w.value, w.layout.array_dtype)
    _require_equal_dtypes(w, dtype, w.pointer(4))
    rank = w.op(f"zext i32 {w.field('i32', w.value, w.layout.array_rank)} to i64")
    w.require_equal("i64", rank, w.word(6))
    _require_words(w, w.field("ptr", w.value, w.layout.array_shape), "7", rank)
    _check_flags(w)
    return rank


def _require_equal_dtypes(w: StepWriter, dtype: str, expected: str) -> None:
    """Go on if dtypes are one object, or mean the same (those of unpickled arrays)."""

    def compare() -> list[str]:
        arguments = [("ptr", dtype), ("ptr", expected)]
        equal = w.extern("i8", "PyArray_EquivTypes", arguments, "nounwind")
        return [w.op(f"icmp ne i8 {equal}, 0")]

    same = w.op(f"icmp eq ptr {dtype}, {expected}")
    [equal] = w.if_else(same, ["i1"], lambda: ["true"], compare)
    w.require(equal)


def _check_flags(w: StepWriter) -> None:
    """Check an array's flags, and note it and its address."""
    wanted = w.op(f"trunc i64 {w.word(5)} to i32")
    found = w.field("i32", w.value, w.layout.array_flags)
    w.require_equal("i32", w.op(f"and i32 {found}, {wanted}"), wanted)
    _keep(w)
    w.store("ptr", w.field("ptr", w.value, w.layout.array_data), w.place(2), WORD)


def _array_of_rank(rank: int) -> Step:
    def write(w: StepWriter) -> None:
        """Words: as `array`, which is asked where the dtype is another object."""
        _check_array_of_rank(w, rank)
        w.go_on(7 + rank)

    return write


def _argument_of_rank(rank: int) -> Step:
    def write(w: StepWriter) -> None:
        """Words: index, then a whole step `array`. Both in one."""
        value = w.load("ptr", w.gep("ptr", "%args", w.word(1)), WORD)
        w.step_into(2, value)
        _check_array_of_rank(w, rank)
        w.go_on(7 + rank)

    return write


def _check_array_of_rank(w: StepWriter, rank: int) -> None:
    layout = w.layout
    w.require_equal("ptr", w.type_of(w.value), w.pointer(3))
    dtype = w.field("ptr", w.value, layout.array_dtype)
    w.jump_unless(w.op(f"icmp eq ptr {dtype}, {w.pointer(4)}"), "array")
    w.require_equal("i32", w.field("i32", w.value, layout.array_rank), str(rank))
    shape = w.field("ptr", w.value, layout.array_shape)
    difference = "0"
    for k in range(rank):
        extent = w.load("i64", w.gep("i64", shape, k), WORD)
        other = w.op(f"xor i64 {extent}, {w.word(7 + k)}")
        difference = w.op(f"or i64 {difference}, {other}")
    w.require_equal("i64", difference, "0")
    _check_flags(w)


def _require_words(w: StepWriter, found: str, first: str, count: str) -> None:
    """Go on if `count` words at `found` are this step's from word `first` on."""
    expected = w.gep("i64", "%op", first)
    with w.loop(0, count, 1, [("i64", "0")]) as loop:
        a = w.load("i64", w.gep("i64", found, loop.index), WORD)
        b = w.load("i64", w.gep("i64", expected, loop.index), WORD)
        difference = w.op(f"xor i64 {a}, {b}")
        loop.yield_([w.op(f"or i64 {loop.carried[0]}, {difference}")])
    w.require_equal("i64", loop.results[0], "0")


def _kind(w: StepWriter) -> None:
    """Words: place, type. Any value of the type."""
    _keep(w)
    w.require_equal("ptr", w.type_of(w.value), w.pointer(2))
    w.go_on(3)


def _same(w: StepWriter) -> None:
    """Words: place, object."""
    _keep(w)
    w.require_equal("ptr", w.value, w.pointer(2))
    w.go_on(3)


def _same_leaf(w: StepWriter) -> None:
    """Words: place, place of the leaf that this is too."""
    _keep(w)
    w.require_equal("ptr", w.value, w.load("ptr", w.place(2), WORD))
    w.go_on(3)


def _equal(w: StepWriter) -> None:
    """Words: place, type, object: of a built-in type, equal to the object."""
    _keep(w)
    kind = w.pointer(2)
    w.require_equal("ptr", w.type_of(w.value), kind)
    _require_equal_objects(w, w.value, w.pointer(3), kind)
    w.go_on(4)


def _bits(w: StepWriter) -> None:
    """Words: place, type, address of the bytes that its value has, their number."""
    _keep(w)
    w.require_equal("ptr", w.type_of(w.value), w.pointer(2))
    found = w.gep("i8", w.value, w.layout.scalar)
    arguments = [("ptr", found), ("ptr", w.pointer(3)), ("i64", w.word(4))]
    different = w.extern("i32", "memcmp", arguments)
    w.require_equal("i32", different, "0")
    w.go_on(5)


def _int(w: StepWriter) -> None:
    """Words: place, type, place of its value. Ints that an int64 holds."""
    _keep(w)
    w.require_equal("ptr", w.type_of(w.value), w.pointer(2))
    flag = w.gep("i8", "%frame", KEY)
    arguments = [("ptr", w.value), ("ptr", flag)]
    number = w.extern("i64", "PyLong_AsLongLongAndOverflow", arguments)
    w.require_equal("i32", w.load("i32", flag, 4), "0")
    w.store("i64", number, w.place(3), WORD)
    w.go_on(4)


def _scalar(width: int) -> Step:
    def write(w: StepWriter) -> None:
        """Words: place, type, place of its value."""
        _keep(w)
        w.require_equal("ptr", w.type_of(w.value), w.pointer(2))
        found = w.gep("i8", w.value, w.layout.scalar)
        align = min(width, WORD)
        number = w.load(f"i{8 * width}", found, align)
        w.store(f"i{8 * width}", number, w.place(3), align)
        w.go_on(4)

    return write


# Checking containers


def _sequence(w: StepWriter) -> None:
    """Words: place, type, length. A tuple or list."""
    _keep(w)
    w.require_equal("ptr", w.type_of(w.value), w.pointer(2))
    size = w.field("i64", w.value, w.layout.size)
    w.require_equal("i64", size, w.word(3))
    w.go_on(4)


def _dict(w: StepWriter) -> None:
    """Words: place (and the iterator's position after it), type, length."""
    _keep(w)
    w.require_equal("ptr", w.type_of(w.value), w.pointer(2))
    size = w.extern("i64", "PyDict_Size", [("ptr", w.value)])
    w.require_equal("i64", size, w.word(3))
    w.store("i64", "0", w.gep("i64", w.place(1), 1), WORD)
    w.go_on(4)


# Checking the whole call


def _distinct(w: StepWriter) -> None:
    """Words: place of the first leaf, count: all are different objects.

    Compares each with the next, the next but one and so on, eight at a time.
    """
    first, count, lanes = w.place(1), w.word(2), vec("i64", LANES)
    with w.loop(1, count, 1, [("i64", "0")]) as outer:
        others = w.gep("i64", first, outer.index)
        rest = w.op(f"sub i64 {count}, {outer.index}")
        with w.loop(0, rest, LANES, [("i64", outer.carried[0])]) as inner:
            a = w.load(lanes, w.gep("i64", first, inner.index), WORD)
            b = w.load(lanes, w.gep("i64", others, inner.index), WORD)
            same = w.op(f"icmp eq {lanes} {a}, {b}")
            byte = w.op(f"bitcast {vec('i1', LANES)} {same} to i{LANES}")
            bits = w.op(f"zext i{LANES} {byte} to i64")
            # Lanes beyond the last leaf compare what is not a leaf.
            left = w.op(f"sub i64 {rest}, {inner.index}")
            lanes_left = w.intrinsic("llvm.smin", "i64", left, str(LANES))
            mask = w.op(f"shl i64 -1, {lanes_left}")
            inside = w.op(f"and i64 {bits}, {w.op(f'xor i64 {mask}, -1')}")
            inner.yield_([w.op(f"or i64 {inner.carried[0]}, {inside}")])
        outer.yield_([inner.results[0]])
    w.require_equal("i64", outer.results[0], "0")
    w.go_on(3)


def _all_distinct(w: StepWriter) -> None:
    """Words: as `distinct`. For many: compares those of equal hashes."""
    filter_ = w.op(f"alloca [{_FILTER // 64} x i64], align 64")
    zeros = f"{vec('i64', LANES)} zeroinitializer"
    for k in range(0, _FILTER // 64, LANES):
        w.line(f"store {zeros}, ptr {w.gep('i64', filter_, k)}, align 64")
    first, count = w.place(1), w.word(2)
    with w.loop(0, count, 1) as loop:
        value = w.load("i64", w.gep("i64", first, loop.index), WORD)
        mixed = w.op(f"mul i64 {value}, {_MULTIPLIER}")
        hashed = w.op(f"lshr i64 {mixed}, {64 - (_FILTER.bit_length() - 1)}")
        at = w.gep("i64", filter_, w.op(f"lshr i64 {hashed}, 6"))
        bit = w.op(f"shl i64 1, {w.op(f'and i64 {hashed}, 63')}")
        seen = w.load("i64", at, WORD)
        w.store("i64", w.op(f"or i64 {seen}, {bit}"), at, WORD)
        maybe = w.op(f"icmp ne i64 {w.op(f'and i64 {seen}, {bit}')}, 0")
        with w.if_(maybe, [("i1", "false")], unlikely=True) as branch:
            branch.yield_([_is_among(w, value, first, loop.index)])
        w.require(w.op(f"xor i1 {branch.results[0]}, true"))
        loop.yield_([])
    w.go_on(3)


def _is_among(w: StepWriter, value: str, first: str, count: str) -> str:
    """Return whether a word is one of the `count` words at `first`."""
    with w.loop(0, count, 1, [("i1", "false")]) as loop:
        other = w.load("i64", w.gep("i64", first, loop.index), WORD)
        same = w.op(f"icmp eq i64 {other}, {value}")
        loop.yield_([w.op(f"or i1 {loop.carried[0]}, {same}")])
    return loop.results[0]


def _apart(w: StepWriter) -> None:
    """Words: count, rows of place, first byte, end, whether it is written, address.

    Arrays are apart if no written one overlaps another. Rows are sorted by address,
    and stay so for the next call, whose arrays often are where they were.
    """
    count, rows = w.word(1), w.gep("i64", "%op", 2)
    at = w.op("alloca i64, align 8")
    with w.loop(0, count, 1) as loop:
        row = _row(w, rows, loop.index)
        place = w.gep("i8", "%frame", w.load("i64", row, WORD))
        data = w.field("i64", w.load("ptr", place, WORD), w.layout.array_data)
        first = w.load("i64", w.gep("i64", row, 1), WORD)
        start = w.op(f"add i64 {data}, {first}")
        w.store("i64", start, w.gep("i64", row, _ADDRESS), WORD)
        _move_down(w, rows, loop.index, at)
        loop.yield_([])
    w.require(w.op(f"xor i1 {_has_hazard(w, rows, count)}, true"))
    words = w.op(f"mul i64 {count}, {_ROW}")
    w.go_on(w.op(f"add i64 {words}, 2"))


def _row(w: StepWriter, rows: str, index: str) -> str:
    return w.gep("i64", rows, w.op(f"mul i64 {index}, {_ROW}"))


def _move_down(w: StepWriter, rows: str, index: str, at: str) -> None:
    """Move a row down to where it is sorted; `at` is memory for its index."""
    test, swap, done = w.fresh("test"), w.fresh("swap"), w.fresh("sorted")
    compare = w.fresh("compare")
    w.store("i64", index, at, WORD)
    w.line(f"br label %{test}")
    w.label(test)
    k = w.load("i64", at, WORD)
    w.line(f"br i1 {w.op(f'icmp eq i64 {k}, 0')}, label %{done}, label %{compare}")
    w.label(compare)
    row = _row(w, rows, k)
    address = w.load("i64", w.gep("i64", row, _ADDRESS), WORD)
    before = w.load("i64", w.gep("i64", row, _ADDRESS - _ROW), WORD)
    later = w.op(f"icmp ugt i64 {before}, {address}")
    w.line(f"br i1 {later}, label %{swap}, label %{done}")
    w.label(swap)
    for word in range(_ROW):
        here, there = w.gep("i64", row, word), w.gep("i64", row, word - _ROW)
        one, two = w.load("i64", here, WORD), w.load("i64", there, WORD)
        w.store("i64", one, there, WORD)
        w.store("i64", two, here, WORD)
    w.store("i64", w.op(f"sub i64 {k}, 1"), at, WORD)
    w.line(f"br label %{test}")
    w.label(done)


def _has_hazard(w: StepWriter, rows: str, count: str) -> str:
    """Return whether sorted rows have a written one that overlaps another.

    As `runtime.overlap.has_hazard`: against the end of all, and of the written ones,
    so far.
    """
    carried = [("i64", "0"), ("i64", "0"), ("i1", "false")]
    with w.loop(0, count, 1, carried) as loop:
        end, written_end, found = loop.carried
        row = _row(w, rows, loop.index)
        first, stop, is_written, start = (
            w.load("i64", w.gep("i64", row, k), WORD) for k in range(1, _ROW)
        )
        stop = w.op(f"add i64 {start}, {w.op(f'sub i64 {stop}, {first}')}")
        writes = w.op(f"icmp ne i64 {is_written}, 0")
        on_written = w.op(f"icmp ult i64 {start}, {written_end}")
        on_any = w.op(f"icmp ult i64 {start}, {end}")
        hit = w.op(f"or i1 {on_written}, {w.op(f'and i1 {writes}, {on_any}')}")
        own_end = w.op(f"select i1 {writes}, i64 {stop}, i64 0")
        loop.yield_(
            [
                w.intrinsic("llvm.umax", "i64", end, stop),
                w.intrinsic("llvm.umax", "i64", written_end, own_end),
                w.op(f"or i1 {found}, {hit}"),
            ]
        )
    return loop.results[2]


def _hold(w: StepWriter) -> None:
    """Words: place of the first leaf, count. They may leave their containers."""
    first = w.place(1)
    with w.loop(0, w.word(2), 1) as loop:
        leaf = w.load("ptr", w.gep("ptr", first, loop.index), WORD)
        w.extern("void", "Py_IncRef", [("ptr", leaf)])
        loop.yield_([])
    w.go_on(3)


# Looking at the places of captured arrays: after `hold`, since Python code may run


def _get_cell(w: StepWriter) -> None:
    """Words: cell, place for a reference to what is in it."""
    found = w.extern("ptr", "PyCell_Get", [("ptr", w.pointer(1))])
    w.require(w.op(f"icmp ne ptr {found}, null"), MISS_HELD)
    w.store("ptr", found, w.place(2), WORD)
    w.go_on(3)


def _get_length(w: StepWriter) -> None:
    """Words: place of the container, place for a reference to its length."""
    container = w.load("ptr", w.place(1), WORD)
    size = w.extern("i64", "PyObject_Size", [("ptr", container)])
    known = w.op(f"icmp sge i64 {size}, 0")
    unknown = w.op(f"icmp slt i64 {size}, 0")
    with w.if_(unknown, unlikely=True) as branch:
        w.extern("void", "PyErr_Clear", [])
        branch.yield_([])
    w.require(known, MISS_HELD)
    length = w.extern("ptr", "PyLong_FromLongLong", [("i64", size)])
    w.check_object(length)
    w.store("ptr", length, w.place(2), WORD)
    w.go_on(3)


def _get(symbol: str) -> Step:
    def write(w: StepWriter) -> None:
        """Words: place of the container, place for a reference to the item, key."""
        container = w.load("ptr", w.place(1), WORD)
        arguments = [("ptr", container), ("ptr", w.pointer(3))]
        found = w.extern("ptr", symbol, arguments)
        _forget_error(w, found)
        w.require(w.op(f"icmp ne ptr {found}, null"), MISS_HELD)
        w.store("ptr", found, w.place(2), WORD)
        w.go_on(4)

    return write


def _still(w: StepWriter) -> None:
    """Words: place, the object that must be there, type whose values compare, or 0."""
    found = w.load("ptr", w.place(1), WORD)
    _require_equal_objects(w, found, w.pointer(2), w.pointer(3), MISS_HELD)
    w.go_on(4)


SCALAR_WIDTHS = (1, 2, 4, 8, 16)
SPECIAL_RANKS = (1, 2)
MATCH_STEPS: dict[str, Step] = {
    "arg": _arg,
    "constant": _constant,
    "tuple_item": _tuple_item,
    "list_item": _list_item,
    "dict_item": _dict_item,
    "attribute": _attribute,
    "array": _array,
    "strided": _strided,
    **{f"array_{rank}": _array_of_rank(rank) for rank in SPECIAL_RANKS},
    **{f"argument_{rank}": _argument_of_rank(rank) for rank in SPECIAL_RANKS},
    "kind": _kind,
    "same": _same,
    "same_leaf": _same_leaf,
    "equal": _equal,
    "bits": _bits,
    "int": _int,
    **{f"scalar_{width}": _scalar(width) for width in SCALAR_WIDTHS},
    "sequence": _sequence,
    "dict": _dict,
    "distinct": _distinct,
    "all_distinct": _all_distinct,
    "apart": _apart,
    "hold": _hold,
    "get_cell": _get_cell,
    "get_length": _get_length,
    "get_item": _get("PyObject_GetItem"),
    "get_attribute": _get("PyObject_GetAttr"),
    "still": _still,
}
