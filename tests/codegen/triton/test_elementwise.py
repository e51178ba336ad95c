"""Every elementwise primitive on every real dtype: emitted and right, or listed."""

import numpy as np
import pytest

from tracejit.codegen.triton.elementwise import Operand, can_emit, expression
from tracejit.errors import DTypeError, UnsupportedError
from tracejit.ir import dtypes as dt
from tracejit.ir.aval import ShapedArray
from tracejit.ir.graph import Literal
from tracejit.ir.ops import elementwise as ops
from tracejit.ir.primitive import REGISTRY, Kind
from tracejit.kernels.kernel import Axis, Buffer, Compute, Kernel, Load, Store, Value
from tracejit.kernels.maps import axis
from tracejit.kernels.schedule import Role, Schedule

from .running import check

REAL = [d for d in dt.NAME_TO_DTYPE.values() if d.kind != "c"]
PRIMITIVES = sorted(
    (p for p in REGISTRY.values() if p.kind is Kind.ELEMENTWISE), key=lambda p: p.name
)
# What Triton kernels cannot contain, and so stays with the CPU's loops.
UNSUPPORTED = {
    *(("pow", dt.dtype_name(d)) for d in dt.INTEGERS),  # no integer power in Triton
    ("nextafter", "f16"),  # the next float32 is not the next half
    ("nextafter", "bf16"),
    ("nextafter", "f8e4m3fn"),
    ("nextafter", "f8e5m2"),
    ("complex", "f32"),  # Triton has no complex numbers
    ("complex", "f64"),
}
# Units in the last place between NumPy's functions and the interpreter's.
RTOL = {"f16": 2e-3, "bf16": 1.6e-2, "f32": 1e-6, "f64": 1e-13}
RTOL |= {"f8e4m3fn": 0.13, "f8e5m2": 0.26}
N = 41


def operand_dtypes(primitive, dtype):
    """Return the dtypes of operands of which the last is `dtype`; None if not taken."""
    if primitive.name == "select":
        return [dt.BOOL, dtype, dtype]
    count = 1 if primitive.partials is None else len(primitive.partials)
    return [dtype] * count


def takes(primitive, dtypes):
    params = {"dtype": dt.FLOAT32} if primitive.name == "convert" else {}
    if primitive.name == "bitcast":
        params = {"dtype": dtypes[0]}
    try:
        primitive.out_avals([ShapedArray((N,), d) for d in dtypes], params)
    except DTypeError:
        return False
    return True


def cells():
    for primitive in PRIMITIVES:
        for dtype in REAL:
            if takes(primitive, operand_dtypes(primitive, dtype)):
                yield primitive, dtype


def test_table_is_whole_but_for_the_listed_cells():
    missing = {
        (p.name, dt.dtype_name(d))
        for p, d in cells()
        if not can_emit(p, operand_dtypes(p, d))
    }
    assert missing == UNSUPPORTED


def kernel_of(computed, inputs):
    """Return a kernel of one axis with an output for each computed value.

    `computed` lists primitives with params and positions among the inputs.
    """
    buffers = [Buffer(f"in{k}", x.dtype, (N,), (1,)) for k, x in enumerate(inputs)]
    i = frozenset("i")
    loads = [Value(f"x{k}", i, b.dtype) for k, b in enumerate(buffers)]
    body = [Load(v, b.name, (axis("i"),)) for v, b in zip(loads, buffers, strict=True)]
    outputs = []
    for k, (primitive, params, operands) in enumerate(computed):
        values = [loads[x] if isinstance(x, int) else x for x in operands]
        avals = [
            x.aval if isinstance(x, Literal) else ShapedArray((N,), x.dtype)
            for x in values
        ]
        (aval,) = primitive.out_avals(avals, params)
        out = Value(f"y{k}", i, aval.dtype)
        body.append(Compute(out, primitive, tuple(values), params))
        outputs.append(Buffer(f"out{k}", aval.dtype, (N,), (1,)))
        body.append(Store(f"out{k}", (axis("i"),), out))
    kernel = Kernel("k", tuple(buffers), tuple(outputs), (Axis("i", N),), tuple(body))
    return kernel, Schedule(("i",), {"i": Role.VECTOR})


def operands_for(name, dtype, count):
    """Return inputs in the domain of a function, special values among them."""
    rng = np.random.default_rng(sum(map(ord, name)))
    if dtype.kind == "b":
        return [rng.random(N) < 0.5 for _ in range(count)]
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        edges = [info.min, info.max, 0, 1, info.max - 1, info.bits, info.bits - 1]
        edges += [-1 % (info.max + 1) if dtype.kind == "u" else -1]
        found = []
        for k in range(count):
            x = rng.integers(info.min, info.max, N, dtype, endpoint=True)
            x[: len(edges)] = np.roll(np.array(edges, dtype), k * 3)
            x[16:32] = rng.integers(0, 5, 16)
            found.append(x)
        return found
    edges = [np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -1.0, 0.5]
    found = []
    for k in range(count):
        x = rng.standard_normal(N) * 2
        if name in ("arcsin", "arccos", "arctanh"):
            x = np.tanh(x)
        if name in ("log", "log2", "log10", "sqrt", "arccosh", "pow"):
            x = np.abs(x) + 1
        x[: len(edges)] = np.roll(edges, k * 3)
        found.append(x.astype(dtype))
    return found


@pytest.mark.parametrize("dtype", REAL, ids=dt.dtype_name)
def test_every_primitive_agrees(interpreter, dtype):
    computed, inputs = [], []
    for primitive in PRIMITIVES:
        dtypes = operand_dtypes(primitive, dtype)
        skipped = primitive.name in ("convert", "bitcast") or not takes(
            primitive, dtypes
        )
        if skipped or not can_emit(primitive, dtypes):
            continue
        arrays = operands_for(primitive.name, dtype, len(dtypes))
        if primitive.name == "select":
            arrays[0] = np.arange(N) % 3 == 0
        start = len(inputs)
        inputs += arrays
        computed.append((primitive, {}, range(start, len(inputs))))
    kernel, schedule = kernel_of(computed, inputs)
    tolerance = RTOL.get(dt.dtype_name(dtype), 0)
    check(
        interpreter, kernel, schedule, inputs, rtol=tolerance, atol=tolerance, blocks={}
    )


@pytest.mark.parametrize("dtype", REAL, ids=dt.dtype_name)
def test_conversions_agree(interpreter, dtype):
    x = operands_for("convert", dtype, 1)[0]
    if dt.is_float(dtype):  # out of range, C says nothing; NaN becomes no integer
        finite = np.nan_to_num(x.astype(np.float64), nan=3.5, posinf=100, neginf=-100)
        x = finite.astype(dtype)
        positive = np.abs(x)
    else:
        positive = x
    inputs = [x, positive]
    computed = []
    for to in REAL:
        safe = dt.is_float(dtype) and to.kind == "u"
        computed.append((ops.convert_p, {"dtype": to}, [int(safe)]))
    kernel, schedule = kernel_of(computed, inputs)
    check(interpreter, kernel, schedule, inputs, rtol=0, atol=0)


@pytest.mark.parametrize("dtype", REAL, ids=dt.dtype_name)
def test_bits_agree(interpreter, dtype):
    x = operands_for("bitcast", dtype, 1)[0]
    same_size = [d for d in REAL if d.itemsize == dtype.itemsize]
    computed = [(ops.bitcast_p, {"dtype": to}, [0]) for to in same_size]
    kernel, schedule = kernel_of(computed, [x])
    check(interpreter, kernel, schedule, [x], rtol=0, atol=0)


@pytest.mark.parametrize("dtype", REAL, ids=dt.dtype_name)
def test_constants_keep_the_dtype(interpreter, dtype):
    """Python numbers beside variables, and functions of constants alone."""
    x = operands_for("constants", dtype, 1)[0]
    three, one = Literal(3, dtype), Literal(1, dtype)
    if dtype.kind == "b":
        computed = [(ops.and_p, {}, [0, three]), (ops.xor_p, {}, [three, 0])]
    else:
        computed = [
            (ops.add_p, {}, [0, three]),
            (ops.sub_p, {}, [three, 0]),
            (ops.maximum_p, {}, [three, 0]),
            (ops.remainder_p, {}, [0, three]),
            (ops.mul_p, {}, [three, one]),
            (ops.select_p, {}, [Literal(True, dt.BOOL), three, one]),
            (ops.lt_p, {}, [three, 0]),
        ]
    if dt.is_float(dtype):
        tenth = Literal(0.1, dtype)
        computed += [
            (ops.mul_p, {}, [0, tenth]),
            (ops.minimum_p, {}, [0, tenth]),
            (ops.pow_p, {}, [Literal(2, dtype), tenth]),
            (ops.maximum_p, {}, [0, Literal(-np.inf, dtype)]),
            (ops.add_p, {}, [0, Literal(np.nan, dtype)]),
        ]
    if dtype.kind == "i":
        computed.append((ops.mul_p, {}, [0, Literal(-2, dtype)]))
    kernel, schedule = kernel_of(computed, [x])
    tolerance = RTOL.get(dt.dtype_name(dtype), 0)
    check(interpreter, kernel, schedule, [x], rtol=tolerance, atol=0)


def test_negation_keeps_the_sign_of_zero(interpreter):
    x = np.zeros(N, np.float32)
    computed = [(ops.neg_p, {}, [0]), (ops.trunc_p, {}, [1])]
    kernel, schedule = kernel_of(computed, [x, x - np.float32(0.5)])
    from .running import emit_kernel, outputs_by_triton  # noqa: PLC0415

    found, _ = outputs_by_triton(
        interpreter, emit_kernel(kernel, schedule), kernel, [x, x - np.float32(0.5)]
    )
    assert all(np.signbit(y).all() and not y.any() for y in found)


def test_unsupported_primitive_is_named():
    x = Operand("x", np.dtype(np.int32))
    with pytest.raises(UnsupportedError, match="primitive pow of i32 has no Triton"):
        expression(ops.pow_p, {}, [x, x], x.dtype)


def test_division_rounds_to_nearest():
    x, y = (Operand(n, np.dtype(np.float32)) for n in "xy")
    assert expression(ops.div_p, {}, [x, y], x.dtype) == "divide(x, y)"


def test_half_results_are_rounded_where_they_arise():
    x = Operand("x", dt.BFLOAT16)
    text = expression(ops.mul_p, {}, [x, x], dt.BFLOAT16)
    assert text == "(x * x).to(tl.bfloat16).to(tl.float32)"
    assert expression(ops.abs_p, {}, [x], dt.BFLOAT16) == "tl.abs(x)"
