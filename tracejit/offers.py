"""What arguments offer results: their memory, if calls give it away or write to it.

Needs the recording of a function, and which argument leaves are donated. Establishes
the offers that `program.donate` takes up where it can, and a warning, once for each
compiled form, of donated arrays that no result can lie in.
"""

import warnings
from collections.abc import Iterator, Mapping, Sequence

from .errors import DonationWarning
from .ir.aval import ShapedArray
from .kernels.kernel import dense_strides
from .program.donate import Offer
from .program.program import Program
from .records import dataclass
from .tracing.record import OutputLeaf, Recording, ViewLeaf
from .tracing.source import depth_of_caller
from .tracing.storage import Kind


def offers_of(
    recording: Recording, donated: Mapping[int, str], mode: str
) -> tuple[Offer, ...]:
    """Return the inputs whose memory results may take.

    Parameters
    ----------
    recording : Recording
    donated : mapping of int to str
        Argument leaves that are given away, with their names.
    mode : str
        The switch ``donation``.
    """
    if mode == "off":
        return ()
    places = {leaf: k for k, leaf in enumerate(recording.inputs)}
    offers = [
        Offer(places[leaf], (out,), leaf in donated, True)
        for leaf, out in recording.writes
    ]
    if mode == "check":
        return tuple(offers)
    results = _new_arrays(recording)
    wanted = [
        i for i in donated if i in places and i in free_leaves(recording, donated)
    ]
    return (*offers, *(Offer(places[i], results, True) for i in wanted))


def free_leaves(recording: Recording, donated: Mapping[int, str]) -> tuple[int, ...]:
    """Return the donated leaves that are neither written to nor results themselves."""
    written = {leaf for leaf, _ in recording.writes}
    views = (r for r in recording.results if isinstance(r, ViewLeaf))
    seen = written | {r.argument for r in views}
    return tuple(i for i in donated if i not in seen)


def _new_arrays(recording: Recording) -> tuple[int, ...]:
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


def warn_of_unused(
    recording: Recording, donated: Mapping[int, str], program: Program
) -> None:
    """Warn of donated arrays whose memory no result takes.

    Parameters
    ----------
    recording : Recording
    donated : mapping of int to str
    program : Program
        After `program.donate`.
    """
    rows = [f"{x.name}: {x.aval} {x.why}" for x in unused(recording, donated, program)]
    if rows:
        warnings.warn(
            f"{recording.graph.name}: donated arguments are of no use: "
            + "; ".join(rows),
            DonationWarning,
            stacklevel=depth_of_caller(),
        )


def unused(
    recording: Recording, donated: Mapping[int, str], program: Program
) -> Iterator[Unused]:
    """Yield the donated arguments that are of no use; see `warn_of_unused`."""
    taken = set(program.donors.values())
    outs = [recording.graph.out_avals[k] for k in _new_arrays(recording)]
    free = free_leaves(recording, donated)
    for k, leaf in enumerate(recording.inputs):
        if k not in taken and isinstance(leaf, int) and leaf in free:
            aval = recording.graph.in_avals[k]
            strides = program.by_name[program.inputs[k]].strides
            yield Unused(donated[leaf], aval, *_reason(aval, strides, outs))


def _reason(
    aval: ShapedArray, strides: tuple[int, ...], outs: Sequence[ShapedArray]
) -> tuple[str, str]:
    if not any((x.dtype, x.size) == (aval.dtype, aval.size) for x in outs):
        return (
            "DONATION_SIZE",
            "has the dtype and size of no result that is a new array",
        )
    if strides != dense_strides(aval.shape):
        return (
            "DONATION_STRIDES",
            f"is not C-contiguous, its strides are {list(strides)} elements",
        )
    return (
        "DONATION_READ",
        "is still read when each such result is written, or others took its place",
    )
