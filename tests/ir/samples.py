"""Operands that every primitive accepts, for tests over all of them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from tracejit.ir.aval import ShapedArray
from tracejit.ir.builder import Builder
from tracejit.ir.graph import Graph
from tracejit.ir.ops.elementwise import add_p, div_p, lt_p, mul_p, neg_p, sin_p
from tracejit.ir.ops.reduce import reduce_sum_p
from tracejit.ir.primitive import (
    REGISTRY,
    ArrayConstant,
    HostFunction,
    HostRule,
    Kind,
    Param,
    Primitive,
)
from tracejit.transforms.jvp import jvp_graph
from tracejit.transforms.vjp import vjp_graph
from tracejit.transforms.vmap import batch_graph

Arrays = list[np.ndarray]
Rng = np.random.Generator
F64 = np.dtype(np.float64)
I64 = np.dtype(np.int64)
SHAPE = (3, 4)


def uniform(
    low: float, high: float, *shapes: tuple[int, ...]
) -> Callable[[Rng], Arrays]:
    """Draw arrays of these shapes between two numbers."""
    return lambda rng: [rng.uniform(low, high, s) for s in shapes]


@dataclass(frozen=True)
class Sample:
    """One valid equation.

    Parameters
    ----------
    name : str
        The primitive.
    make : callable
        Draws the operands.
    params : mapping
    symmetric : bool
        Operand 0 is a symmetric (Hermitian) matrix, and so must its tangent be.
    """

    name: str
    make: Callable[[Rng], Arrays]
    params: Mapping[str, Param] = field(default_factory=dict)
    symmetric: bool = False

    @property
    def primitive(self) -> Primitive:
        return REGISTRY[self.name]

    def graph(self, arrays: Arrays) -> Graph:
        """Return the graph of just this equation."""
        b = Builder(self.name)
        ins = [b.input(ShapedArray(x.shape, x.dtype)) for x in arrays]
        return b.build(b.emit_all(self.primitive, ins, self.params))


# --- elementwise: operands by where the function is smooth ------------------------

DOMAINS: dict[str, tuple[float, float]] = {
    "arccosh": (1.2, 3.0),
    "remainder": (1.1, 1.9),
    "fmod": (1.1, 1.9),
    "floor": (0.1, 0.9),
    "rint": (0.1, 0.4),
}
ELEMENTWISE = [p for p in REGISTRY.values() if p.kind is Kind.ELEMENTWISE]
NOT_FLOAT = {"and", "or", "xor", "not", "shift_left", "shift_right"}
NOT_REAL = {"select", "convert", "bitcast", "real", "imag", "complex", "conj"}


def complex_normal(rng: Rng, size: tuple[int, ...]) -> np.ndarray:
    return rng.normal(size=size) + 1j * rng.normal(size=size)


def _elementwise_samples() -> list[Sample]:
    out = []
    for p in ELEMENTWISE:
        if p.name in NOT_FLOAT | NOT_REAL:
            continue
        low, high = DOMAINS.get(p.name, (0.2, 0.9))
        assert p.partials is not None
        n = len(p.partials)
        out.append(Sample(p.name, uniform(low, high, *[SHAPE] * n)))
        if n > 1:  # rank-0 operands broadcast
            out.append(Sample(p.name, uniform(low, high, (), *[SHAPE] * (n - 1))))
            out.append(Sample(p.name, uniform(low, high, *[SHAPE] * (n - 1), ())))
    return out


def _integers(rng: Rng) -> Arrays:
    return [rng.integers(0, 7, SHAPE), rng.integers(1, 7, SHAPE)]


SPECIAL_ELEMENTWISE = [
    *(Sample(n, _integers) for n in sorted(NOT_FLOAT - {"not"})),
    Sample("not", lambda rng: [rng.integers(0, 2, SHAPE).astype(bool)]),
    Sample(
        "select", lambda r: [r.normal(size=SHAPE) > 0, *uniform(0, 1, SHAPE, ())(r)]
    ),
    Sample("select", lambda r: [np.asarray(True), *uniform(0, 1, SHAPE, SHAPE)(r)]),
    Sample("convert", uniform(0, 1, SHAPE), {"dtype": np.dtype(np.complex128)}),
    Sample("convert", uniform(0, 1, SHAPE), {"dtype": np.dtype(np.int32)}),
    Sample(
        "convert",
        lambda r: [complex_normal(r, SHAPE)],
        {"dtype": np.dtype(np.complex128)},
    ),
    Sample("bitcast", uniform(0, 1, SHAPE), {"dtype": np.dtype(np.int64)}),
    Sample("bitcast", uniform(0, 1, ()), {"dtype": np.dtype(np.uint64)}),
    *(
        Sample(n, lambda r: [complex_normal(r, SHAPE)])
        for n in ("real", "imag", "conj")
    ),
    Sample("complex", uniform(0, 1, SHAPE, SHAPE)),
    Sample("complex", uniform(0, 1, (), SHAPE)),
    *(
        Sample(p.name, lambda r: [complex_normal(r, SHAPE)])
        for p in ELEMENTWISE
        if p.name in ("neg", "exp", "sin", "sqrt", "log", "tanh", "arctan")
    ),
    *(
        Sample(n, lambda r: [complex_normal(r, SHAPE), complex_normal(r, ())])
        for n in ("add", "sub", "mul", "div")
    ),
]

# --- the others -------------------------------------------------------------------

_AXIS = [{"axis": a, "reverse": r} for a in (0, 1) for r in (False, True)]


def _matrix(rng: Rng, dtype: type = float) -> np.ndarray:
    x = rng.normal(size=(2, 3, 3))
    return x if dtype is float else x + 1j * rng.normal(size=(2, 3, 3))


def _definite(dtype: type) -> Callable[[Rng], Arrays]:
    def make(rng: Rng) -> Arrays:
        x = _matrix(rng, dtype)
        return [x @ x.conj().swapaxes(-1, -2) + np.diag([1.0, 3.0, 7.0])]

    return make


def _square(dtype: type) -> Callable[[Rng], Arrays]:
    return lambda rng: [_matrix(rng, dtype) + 4 * np.eye(3)]


def _rectangle(m: int, n: int, dtype: type = float) -> Callable[[Rng], Arrays]:
    """Draw two matrices whose singular values are apart."""

    def make(rng: Rng) -> Arrays:
        draw = rng.normal if dtype is float else partial(complex_normal, rng)
        k = min(m, n)
        u, v = (np.linalg.qr(draw(size=(2, size, k)))[0] for size in (m, n))
        return [(u * np.arange(1.0, k + 1)) @ v.conj().swapaxes(-1, -2)]

    return make


def _with_cutoff(
    matrix: Callable[[Rng], Arrays], columns: int = 0
) -> Callable[[Rng], Arrays]:
    """Add right-hand sides, if any are wanted, and a relative cut-off."""

    def make(rng: Rng) -> Arrays:
        (a,) = matrix(rng)
        right = np.resize(a[..., ::-1, :], (*a.shape[:-1], columns))
        return [a, *([right + 1.0] if columns else []), np.full(a.shape[:-2], 1e-3)]

    return make


def _reflectors(m: int, n: int) -> Callable[[Rng], Arrays]:
    def make(rng: Rng) -> Arrays:
        return list(REGISTRY["geqrf"].evaluate(_rectangle(m, n)(rng), {}))

    return make


def _indices(*shape: int, bound: int = 3) -> Callable[[Rng], np.ndarray]:
    return lambda rng: rng.integers(-bound, bound, shape)


def _layer() -> Graph:
    b = Builder("layer")
    x, y = (b.input(ShapedArray((3,), F64), n) for n in "xy")
    z = b.emit(mul_p, x, y)
    return b.build([b.emit(sin_p, z), b.emit(add_p, z, x)])


def _mean() -> Graph:
    b = Builder("mean")
    x = b.input(ShapedArray(SHAPE, F64), "x")
    total = b.emit(reduce_sum_p, x, axes=(1,))
    return b.build([b.emit(div_p, total, float(SHAPE[1]))])


def _other() -> Graph:
    b = Builder("other")
    x, y = (b.input(ShapedArray((3,), F64), n) for n in "xy")
    return b.build([b.emit(mul_p, b.emit(neg_p, x), x), y])


def _with_inputs(graph: Graph) -> Graph:
    """Return the graph with its inputs as further results."""
    outs = (*graph.outvars, *graph.invars)
    return Graph(f"{graph.name}_fwd", graph.invars, outs, graph.eqns)


def _backward(graph: Graph) -> Graph:
    """Return the graph of cotangents of the inputs, from inputs and cotangents."""
    both = vjp_graph(graph, range(len(graph.invars)))
    outs = both.outvars[len(graph.outvars) :]
    return Graph(f"{graph.name}_bwd", both.invars, outs, both.eqns)


def _batched(graph: Graph, size: int, mask: tuple[bool, ...]):
    made = batch_graph(graph, mask, size)
    return made.graph, made.outs


LAYER, OTHER = _layer(), _other()
LAYER_OF_BATCH = HostRule("layer", lambda size, mask: _batched(LAYER, size, mask))
TWICE = HostFunction("twice", lambda x, y: (2 * x,))
NOTHING = HostFunction("nothing", lambda *xs: ())
GATHER = {"axes": (0,), "batch": 0, "mode": "raise"}
TWO_AXES = {"axes": (2, 0), "batch": 0, "mode": "clip"}
BATCHED = {"axes": (1,), "batch": 1, "mode": "raise"}

CONV = {
    "strides": (2, 1),
    "low": (1, -1),
    "high": (2, 1),
    "lhs_dilation": (1, 2),
    "rhs_dilation": (1, 2),
}
ROWS = {"strides": (1,), "low": (2,), "high": (0,)}
POOL = {"window": (3, 2), "strides": (2, 2), "low": (1, 0), "high": (1, 1)}
TILES = {"window": (2, 2), "strides": (2, 2), "low": (0, 0), "high": (0, 0)}


def _pooled(extents: tuple[int, int], pool: dict) -> Callable[[Rng], Arrays]:
    """Draw what windows give, and positions within each of them."""

    def make(rng: Rng) -> Arrays:
        x = rng.normal(size=(2, *extents))
        index = np.asarray(REGISTRY["window_argmax"].impl(x, **pool))
        return [rng.normal(size=index.shape), index]

    return make


OTHERS = [
    Sample("conv_general", uniform(-1, 1, (2, 2, 3, 5, 4), (2, 4, 3, 3, 2)), CONV),
    Sample(
        "conv_general",
        uniform(-1, 1, (2, 1, 3, 6), (1, 2, 3, 3)),
        {**ROWS, "lhs_dilation": (1,), "rhs_dilation": (1,)},
    ),
    Sample(
        "conv_general",
        lambda r: [complex_normal(r, (2, 1, 3, 6)), complex_normal(r, (1, 2, 3, 3))],
        {**ROWS, "lhs_dilation": (2,), "rhs_dilation": (1,)},
    ),
    *(
        Sample(n, lambda r: [r.permuted(np.arange(56.0)).reshape(2, 7, 4)], p)
        for n in ("window_max", "window_argmax")
        for p in (POOL, TILES)
    ),
    *(
        Sample(
            "window_pick",
            lambda r, p=p: [r.normal(size=(2, 7, 4)), _pooled((7, 4), p)(r)[1]],
            p,
        )
        for p in (POOL, TILES)
    ),
    *(
        Sample("window_place", _pooled((7, 4), p), {"extents": (7, 4), **p})
        for p in (POOL, TILES)
    ),
    *(
        Sample(n, uniform(0.5, 1.5, (2, 3, 4)), {"axes": axes})
        for n in ("reduce_sum", "reduce_prod", "reduce_max", "reduce_min")
        for axes in ((0,), (2, 0), (0, 1, 2), ())
    ),
    *(
        Sample("sum_products", uniform(0.5, 1.5, (2, 3), (2, 3)), {"axes": axes})
        for axes in ((0,), (1, 0))
    ),
    *(
        Sample(n, lambda r: [r.integers(0, 2, SHAPE) > 0], {"axes": (1,)})
        for n in ("reduce_and", "reduce_or")
    ),
    *(Sample(n, uniform(0, 1, SHAPE), {"axis": 1}) for n in ("argmax", "argmin")),
    *(
        Sample(n, uniform(0.5, 1.5, SHAPE), p)
        for n in ("cumsum", "cumprod", "cummax", "cummin")
        for p in _AXIS
    ),
    Sample(
        "broadcast_in_dim", uniform(0, 1, (3, 1)), {"shape": (2, 3, 4), "dims": (1, 2)}
    ),
    Sample("broadcast_in_dim", uniform(0, 1, ()), {"shape": (2, 3), "dims": ()}),
    Sample("reshape", uniform(0, 1, (3, 4)), {"shape": (2, 6)}),
    Sample("transpose", uniform(0, 1, (2, 3, 4)), {"perm": (2, 0, 1)}),
    Sample("rev", uniform(0, 1, (2, 3)), {"axes": (1,)}),
    Sample("sliding_window", uniform(0, 1, (2, 5, 3)), {"axis": 1, "size": 3}),
    Sample("sliding_window", uniform(0, 1, (2, 25, 3)), {"axis": 1, "size": 20}),
    Sample(
        "slice",
        uniform(0, 1, (4, 5)),
        {"start": (1, 0), "stop": (4, 5), "stride": (1, 2)},
    ),
    Sample(
        "update_slice",
        uniform(0, 1, (4, 5), (2, 3)),
        {"start": (1, 0), "stride": (2, 2)},
    ),
    Sample("pad", uniform(0, 1, (2, 3), ()), {"low": (1, 0), "high": (2, 1)}),
    Sample("concatenate", uniform(0, 1, (2, 3), (2, 1), (2, 0)), {"axis": 1}),
    Sample("iota", lambda r: [], {"shape": (2, 3), "axis": 1, "dtype": F64}),
    Sample("constant", lambda r: [], {"value": ArrayConstant(np.arange(3.0))}),
    Sample(
        "dot_general",
        uniform(0, 1, (3, 4), (4, 2)),
        {"contract": ((1,), (0,)), "batch": ((), ())},
    ),
    Sample(
        "dot_general",
        uniform(0, 1, (4, 2, 3, 5), (5, 2, 4, 6)),
        {"contract": ((0, 3), (2, 0)), "batch": ((1,), (1,))},
    ),
    Sample(
        "dot_general",
        uniform(0, 1, (3,), (3,)),
        {"contract": ((0,), (0,)), "batch": ((), ())},
    ),
    Sample(
        "dot_general",
        uniform(0, 1, (4, 2, 3), (5, 2)),
        {"contract": ((), ()), "batch": ((1,), (1,))},
    ),
    Sample(
        "dot_general",
        uniform(0, 1, (3,), ()),
        {"contract": ((), ()), "batch": ((), ())},
    ),
    Sample("gather", lambda r: [r.normal(size=(3, 4)), _indices(5)(r)], GATHER),
    Sample(
        "gather",
        lambda r: [r.normal(size=(3, 2, 4)), _indices(2, 2)(r), _indices(2, 2)(r)],
        TWO_AXES,
    ),
    Sample("gather", lambda r: [r.normal(size=(2, 3, 4)), _indices(2, 5)(r)], BATCHED),
    *(
        Sample(
            "scatter",
            lambda r: [r.normal(size=(3, 4)), r.normal(size=(5, 4)), _indices(5)(r)],
            {**GATHER, "op": op},
        )
        for op in ("set", "add", "mul", "max", "min")
    ),
    Sample(
        "scatter",
        lambda r: [
            r.normal(size=(2, 3, 4)),
            r.normal(size=(2, 5, 4)),
            _indices(2, 5)(r),
        ],
        {**BATCHED, "op": "set"},
    ),
    Sample("sort", lambda r: [r.permuted(np.arange(12.0)).reshape(SHAPE)], {"axis": 0}),
    Sample("sort", lambda r: [r.permuted(np.arange(12.0)).reshape(SHAPE)], {"axis": 1}),
    Sample("argsort", uniform(0, 1, SHAPE), {"axis": 0}),
    Sample("kth", uniform(0, 1, SHAPE), {"axis": 1, "places": ((0, 1), (2, 3))}),
    Sample("argkth", uniform(0, 1, SHAPE), {"axis": 0, "places": ((1, 2),)}),
    *(
        Sample(
            "fft", lambda r: [complex_normal(r, (3, 5))], {"form": f, "axis": 1, "n": 5}
        )
        for f in ("fft", "ifft")
    ),
    *(
        Sample("fft", uniform(-1, 1, (n, 2)), {"form": "rfft", "axis": 0, "n": n})
        for n in (5, 6)
    ),
    *(
        Sample(
            "fft",
            lambda r: [complex_normal(r, (2, 4))],
            {"form": "irfft", "axis": 1, "n": n},
        )
        for n in (6, 7)
    ),
    *(Sample("cholesky", _definite(t), symmetric=True) for t in (float, complex)),
    Sample("eigh", _definite(float), symmetric=True),
    *(
        Sample(n, _square(t))
        for n in ("inv", "det", "slogdet")
        for t in (float, complex)
    ),
    *(
        Sample("solve", lambda r, t=t: [*_square(t)(r), _matrix(r, t)[..., :2]])
        for t in (float, complex)
    ),
    *(
        Sample(
            "triangular_solve",
            lambda r, t=t: [*_square(t)(r), _matrix(r, t)[..., :2]],
            {"lower": lower},
        )
        for t in (float, complex)
        for lower in (False, True)
    ),
    *(
        Sample(n, _square(t))
        for n in ("inv_or_nan", "eigvals", "eig")
        for t in (float, complex)
    ),
    *(Sample("svdvals", _rectangle(4, 3, t)) for t in (float, complex)),
    *(
        Sample("svd", _rectangle(m, n), {"full_matrices": full})
        for m, n in ((3, 3), (4, 3), (3, 4))
        for full in (False, True)
    ),
    *(
        Sample("pinv", _with_cutoff(_rectangle(m, n, t)), {"hermitian": False})
        for m, n, t in ((4, 3, float), (2, 3, complex))
    ),
    Sample(
        "pinv", _with_cutoff(_definite(complex)), {"hermitian": True}, symmetric=True
    ),
    *(
        Sample("lstsq", _with_cutoff(_rectangle(m, n, t), columns=2))
        for m, n, t in ((4, 3, float), (4, 3, complex))
    ),
    *(
        Sample("qr", _rectangle(m, n, t), {"mode": mode})
        for m, n, t in ((3, 3, complex), (5, 3, complex), (2, 4, complex))
        for mode in ("reduced", "r")
    ),
    *(
        Sample("qr", _rectangle(m, n), {"mode": "complete"})
        for m, n in ((4, 3), (3, 3), (2, 4))
    ),
    *(Sample("geqrf", _rectangle(4, 3, t)) for t in (float, complex)),
    *(
        Sample("lu", _rectangle(m, n, t))
        for m, n, t in ((3, 3, float), (3, 3, complex), (4, 3, float), (2, 4, complex))
    ),
    *(
        Sample("householder_product", _reflectors(m, n), {"complete": m > n})
        for m, n in ((4, 3), (3, 3), (2, 4))
    ),
    Sample("householder_product", _reflectors(4, 3), {"complete": False}),
    Sample("ufunc", lambda r: _integers(r), {"name": "numpy.gcd"}),
    Sample("ufunc", uniform(0.1, 0.9, SHAPE, SHAPE), {"name": "scipy.special.xlogy"}),
    Sample("ufunc", uniform(0.1, 0.9, SHAPE), {"name": "scipy.special.dawsn"}),
    Sample("call", uniform(0, 1, (3,), (3,)), {"graph": LAYER}),
    Sample(
        "composite",
        uniform(0, 1, SHAPE),
        {"name": "mean", "axes": (1,), "attributes": (), "graph": _mean()},
    ),
    Sample(
        "fusion",
        uniform(0, 1, (3,), (3,)),
        {"graph": LAYER, "space": (3,), "reduced": ()},
    ),
    Sample(
        "custom_jvp",
        uniform(0, 1, (3,), (3,)),
        {"graph": LAYER, "rule": jvp_graph(LAYER, [0, 1]), "args": 2},
    ),
    Sample(
        "custom_vjp",
        uniform(0, 1, (3,), (3,)),
        {
            "graph": LAYER,
            "fwd": _with_inputs(LAYER),
            "bwd": _backward(LAYER),
            "args": 2,
        },
    ),
    Sample(
        "custom_tangent",
        uniform(0, 1, (3,), (3,), (3,), (3,)),
        {"bwd": _backward(LAYER), "residuals": 2},
    ),
    Sample(
        "custom_batching",
        uniform(0, 1, (3,), (3,)),
        {"graph": LAYER, "rule": LAYER_OF_BATCH, "args": 2},
    ),
    *(
        Sample("checkpoint", uniform(0, 1, (3,), (3,)), {"graph": LAYER, "save": s})
        for s in ((), (("all", ""),), (("primitive", "sin"), ("name", "z")))
    ),
    Sample("checkpoint_name", uniform(0, 1, (3,)), {"name": "z"}),
    Sample("barrier", uniform(0, 1, (3,), (2,), ()), {"count": 2}),
    Sample(
        "callback",
        uniform(0, 1, (3,), ()),
        {"fn": TWICE, "results": (ShapedArray((3,), F64),), "effect": "pure"},
    ),
    Sample(
        "callback", uniform(0, 1, (3,)), {"fn": NOTHING, "results": (), "effect": "io"}
    ),
    Sample("check", lambda r: [np.asarray(True), r.normal(size=3)], {"fn": NOTHING}),
    *(
        Sample(
            "cond",
            lambda r, p=p: [np.asarray(p), *uniform(0, 1, (3,), (3,))(r)],
            {"on_true": LAYER, "on_false": OTHER},
        )
        for p in (True, False)
    ),
]


def _recurrence() -> Graph:
    """``h, c, n, x -> sin(h w) + x, c h, n + 1; h x``: slices, an int, a constant."""
    b = Builder("turn")
    w, h, c = (b.input(ShapedArray((3,), F64), n) for n in "whc")
    n = b.input(ShapedArray((), I64), "n")
    x = b.input(ShapedArray((3,), F64), "x")
    after = b.emit(add_p, b.emit(sin_p, b.emit(mul_p, h, w)), x)
    outs = [after, b.emit(mul_p, c, h), b.emit(add_p, n, 1), b.emit(mul_p, h, x)]
    return b.build(outs)


def _scanned(rng: Rng) -> Arrays:
    w, h, c, xs = uniform(0.5, 1, (3,), (3,), (3,), (4, 3))(rng)
    return [w, h, c, np.asarray(2), xs]


def _test() -> Graph:
    """``limit, h, c, n -> n < limit``."""
    b = Builder("test")
    limit = b.input(ShapedArray((), I64), "limit")
    for name in "hc":
        b.input(ShapedArray((3,), F64), name)
    return b.build([b.emit(lt_p, b.input(ShapedArray((), I64), "n"), limit)])


def _turn() -> Graph:
    """``w, h, c, n -> c, sin(h w), n + 1``."""
    b = Builder("turn")
    w, h, c = (b.input(ShapedArray((3,), F64), n) for n in "whc")
    n = b.input(ShapedArray((), I64), "n")
    return b.build([c, b.emit(sin_p, b.emit(mul_p, h, w)), b.emit(add_p, n, 1)])


def _repeated(limit: int) -> Callable[[Rng], Arrays]:
    def make(rng: Rng) -> Arrays:
        w, h, c = uniform(0.5, 1, (3,), (3,), (3,))(rng)
        return [np.asarray(limit), w, h, c, np.asarray(0)]

    return make


LOOPS = [
    *(
        Sample(
            "scan",
            _scanned,
            {
                "body": _recurrence(),
                "length": 4,
                "reverse": reverse,
                "consts": 1,
                "carries": 3,
                "unroll": unroll,
            },
        )
        for reverse, unroll in ((False, 1), (True, 2))
    ),
    *(
        Sample(
            "while",
            _repeated(limit),
            {"test": _test(), "body": _turn(), "test_consts": 1, "body_consts": 1},
        )
        for limit in (0, 3)
    ),
]

SAMPLES = [*_elementwise_samples(), *SPECIAL_ELEMENTWISE, *OTHERS, *LOOPS]


def sample_id(sample: Sample) -> str:
    return sample.name
