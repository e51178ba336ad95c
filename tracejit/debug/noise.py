"""How far rounding may move results: graphs run with every rounding nudged.

Needs graphs and values for their inputs. Establishes `nudged`: the results of a graph
when each result that was rounded is moved by about as much as rounding may differ. Runs
with different seeds differ by what two right ways of computing a graph may differ by:
much where a program subtracts nearly equal numbers, nothing where it only moves them.
Equal numbers are moved alike, so that ``x == max(x)`` and ``a - a`` stay what they are.

Stochastic arithmetic is an old idea: Parker, "Monte Carlo arithmetic", 1997.
"""

import enum
import zlib
from collections.abc import Sequence

import ml_dtypes
import numpy as np

from ..ir import dtypes as dt
from ..ir.graph import Eqn, Graph, Var, expansion_of, subgraph
from ..ir.ops.contract import dot_general_p
from ..ir.ops.control import cond_p, inlined_graph
from ..ir.ops.conv import conv_general_p
from ..ir.ops.loops import ScanParams, WhileParams, scan_p, while_p
from ..ir.ops.sort import SORTS
from ..ir.primitive import Array, Kind

# Results of these are rounded once, as IEEE 754 says: half a unit each.
ROUNDED_ONCE = frozenset({"add", "sub", "mul", "div", "sqrt", "fma"})
# Their error is that of a sum of as many terms as they read.
SUMS = frozenset(
    {
        *("reduce_sum", "cumsum", "dot_general", "conv_general", "scatter"),
        *("window_place", "reduce_prod", "cumprod", "fft"),
    }
)
# Results of these are elements of their operands, or no rounded numbers.
EXACT = frozenset(
    {
        *("neg", "abs", "sign", "floor", "ceil", "trunc", "rint", "copysign"),
        *("maximum", "minimum", "fmax", "fmin", "nextafter", "select", "convert"),
        *("stop_gradient", "real", "imag", "complex", "conj", "remainder", "fmod"),
        *("floor_divide", "reduce_max", "reduce_min", "cummax", "cummin", "constant"),
        *("gather", "sort", "kth", "barrier", "checkpoint_name", "custom_tangent"),
        *("window_max", "window_pick", "callback", "check", "iota"),
    }
)
# Of two zeros they give either one: in NumPy, the place in the array decides.
EXTREMA = frozenset({"maximum", "minimum", "fmax", "fmin"})
OVERFLOWING = SUMS | {"add", "sub", "mul", "fma"}
PRODUCTS = (dot_general_p, conv_general_p)
ULPS = 4.0  # what elementary functions may err by; see docs/numerics.md
SPREAD = 2.0  # of sums, in roundings of the sum of magnitudes
# NumPy adds one after the other along all axes but the last, and multiplies so: errors
# grow as the root of their number, of which this is one rounding.
CHAIN = 4.0
MOST_TURNS = 2000  # of a loop until a condition holds
MATRICES = 16.0  # of factorisations and the like, in roundings of the largest result


class TurnsError(ArithmeticError):
    """A loop does not end, as far as one can wait for it."""


class Noise(enum.Enum):
    """Which roundings are nudged."""

    NONE = "none: what the interpreter gives"
    ORDER = "sums alone: every other operation gives the bits that NumPy gives"
    ALL = "all: operations may be fused, and functions have bounds"


def nudged(
    graph: Graph, args: Sequence[Array], seed: int, noise: Noise = Noise.ALL
) -> tuple[Array, ...]:
    """Run a graph, moving what is rounded.

    Parameters
    ----------
    graph : Graph
    args : sequence of numpy.ndarray
    seed : int
        Of the directions. Odd ones also move what overflowed or underflowed back.
    noise : Noise

    Returns
    -------
    tuple of numpy.ndarray
        One per output.
    """
    with np.errstate(all="ignore"):
        return _Run(seed, noise).graph(graph, args)


class _Run:
    """One run: the seed and what is nudged."""

    def __init__(self, seed: int, noise: Noise) -> None:
        self.seed, self.noise = seed, noise

    def graph(self, graph: Graph, args: Sequence[Array]) -> tuple[Array, ...]:
        env: dict[Var, Array] = dict(
            zip(graph.invars, map(np.asarray, args), strict=True)
        )
        for eqn in graph.eqns:
            ins = [
                env[x] if isinstance(x, Var) else np.asarray(x.value)
                for x in eqn.invars
            ]
            env.update(zip(eqn.outvars, self.equation(eqn, ins), strict=True))
        return tuple(
            env[x] if isinstance(x, Var) else np.asarray(x.value) for x in graph.outvars
        )

    def equation(self, eqn: Eqn, ins: Sequence[Array]) -> Sequence[Array]:
        if eqn.primitive is scan_p:
            return self.scan(ScanParams.of(eqn.params), ins)
        if eqn.primitive is while_p:
            return self.loop(WhileParams.of(eqn.params), ins)
        if eqn.primitive is cond_p:
            name = "on_true" if ins[0][()] else "on_false"
            return self.graph(subgraph(eqn.params, name), ins[1:])
        inner = inlined_graph(eqn) or expansion_of(eqn) or _held(eqn)
        if inner is not None:
            return self.graph(inner, ins)
        outs = [np.asarray(x) for x in eqn.primitive.evaluate(ins, eqn.params)]
        if eqn.primitive in SORTS and self.seed % 2:
            return [np.where(x == 0, -x, x).astype(x.dtype) for x in outs]
        if eqn.primitive.name in EXTREMA and self.seed % 2:
            return [_other_zero(ins[0], ins[1], outs[0])]
        if eqn.primitive.kind is Kind.VIEW or eqn.primitive.name in EXACT:
            return outs
        if self.seed % 2 and eqn.primitive in PRODUCTS:
            outs = self.without_hidden(eqn, ins, outs)
        return [self.moved(eqn, ins, k, x) for k, x in enumerate(outs)]

    def without_hidden(
        self, eqn: Eqn, ins: Sequence[Array], outs: Sequence[Array]
    ) -> list[Array]:
        """Return products without what zeros made of infinities and NaN.

        In the holes of dilated operands, and where a mask hides positions of attention,
        nothing is multiplied.
        """
        if all(np.isfinite(wide(x)).all() for x in ins):
            return list(outs)
        finite = [np.where(np.isfinite(wide(x)), x, 0).astype(x.dtype) for x in ins]
        has_hole = [(wide(x) == 0).any() for x in ins]
        is_dilated = set(eqn.params.get("lhs_dilation", ())) - {1}  # type: ignore[arg-type]
        if not (any(has_hole) or is_dilated):
            return list(outs)
        other = eqn.primitive.evaluate(finite, eqn.params)
        return [
            np.where(np.isnan(wide(x)), y, x).astype(x.dtype)
            for x, y in zip(outs, other, strict=True)
        ]

    # --- loops

    def scan(self, p: ScanParams, args: Sequence[Array]) -> list[Array]:
        fixed, states, xs = p.split(args)
        slices = p.split_results(p.body.out_avals)[1]
        ys = [np.empty((p.length, *a.shape), a.dtype) for a in slices]
        for i in p.order:
            outs = self.graph(p.body, [*fixed, *states, *(x[i] for x in xs)])
            states, parts = p.split_results(outs)
            for y, value in zip(ys, parts, strict=True):
                y[i] = value
        return [*states, *ys]

    def loop(self, p: WhileParams, args: Sequence[Array]) -> list[Array]:
        for_test, for_body, states = p.split(args)
        for _ in range(MOST_TURNS):
            if not self.graph(p.test, [*for_test, *states])[0][()]:
                return states
            states = list(self.graph(p.body, [*for_body, *states]))
        raise TurnsError(f"a loop runs for more than {MOST_TURNS} turns")

    # --- one result

    def moved(self, eqn: Eqn, ins: Sequence[Array], k: int, x: Array) -> Array:
        """Return a result moved by what its rounding may differ by."""
        if x.dtype not in dt.INEXACT or not x.size or self.noise is Noise.NONE:
            return x
        name = eqn.primitive.name
        is_elementwise = eqn.primitive.kind is Kind.ELEMENTWISE
        is_ufunc = is_elementwise or name == "ufunc"
        if is_ufunc and self.noise is Noise.ORDER:
            return x
        if is_ufunc:
            once = name in ROUNDED_ONCE
            amount = (1.0 if once else ULPS) * np.abs(wide(x))
            if once:
                amount = np.where(_is_exact(eqn, ins, x), 0.0, amount)
        elif name in SUMS:
            chain = max(1.0, np.sqrt(_terms(eqn, ins, x)) / CHAIN)
            amount = SPREAD * chain * self.magnitudes(eqn, ins, k)
            is_subnormal = (x != 0) & (np.abs(wide(x)) < tiny(x.dtype))
            amount += np.where(is_subnormal, tiny(x.dtype), 0.0)
        else:
            amount = np.full(x.shape, MATRICES * largest(x))
        return self.nudge(x, amount * epsilon(x.dtype), name, ins)

    def magnitudes(self, eqn: Eqn, ins: Sequence[Array], k: int) -> Array:
        """Return what an equation gives for the finite magnitudes of its operands."""
        positive = [
            np.where(np.isfinite(wide(x)), np.abs(x), 0).astype(x.dtype)
            if x.dtype in dt.INEXACT
            else x
            for x in ins
        ]
        return np.abs(wide(np.asarray(eqn.primitive.evaluate(positive, eqn.params)[k])))

    def nudge(self, x: Array, amount: Array, name: str, ins: Sequence[Array]) -> Array:
        """Return a result moved by an amount, which infinities and NaN are not."""
        # Of negative zeros alone; NumPy says of which sign sums are, but no other.
        if name in SUMS and name != "reduce_sum" and self.seed % 2:
            x = np.where(x == 0, -x, x).astype(x.dtype)
        value = wide(x)
        is_finite, is_known = np.isfinite(value), np.isfinite(amount)
        step = np.where(is_finite & is_known, amount, 0.0) * self.direction(value, name)
        out = np.where(step == 0, x, (value + step).astype(x.dtype))
        out = np.where(is_finite & ~np.isfinite(wide(out)), x, out)
        may_overflow = name in OVERFLOWING and x.dtype.kind != "c"
        if may_overflow and self.seed % 2:
            out = self.moved_back(x, out, ~is_known & (name in SUMS), ins)
        return np.asarray(out).astype(x.dtype)

    def moved_back(
        self, x: Array, out: Array, is_unsure: Array, ins: Sequence[Array]
    ) -> Array:
        """Return a result as if steps on the way had more room than its dtype has.

        What overflows or underflows here does not where it is computed otherwise: in
        another order, or without rounding products.
        """
        top = np.copysign(np.asarray(dt_max(x.dtype)).astype(x.dtype), x)
        other = top if self.seed % 4 == 1 else np.asarray(np.nan).astype(x.dtype)
        out = np.where(is_unsure, other, out)
        inputs = [wide(y) for y in ins if y.dtype in dt.INEXACT]
        if any(y.shape not in ((), x.shape) for y in inputs):
            return out
        are_finite = np.all([_spread(np.isfinite(y), x) for y in inputs], axis=0)
        out = np.where(np.isinf(wide(x)) & are_finite, top, out)
        are_numbers = np.all([_spread(y != 0, x) for y in inputs], axis=0)
        least = np.asarray(float(_info(x.dtype).smallest_subnormal)).astype(x.dtype)
        is_lost = (wide(x) == 0) & are_numbers
        return np.where(is_lost, np.copysign(least, x), out)

    def direction(self, x: Array, name: str) -> Array:
        """Return numbers of magnitude 0.5 to 1 that depend on the values alone."""
        bits = np.abs(x).astype(np.float64).view(np.uint64)
        salt = zlib.crc32(f"{name} {self.seed}".encode())
        with np.errstate(over="ignore"):
            mixed = (bits ^ np.uint64(salt)) * np.uint64(0x9E3779B97F4A7C15)
            mixed ^= mixed >> np.uint64(29)
            mixed *= np.uint64(0xBF58476D1CE4E5B9)
        share = (mixed >> np.uint64(12)).astype(np.float64) / 2.0**52
        size = 0.5 + np.abs(share - 0.5)
        signs = np.where(share < 0.5, -1.0, 1.0)
        if x.dtype.kind != "c":
            signs = signs * np.where(np.signbit(x), -1.0, 1.0)
        return np.asarray(signs * size)


def _other_zero(a: Array, b: Array, x: Array) -> Array:
    """Return what is one of two operands, with the other zero where both are zeros."""
    if x.dtype not in dt.INEXACT or x.dtype.kind == "c":
        return x
    is_either = (a == 0) & (b == 0) & (np.signbit(wide(a)) != np.signbit(wide(b)))
    return np.where(is_either, -x, x).astype(x.dtype)


def wide(x: Array) -> Array:
    """Return numbers in float64 or complex128, which hold them all."""
    return x.astype(np.complex128 if x.dtype.kind == "c" else np.float64)


def epsilon(dtype: np.dtype) -> float:
    """Return the distance from one to the next number of a dtype."""
    return float(_info(dtype).eps)


def tiny(dtype: np.dtype) -> float:
    """Return the least normal number of a dtype: one rounding of it is subnormal."""
    return float(_info(dtype).tiny)


def dt_max(dtype: np.dtype) -> float:
    """Return the largest finite number of a dtype."""
    return float(_info(dtype).max)


def _info(dtype: np.dtype) -> np.finfo | ml_dtypes.finfo:
    return ml_dtypes.finfo(dtype) if dtype in dt.OF_ML_DTYPES else np.finfo(dtype)


def largest(x: Array) -> float:
    """Return the largest finite magnitude; 0 if there is none."""
    size = np.abs(wide(x))
    return float(np.max(size, where=np.isfinite(size), initial=0.0))


def _terms(eqn: Eqn, ins: Sequence[Array], x: Array) -> int:
    """Return how many numbers a sum takes one after the other, at most."""
    name, axis = eqn.primitive.name, eqn.params.get("axis")
    if isinstance(axis, int):
        return ins[0].shape[axis]
    return ins[0].size // max(x.size, 1) if name.startswith("reduce_") else 1


def _is_exact(eqn: Eqn, ins: Sequence[Array], x: Array) -> Array:
    """Tell which results were not rounded: the same in more bits."""
    if x.dtype not in (dt.FLOAT32, dt.FLOAT64):
        return np.zeros(x.shape, bool)
    more = np.float64 if x.dtype == dt.FLOAT32 else np.longdouble
    given = [y.astype(more) if y.dtype == x.dtype else y for y in ins]
    found = np.asarray(eqn.primitive.impl(*given, **eqn.params))
    return found == x if found.dtype == more else np.zeros(x.shape, bool)


def _spread(x: Array, like: Array) -> Array:
    return np.broadcast_to(x, like.shape)


def _held(eqn: Eqn) -> Graph | None:
    """Return the graph that an equation of another kind runs: of fusions, of custom."""
    held = eqn.params.get("graph")
    return held if isinstance(held, Graph) else None
