"""Elements of several vectors in another order: squares turned, vectors woven."""

from collections.abc import Sequence

from .text import Emitter, vec


def transposed(em: Emitter, cell: str, rows: Sequence[str]) -> list[str]:
    """Return the columns of a square of as many rows as these have elements.

    Blocks off the diagonal are exchanged, of half the side, of a quarter, and so on.
    """
    side = len(rows)
    type_, now = vec(cell, side), list(rows)
    half = side // 2
    while half:
        kept = [k if not k & half else side + k - half for k in range(side)]
        crossed = [k + half if not k & half else side + k for k in range(side)]
        for k in (k for k in range(side) if not k & half):
            pair = now[k], now[k + half]
            now[k], now[k + half] = (
                em.shuffle(type_, *pair, order) for order in (kept, crossed)
            )
        half //= 2
    return now


def woven(em: Emitter, cell: str, values: Sequence[str], lanes: int) -> list[str]:
    """Return vectors with one element of each of some, then the next of each, ..."""
    count, type_ = len(values), vec(cell, lanes)
    out = []
    for start in range(0, count * lanes, lanes):
        made = em.shuffle(
            type_,
            values[0],
            "poison",
            [
                n // count if n % count == 0 else None
                for n in range(start, start + lanes)
            ],
        )
        for v, value in enumerate(values[1:], 1):
            picks = [
                lanes + n // count if n % count == v else k
                for k, n in enumerate(range(start, start + lanes))
            ]
            made = em.shuffle(type_, made, value, picks)
        out.append(made)
    return out
