"""The kernel of a `conv_general`: a contraction of a load through a window.

    %x{n,g,c,y0,t0} = load %a[n, g, c, y0*strides + t0*dilation - low]   (within bounds)
    %w{g,o,c,t0}    = load %b[g, o, c, t0]
    %z{n,g,o,y0}    = contract over (c, t0): %x * %w

Where the operand is dilated the index is divided, and one more bound says that nothing
remains. Bounds that always hold are left out: a convolution of single elements is a
plain product.
"""

from collections.abc import Mapping, Sequence

from ..ir.aval import Shape
from ..ir.graph import Eqn, Literal
from ..ir.ops.conv import LEADING
from ..ir.ops.shape import ints
from .kernel import Axis, Bound, Buffer, Contract, Kernel, Load, Store, Value
from .maps import Affine, FloorDiv, Map, Mod, axes_in, axis
from .schedule import Role, Schedule
from .views import bounds_of


def conv_kernel(
    eqn: Eqn, name: str, in_strides: Sequence[Shape], out_strides: Shape
) -> tuple[Kernel, Schedule]:
    """Return the kernel of a `conv_general` and its schedule.

    Parameters
    ----------
    eqn : Eqn
    name : str
    in_strides : sequence of tuple of int
        Of both operands, in elements.
    out_strides : tuple of int
    """
    x, w, z = eqn.invars[0].aval, eqn.invars[1].aval, eqn.outvars[0].aval
    a = Buffer("a", x.dtype, x.shape, tuple(in_strides[0]))
    b = Buffer("b", w.dtype, w.shape, tuple(in_strides[1]))
    c = Buffer("c", z.dtype, z.shape, tuple(out_strides))
    rank = x.ndim - LEADING
    places, taps = [f"y{d}" for d in range(rank)], [f"t{d}" for d in range(rank)]
    extents = dict(zip(("n", "g", "o", *places), z.shape, strict=True))
    extents.update(zip(("c", *taps), w.shape[2:], strict=True))
    index, bounds = windows(
        eqn, tuple(map(axis, places)), tuple(map(axis, taps)), extents
    )
    place = (axis("n"), axis("g"), axis("c"), *index)
    seen = frozenset[str]().union(*map(axes_in, place))
    left = Value("x", seen | {*places, *taps}, x.dtype)
    right = Value("w", frozenset({"g", "o", "c", *taps}), w.dtype)
    out = Value("z", frozenset({"n", "g", "o", *places}), z.dtype)
    fill = Literal(0, x.dtype) if bounds else None
    body = (
        Load(left, a.name, place, bounds, fill),
        Load(right, b.name, tuple(axis(n) for n in ("g", "o", "c", *taps))),
        Contract(out, ("c", *taps), left, right),
        Store(c.name, tuple(axis(n) for n in ("n", "g", "o", *places)), out),
    )
    axes = tuple(Axis(n, e) for n, e in extents.items())
    roles = {n: Role.GRID if n in ("n", "g") else Role.TILE for n in extents}
    kernel = Kernel(name, (a, b), (c,), axes, body, eqn.source)
    return kernel, Schedule(tuple(extents), roles)


def windows(
    eqn: Eqn, places: Map, taps: Map, extents: Mapping[str, int]
) -> tuple[list[Affine], tuple[Bound, ...]]:
    """Return where a `conv_general` reads along each spatial axis, and what must hold.

    Parameters
    ----------
    eqn : Eqn
    places, taps : tuple of Affine
        Of a result, and of an element of the window.
    extents : mapping of str to int
        Of the axes in both.
    """
    shape, params = eqn.invars[0].aval.shape[LEADING:], eqn.params
    names = ("strides", "rhs_dilation", "low", "lhs_dilation")
    rows = zip(shape, places, taps, *(ints(params, n) for n in names), strict=True)
    index, bounds = [], []
    for extent, place, tap, stride, dilation, low, holes in rows:
        at = place * stride + tap * dilation + -low
        if holes > 1:
            bounds.append(Bound(Affine(((Mod(at, holes), 1),)), 1))
            at = Affine(((FloorDiv(at, holes), 1),))
        index.append(at)
        first, last = bounds_of(at, extents)
        if first < 0 or last >= extent:
            bounds.append(Bound(at, extent))
    return index, tuple(bounds)
