"""Primitives of loops: `scan` of a known length, `while` until a condition fails.

    scan consts, carries, xs {body, length, reverse, consts, carries, unroll}
    while cond_consts, body_consts, carries {test, body, test_consts, body_consts}

The body of a scan takes the constants, the carries and one slice along axis 0 of each
of the xs; it gives the next carries and one slice of each of the ys. With ``reverse``
it runs from the last slices to the first, and stacks ys in the places of the xs.
``unroll`` is how many turns the compiler puts into one; it changes no result. The test
of a `while` takes its constants and the carries and gives one boolean; the body takes
its constants and the carries and gives the next carries.
"""

from collections.abc import Iterator, Sequence
from itertools import count
from typing import TypeVar

from ...errors import DTypeError, ShapeError
from ...records import dataclass
from .. import dtypes as dt
from ..aval import ShapedArray
from ..graph import Graph
from ..interp import Evaluator, Part, interpreted
from ..primitive import Avals, ParamKind, Params, Primitive, register
from .control import call_effects, check_operands, graph_flops

T = TypeVar("T")
V = TypeVar("V")


@dataclass(frozen=True)
class ScanParams:
    """The params of a scan, typed.

    Parameters
    ----------
    body : Graph
    length : int
    reverse : bool
    consts, carries : int
        How many operands are constants, and how many after them are carries.
    unroll : int
    """

    body: Graph
    length: int
    reverse: bool
    consts: int
    carries: int
    unroll: int = 1

    @classmethod
    def of(cls, params: Params) -> "ScanParams":
        """Return the params of a scan equation."""
        return cls(**params)  # type: ignore[arg-type]

    @property
    def params(self) -> Params:
        """The params of an equation."""
        return dict(vars(self))

    def split(self, items: Sequence[T]) -> tuple[list[T], list[T], list[T]]:
        """Split what goes with the operands into constants, carries and xs."""
        n, m = self.consts, self.consts + self.carries
        return list(items[:n]), list(items[n:m]), list(items[m:])

    def split_results(self, items: Sequence[T]) -> tuple[list[T], list[T]]:
        """Split what goes with the results into carries and ys."""
        return list(items[: self.carries]), list(items[self.carries :])

    @property
    def order(self) -> Iterator[int]:
        """The slices in the order of turns."""
        turns = range(self.length)
        return iter(reversed(turns) if self.reverse else turns)


@dataclass(frozen=True)
class WhileParams:
    """The params of a while, typed.

    Parameters
    ----------
    test, body : Graph
    test_consts, body_consts : int
        How many operands, at first, are constants of the test, and then of the body.
    """

    test: Graph
    body: Graph
    test_consts: int
    body_consts: int

    @classmethod
    def of(cls, params: Params) -> "WhileParams":
        """Return the params of a while equation."""
        return cls(**params)  # type: ignore[arg-type]

    @property
    def params(self) -> Params:
        """The params of an equation."""
        return dict(vars(self))

    def split(self, items: Sequence[T]) -> tuple[list[T], list[T], list[T]]:
        """Split what goes with the operands: test's and body's constants, carries."""
        n, m = self.test_consts, self.test_consts + self.body_consts
        return list(items[:n]), list(items[n:m]), list(items[m:])


def stacked(aval: ShapedArray, length: int) -> ShapedArray:
    """Return the aval of `length` slices."""
    return aval.with_shape((length, *aval.shape))


def _check_counts(name: str, avals: Sequence[ShapedArray], *counts: int) -> None:
    if min(counts) < 0 or sum(counts) > len(avals):
        raise ShapeError(
            f"{name} has {len(avals)} operands, of which {list(counts)} are to be "
            "constants and carries"
        )


def _check_carries(
    name: str, ins: Sequence[ShapedArray], outs: Sequence[ShapedArray]
) -> None:
    if tuple(ins) != tuple(outs):
        raise ShapeError(
            f"the carries of {name} start as {list(ins)}, but a turn gives {list(outs)}"
        )


def _scan_eval(
    *avals: ShapedArray,
    body: Graph,
    length: int,
    reverse: bool,
    consts: int,
    carries: int,
    unroll: int,
) -> Avals:
    p = ScanParams(body, length, reverse, consts, carries, unroll)
    _check_counts("scan", avals, consts, carries)
    if length < 0 or unroll < 1:
        raise ShapeError(f"scan of length {length}, {unroll} turns at once")
    fixed, states, xs = p.split(avals)
    for aval in xs:
        if aval.shape[:1] != (length,):
            raise ShapeError(f"scan takes {length} slices, not those of {aval}")
    slices = [a.with_shape(a.shape[1:]) for a in xs]
    check_operands("scan", body, [*fixed, *states, *slices])
    if len(body.outvars) < carries:
        raise ShapeError(
            f"the body of scan gives {len(body.outvars)} results for {carries} carries"
        )
    after, ys = p.split_results(body.out_avals)
    _check_carries("scan", states, after)
    return (*after, *(stacked(a, length) for a in ys))


def _run_scan(by: Evaluator[V], ins: Sequence[V], params: Params) -> Sequence[V]:
    p = ScanParams.of(params)
    fixed, states, xs = p.split(ins)
    rows: list[list[V]] = []
    for turn, i in enumerate(p.order):
        slices = [by.row(x, i) for x in xs]
        outs = by.run(p.body, [*fixed, *states, *slices], Part("body", turn))
        states, parts = p.split_results(outs)
        rows.append(parts)
    if p.reverse:
        rows.reverse()
    avals = p.split_results(p.body.out_avals)[1]
    columns = ([row[k] for row in rows] for k in range(len(avals)))
    ys = [by.stacked(y, aval) for y, aval in zip(columns, avals, strict=True)]
    return (*states, *ys)


def _scan_flops(ins: Avals, outs: Avals, params: Params) -> float:
    p = ScanParams.of(params)
    return p.length * graph_flops(p.body)


scan_p: Primitive = register(
    Primitive(
        "scan",
        _scan_eval,
        interpreted(_run_scan),
        params={
            "body": ParamKind.GRAPH,
            "length": ParamKind.INT,
            "reverse": ParamKind.BOOL,
            "consts": ParamKind.INT,
            "carries": ParamKind.INT,
            "unroll": ParamKind.INT,
        },
        effects=call_effects,
        flops=_scan_flops,
        variadic_results=True,
        run_by=_run_scan,
    )
)


def _while_eval(
    *avals: ShapedArray,
    test: Graph,
    body: Graph,
    test_consts: int,
    body_consts: int,
) -> Avals:
    p = WhileParams(test, body, test_consts, body_consts)
    _check_counts("while", avals, test_consts, body_consts)
    for_test, for_body, states = p.split(avals)
    check_operands("the test of while", test, [*for_test, *states])
    check_operands("the body of while", body, [*for_body, *states])
    if test.out_avals != (ShapedArray((), dt.BOOL),):
        raise DTypeError(
            f"the test of while gives {list(test.out_avals)}, not one boolean"
        )
    _check_carries("while", states, body.out_avals)
    return body.out_avals


def _run_while(by: Evaluator[V], ins: Sequence[V], params: Params) -> Sequence[V]:
    p = WhileParams.of(params)
    for_test, for_body, states = p.split(ins)
    for turn in count():
        (goes_on,) = by.run(p.test, [*for_test, *states], Part("test", turn))
        if not by.is_true(goes_on):
            break
        states = list(by.run(p.body, [*for_body, *states], Part("body", turn)))
    return states


def _while_flops(ins: Avals, outs: Avals, params: Params) -> float:
    """Operations of one turn: how many there are is not known."""
    p = WhileParams.of(params)
    return graph_flops(p.test) + graph_flops(p.body)


while_p: Primitive = register(
    Primitive(
        "while",
        _while_eval,
        interpreted(_run_while),
        params={
            "test": ParamKind.GRAPH,
            "body": ParamKind.GRAPH,
            "test_consts": ParamKind.INT,
            "body_consts": ParamKind.INT,
        },
        effects=call_effects,
        flops=_while_flops,
        variadic_results=True,
        run_by=_run_while,
    )
)
