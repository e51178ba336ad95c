"""Donated arguments of no use: which ones, why, and the warning that says so.

Needs a recording, what was donated, and which inputs gave results their memory: known
of a Program, and of code that was found on disk without one.
"""

import warnings
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from .errors import DonationWarning
from .ir.aval import Shape, ShapedArray
from .records import dataclass
from .tracing.record import OutputLeaf, Recording, ViewLeaf
from .tracing.source import depth_of_caller
from .tracing.storage import Kind, contiguous_strides


def free_leaves(recording: Recording, donated: Mapping[int, str]) -> tuple[int, ...]:
    """Return the donated leaves that are neither written to nor results themselves."""
    written = {leaf for leaf, _ in recording.writes}
    views = (r for r in recording.results if isinstance(r, ViewLeaf))
    seen = written | {r.argument for r in views}
    return tuple(i for i in donated if i not in seen)


def new_arrays(recording: Recording) -> tuple[int, ...]:
    """Return the outputs that become arrays which the caller gets."""
    found = [
        r.index if isinstance(r, OutputLeaf) else r.output
        for r in recording.results
        if (isinstance(r, OutputLeaf) and r.kind is Kind.ARRAY)
        or (isinstance(r, ViewLeaf) and r.output >= 0)
    ]
    return tuple(dict.fromkeys(found))


@dataclass(frozen=True)
class Unused:
    """A donated argument whose memory no result takes.

    Parameters
    ----------
    name : str
        As Python would write it.
    aval : ShapedArray
    code : str
        Of `tracejit.debug.reasons`.
    why : str
        What the warning says.
    """

    name: str
    aval: ShapedArray
    code: str
    why: str


def warn_of_unused(recording: Recording, rows: Iterable[Unused]) -> None:
    """Warn of donated arrays whose memory no result takes, if there are any."""
    found = [f"{x.name}: {x.aval} {x.why}" for x in rows]
    if found:
        warnings.warn(
            f"{recording.graph.name}: donated arguments are of no use: "
            + "; ".join(found),
            DonationWarning,
            stacklevel=depth_of_caller(),
        )


def unused(
    recording: Recording,
    donated: Mapping[int, str],
    taken: Collection[int],
    strides: Sequence[Shape],
) -> Iterator[Unused]:
    """Yield the donated arguments whose memory no result takes.

    Parameters
    ----------
    recording : Recording
    donated : mapping of int to str
        Argument leaves that are given away, with their names.
    taken : collection of int
        The inputs whose memory results take.
    strides : sequence of tuple of int
        Of each input, in elements.
    """
    outs = [recording.graph.out_avals[k] for k in new_arrays(recording)]
    free = free_leaves(recording, donated)
    for k, leaf in enumerate(recording.inputs):
        if k not in taken and isinstance(leaf, int) and leaf in free:
            aval = recording.graph.in_avals[k]
            yield Unused(donated[leaf], aval, *_reason(aval, strides[k], outs))


def _reason(
    aval: ShapedArray, strides: tuple[int, ...], outs: Sequence[ShapedArray]
) -> tuple[str, str]:
    if not any((x.dtype, x.size) == (aval.dtype, aval.size) for x in outs):
        return (
            "DONATION_SIZE",
            "has the dtype and size of no result that is a new array",
        )
    dense = tuple(n // aval.dtype.itemsize for n in contiguous_strides(aval))
    if strides != dense:
        return (
            "DONATION_STRIDES",
            f"is not C-contiguous, its strides are {list(strides)} elements",
        )
    return (
        "DONATION_READ",
        "is still read when each such result is written, or others took its place",
    )
