"""The text that the emitter writes parses, verifies and computes what it says."""

import ctypes
import math
import struct

import llvmlite.binding as llvm
import numpy as np
import pytest

from tracejit.codegen.llvm.target import host_target
from tracejit.codegen.llvm.text import (
    Emitter,
    bits_of,
    constant,
    float_literal,
    iota,
    module_text,
    shape_of,
    suffix,
    vec,
)
from tracejit.errors import TracejitError

from .compiling import address_of, compile_text

T = "<4 x float>"
POINTERS = ["ptr noalias %x", "ptr noalias %out", "i64 %n"]


def build(em: Emitter, parameters: list[str] = POINTERS, result: str = "void") -> str:
    function = em.function("f", parameters, result=result)
    return module_text(
        host_target(), em.declarations.values(), [function], em.globals_.values()
    )


def run(em: Emitter, x: np.ndarray, out: np.ndarray, n: int) -> None:
    library = compile_text(build(em), host_target())
    call = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)
    call(address_of(library, "f"))(x.ctypes.data, out.ctypes.data, n)


def test_types() -> None:
    assert vec("float", 16) == "<16 x float>"
    assert vec("float", 1) == "float"
    assert shape_of("<8 x double>") == ("double", 8)
    assert shape_of("ptr") == ("ptr", 1)
    assert suffix("<2 x i64>") == "v2i64"
    assert suffix("bfloat") == "bf16"
    assert [bits_of(t) for t in ("half", "double", "i1", "i64", "ptr")] == [
        16,
        64,
        1,
        64,
        64,
    ]


@pytest.mark.parametrize("value", [0.0, -0.0, 0.1, math.inf, -math.inf, 1e-310, 5e-324])
def test_double_literal_is_exact(value: float) -> None:
    bits = int(float_literal("double", value), 16)
    assert bits == struct.unpack("<Q", struct.pack("<d", value))[0]


@pytest.mark.parametrize(
    ("element", "value", "text"),
    [
        ("float", 1e300, "0x7FF0000000000000"),
        ("float", 1e-45, "0x36A0000000000000"),
        ("float", math.pi, "0x400921FB60000000"),
        ("half", 65504.0, "0xH7BFF"),
        ("half", -1e9, "0xHFC00"),
        ("half", 6e-8, "0xH0001"),
        ("bfloat", 1.0, "0xR3F80"),
        ("bfloat", -math.inf, "0xRFF80"),
        ("bfloat", math.nan, "0xR7FC0"),
        # Ties to even, and a value just above and just below the tie.
        ("bfloat", 1.00390625, "0xR3F80"),
        ("bfloat", 1.00390625 + 1e-12, "0xR3F81"),
        ("bfloat", 1.01171875 - 1e-12, "0xR3F81"),
        ("bfloat", 3.4e38, "0xR7F80"),
    ],
)
def test_narrow_literals_round_once(element: str, value: float, text: str) -> None:
    assert float_literal(element, value) == text


def test_constants() -> None:
    assert constant("i1", True) == "true"
    assert constant("i32", -3, 4) == "splat (i32 -3)"
    assert constant("ptr", 0) == "null"
    assert iota("i32", 3) == "<i32 0, i32 1, i32 2>"


def test_every_float_constant_parses() -> None:
    em = Emitter()
    for k, element in enumerate(("half", "bfloat", "float", "double")):
        for lanes in (1, 4):
            type_ = vec(element, lanes)
            at = em.gep("i8", "%out", 64 * (2 * k + lanes // 4))
            em.store(type_, constant(element, 1.5, lanes), at, 1)
    em.ret()
    llvm.parse_assembly(build(em)).verify()


def test_nested_loops_with_carried_values() -> None:
    em = Emitter()
    with em.loop(0, "%n", 1, [("float", constant("float", 0.0))]) as outer:
        with em.loop(0, 3, 1, [("float", outer.carried[0])]) as inner:
            x = em.load("float", em.gep("float", "%x", outer.index), 4)
            inner.yield_([em.op(f"fadd float {inner.carried[0]}, {x}")])
        outer.yield_(inner.results)
    em.store("float", outer.results[0], "%out", 4)
    em.ret()
    x, out = np.arange(5, dtype="f4"), np.full(1, -1, "f4")
    run(em, x, out, 5)
    assert out[0] == 30
    run(em, x, out, 0)
    assert out[0] == 0


def test_loop_over_statically_empty_range_does_not_run() -> None:
    em = Emitter()
    with em.loop(4, 4, 1, [("float", constant("float", 7.0))]) as loop:
        loop.yield_([constant("float", 8.0)])
    em.store("float", loop.results[0], "%out", 4)
    em.ret()
    out = np.zeros(1, "f4")
    run(em, out, out, 0)
    assert out[0] == 7


def test_masked_tail_touches_nothing_beyond() -> None:
    em = Emitter()
    mask = em.lane_mask(4, "%n")
    x = em.masked_load(T, "%x", mask, 4, constant("float", 9.0, 4))
    em.masked_store(T, em.op(f"fadd {T} {x}, {x}"), "%out", mask, 4)
    em.ret()
    x, out = np.arange(1, 4, dtype="f4"), np.zeros(4, "f4")
    run(em, x, out, 3)
    assert out.tolist() == [2, 4, 6, 0]


def test_masked_scalar() -> None:
    em = Emitter()
    mask = em.lane_mask(1, "%n")
    x = em.masked_load("float", "%x", mask, 4, constant("float", 9.0))
    em.store("float", x, "%out", 4)
    em.masked_store("float", x, em.gep("float", "%out", 1), mask, 4)
    em.ret()
    out = np.zeros(2, "f4")
    run(em, np.ones(1, "f4"), out, 0)
    assert out.tolist() == [9, 0]
    run(em, np.ones(1, "f4"), out, 1)
    assert out.tolist() == [1, 1]


def test_branches() -> None:
    em = Emitter()
    positive = em.op("icmp sgt i64 %n, 0")
    with em.if_(positive, [("float", constant("float", 1.0))], unlikely=True) as rare:
        rare.yield_([constant("float", 2.0)])
    [chosen] = em.if_else(
        positive,
        ["float"],
        lambda: [em.op(f"fneg float {rare.results[0]}")],
        lambda: [rare.results[0]],
    )
    em.store("float", chosen, "%out", 4)
    em.ret()
    out = np.zeros(1, "f4")
    for n, expected in ((1, -2), (0, 1)):
        run(em, out, out, n)
        assert out[0] == expected


def test_table_and_splat_and_any_lane() -> None:
    em = Emitter()
    table = em.table("powers", "float", [1.0, 2.0, 4.0])
    assert em.table("powers", "float", [1.0, 2.0, 4.0]) == table
    scalar = em.load("float", em.gep("float", table, "%n"), 4)
    wide = em.splat("float", scalar, 4)
    big = em.op(f"fcmp ogt {T} {wide}, {constant('float', 3.0, 4)}")
    with em.if_(em.any_lane(big, 4)):
        em.store(T, wide, "%out", 4)
    em.ret()
    out = np.zeros(4, "f4")
    run(em, out, out, 1)
    assert out.tolist() == [0, 0, 0, 0]
    run(em, out, out, 2)
    assert out.tolist() == [4, 4, 4, 4]


def test_wrong_number_of_yielded_values_is_refused() -> None:
    em = Emitter()
    with em.loop(0, 4, 1, [("float", "0.0")]) as loop:
        with pytest.raises(ValueError, match="yielded 2 values for 1"):
            loop.yield_(["0.0", "1.0"])
        loop.yield_(["0.0"])


def test_equal_modules_have_equal_text() -> None:
    def once(order: list[str]) -> str:
        em = Emitter()
        for name in order:
            em.intrinsic(name, T, "%a")
        em.lines.clear()
        em.ret()
        return build(em)

    assert once(["llvm.fabs", "llvm.sqrt"]) == once(["llvm.sqrt", "llvm.fabs"])


def test_targets() -> None:
    baseline = host_target("baseline")
    assert baseline.lanes(32) == 4
    assert baseline.lanes(1) == 16
    assert not baseline.has_fma
    assert host_target().vector_bytes >= baseline.vector_bytes
    with pytest.raises(TracejitError, match="unknown instruction set 'sve'"):
        host_target("sve")
