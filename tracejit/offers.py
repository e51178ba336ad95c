"""What arguments offer results: their memory, if calls give it away or write to it.

Needs the recording of a function, and which argument leaves are donated. Establishes
the offers that `program.donate` takes up where it can; `unused` says which it did not.
"""

from collections.abc import Mapping

from .program.donate import Offer
from .tracing.record import Recording
from .unused import free_leaves, new_arrays


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
    results = new_arrays(recording)
    wanted = [
        i for i in donated if i in places and i in free_leaves(recording, donated)
    ]
    return (*offers, *(Offer(places[i], results, True) for i in wanted))
