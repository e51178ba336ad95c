"""`jacfwd`, `jacrev`, `jacobian` and `hessian`: all derivatives of all elements.

The function is traced once and its values are computed once; the derivative, a linear
graph, is applied to all unit vectors (`transforms.jacobian`).
"""

from collections.abc import Callable, Sequence
from typing import Any

from ..errors import DTypeError
from ..ir import dtypes as dt
from ..ir.aval import ShapedArray
from ..transforms.jacobian import jacobian_graph
from ..transforms.split import pullback_graph
from .arguments import Argnums, active_leaves, choose, function_name, zeros
from .inner import Static, argument_like, kind_of, run_graph, with_kind
from .placed import compiled_where_placed
from .point import LinearMap, Point, split_at, trace_at
from .source import user_line
from .storage import Kind
from .tree import unflatten

Blocks = list[list[Any]]


def jacfwd(
    fn: Callable[..., Any],
    argnums: Argnums = 0,
    has_aux: bool = False,
    holomorphic: bool = False,
) -> Callable[..., Any]:
    """Return a function giving the Jacobian of `fn`, column by column (forward mode).

    The better one of `jacfwd` and `jacrev` when the arguments have fewer elements than
    the result.

    Parameters
    ----------
    fn : callable
        Returns float or complex arrays in nested containers (with `has_aux`: a pair of
        that and anything).
    argnums : int or sequence of int
        Positions of the arguments to differentiate.
    has_aux : bool
    holomorphic : bool
        The function is complex differentiable, and arguments and results are complex.

    Returns
    -------
    callable
        The Jacobian, or ``(jacobian, aux)``: the structure of the result, and at each
        leaf of it that of the argument (a tuple for a sequence of `argnums`), and at
        each leaf of that an array of the axes of the result, then of the argument.

    Raises
    ------
    DTypeError
        By the function returned: for complex arguments unless `holomorphic`, for
        results that are not float or complex.

    Examples
    --------
    >>> import numpy as np
    >>> jacfwd(lambda x: x**2)(np.array([1.0, 2.0]))
    array([[2., 0.],
           [0., 4.]])
    """

    @compiled_where_placed
    def jacobian_of(*args: Any, **kwargs: Any) -> Any:
        point = _point(fn, args, kwargs, argnums, has_aux, holomorphic, "jacfwd")
        _check_inputs(point, holomorphic)
        _, aux, linear = split_at(point)
        tangent, n = linear.split.tangent, linear.split.n_residuals
        found = run_graph(jacobian_graph(tangent, n, True), linear.residuals)
        columns = len(point.active)
        rows = range(0, len(found), columns) if columns else ()
        blocks = [found[r : r + columns] for r in rows]
        tree = _assemble(linear, blocks)
        return (tree, aux) if has_aux else tree

    return _named(jacobian_of, "jacfwd", fn)


def jacrev(
    fn: Callable[..., Any],
    argnums: Argnums = 0,
    has_aux: bool = False,
    holomorphic: bool = False,
    allow_int: bool = False,
) -> Callable[..., Any]:
    """Return a function giving the Jacobian of `fn`, row by row (reverse mode).

    The better one of `jacfwd` and `jacrev` when the result has fewer elements than the
    arguments. Parameters and result are those of `jacfwd`.

    Raises
    ------
    DTypeError
        By the function returned: for results that are not real floats (with
        `holomorphic`: not complex).

    Examples
    --------
    >>> import numpy as np
    >>> jacrev(lambda x: x**2)(np.array([1.0, 2.0]))
    array([[2., 0.],
           [0., 4.]])
    """

    @compiled_where_placed
    def jacobian_of(*args: Any, **kwargs: Any) -> Any:
        point = _point(
            fn, args, kwargs, argnums, has_aux, holomorphic, "jacrev", allow_int
        )
        _check_outputs(point, holomorphic)
        _, aux, linear = split_at(point)
        graph, n = pullback_graph(linear.split), linear.split.n_residuals
        found = run_graph(jacobian_graph(graph, n, False), linear.residuals)
        rows = len(linear.active_outs)
        blocks = [found[r::rows] for r in range(rows)]
        tree = _assemble(linear, blocks)
        return (tree, aux) if has_aux else tree

    return _named(jacobian_of, "jacrev", fn)


jacobian = jacrev


def hessian(
    fn: Callable[..., Any],
    argnums: Argnums = 0,
    has_aux: bool = False,
    holomorphic: bool = False,
) -> Callable[..., Any]:
    """Return a function giving the second derivatives of `fn`: forward over reverse.

    Parameters are those of `jacfwd`.

    Returns
    -------
    callable
        The Hessian, or ``(hessian, aux)``: per leaf of the result, per leaf of the
        argument, per leaf of the argument again, an array of the axes of all three.

    Examples
    --------
    >>> import numpy as np
    >>> hessian(lambda x: np.prod(x))(np.array([2.0, 3.0]))
    array([[0., 1.],
           [1., 0.]])
    """
    rows = jacrev(fn, argnums, has_aux, holomorphic)
    return _named(jacfwd(rows, argnums, has_aux, holomorphic), "hessian", fn)


def _named(
    jacobian_of: Callable[..., Any], what: str, fn: Callable[..., Any]
) -> Callable[..., Any]:
    jacobian_of.__name__ = f"{what}_{function_name(fn)}"
    jacobian_of.__wrapped__ = fn  # type: ignore[attr-defined]
    return jacobian_of


def _point(
    fn: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    argnums: Argnums,
    has_aux: bool,
    holomorphic: bool,
    what: str,
    allow_int: bool = False,
) -> Point:
    chosen = choose(fn, args, kwargs, argnums, None)
    active = active_leaves(chosen, what, holomorphic, allow_int)
    point = trace_at(fn, chosen, active, has_aux)
    for aval, name in zip(point.out_avals(what), point.out_names, strict=True):
        if not dt.is_inexact(aval.dtype):
            raise DTypeError(
                f"{what} needs float results, but {name} is {aval}",
                source=user_line(),
                hint="convert it to float, or return it as aux with has_aux=True",
            )
        if holomorphic and not dt.is_complex(aval.dtype):
            raise DTypeError(
                f"{what} with holomorphic=True needs complex results, but {name} is "
                f"{aval}",
                source=user_line(),
                hint="leave out holomorphic=True",
            )
    return point


def _check_inputs(point: Point, holomorphic: bool) -> None:
    for i in point.active:
        aval = point.graph.in_avals[i]
        if dt.is_complex(aval.dtype) and not holomorphic:
            raise DTypeError(
                f"jacfwd takes real arguments, but {point.chosen.names[i]} is {aval}",
                source=user_line(),
                hint="jacrev for a real function of it, or holomorphic=True",
            )


def _check_outputs(point: Point, holomorphic: bool) -> None:
    for aval, name in zip(point.out_avals("jacrev"), point.out_names, strict=True):
        if dt.is_complex(aval.dtype) and not holomorphic:
            raise DTypeError(
                f"jacrev needs real results, but {name} is {aval}",
                source=user_line(),
                hint="jacfwd for a function of real arguments, or holomorphic=True",
            )


def _assemble(linear: LinearMap, blocks: Blocks) -> Any:
    """Return the tree of blocks; zeros where nothing depends on the arguments."""
    point = linear.point
    found = dict(zip(linear.active_outs, blocks, strict=True))
    rows = []
    for x, aval in zip(point.leaves, point.out_avals("jacobian"), strict=True):
        row = {} if isinstance(x, Static) else _row_of(point, found.get(x, ()))
        leaves = [
            _shaped(row[i], y) if i in row else _zero_block(aval, y)
            for i, y in enumerate(point.chosen.leaves)
        ]
        rows.append(point.chosen.like_arguments(leaves))
    return unflatten(point.spec, rows)


def _row_of(point: Point, blocks: Sequence[Any]) -> dict[int, Any]:
    return dict(zip(point.active, blocks, strict=True)) if blocks else {}


def _shaped(block: Any, leaf: Any) -> Any:
    return block if kind_of(leaf) is Kind.ARRAY else with_kind(block, Kind.SCALAR)


def _zero_block(aval: ShapedArray, leaf: Any) -> Any:
    """Blocks of integers have their dtype; others that of the results."""
    found = argument_like(leaf).aval
    dtype = aval.dtype if dt.is_inexact(found.dtype) else found.dtype
    block = ShapedArray((*aval.shape, *found.shape), dtype)
    return zeros(block, Kind.ARRAY if block.shape else kind_of(leaf))
