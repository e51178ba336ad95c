"""Elements of several vectors in another order: squares turned, vectors woven."""

from collections.abc import Sequence

from .text import Emitter, shape_of, suffix, vec


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


def joined(em: Emitter, cell: str, vectors: Sequence[str], lanes: int) -> str:
    """Return one vector of a power of two of vectors of `lanes` lanes."""
    parts = list(vectors)
    while len(parts) > 1:
        type_, picks = vec(cell, lanes), range(2 * lanes)
        pairs = zip(parts[::2], parts[1::2], strict=True)
        parts = [em.shuffle(type_, a, b, picks) for a, b in pairs]
        lanes *= 2
    return parts[0]


def compressed(em: Emitter, type_: str, values: str, mask: str) -> str:
    """Return a vector whose first lanes are those that a mask has, in their order."""
    _, lanes = shape_of(type_)
    name = f"llvm.experimental.vector.compress.{suffix(type_)}"
    arguments = [(type_, values), (vec("i1", lanes), mask), (type_, "poison")]
    return em.extern(type_, name, arguments)


def woven(em: Emitter, cell: str, values: Sequence[str], lanes: int) -> list[str]:
    """Return vectors with one element of each of some, then the next of each, ...

    Of an odd number each is permuted once, so that every element is in the lane that it
    goes to, and vectors are blended; pairs are woven, and what that gives again.
    """
    count, type_ = len(values), vec(cell, lanes)
    if count == 1:
        return [*values]
    if count % 2 == 0:
        halves = [woven(em, cell, values[k::2], lanes) for k in (0, 1)]
        low = [n // 2 + n % 2 * lanes for n in range(lanes)]
        orders = low, [n + lanes // 2 for n in low]
        pairs = zip(*halves, strict=True)
        return [em.shuffle(type_, a, b, order) for a, b in pairs for order in orders]
    inverse = pow(count, -1, lanes)
    placed = []
    for k, value in enumerate(values):
        order = [(lane - k) * inverse % lanes for lane in range(lanes)]
        placed.append(em.shuffle(type_, value, "poison", order))
    return [
        _blended(em, type_, placed, [(first + n) % count for n in range(lanes)])
        for first in range(0, count * lanes, lanes)
    ]


def unwoven(em: Emitter, cell: str, vectors: Sequence[str], lanes: int) -> list[str]:
    """Return what was woven into vectors: as many values as there are vectors."""
    count, type_ = len(vectors), vec(cell, lanes)
    if count == 1:
        return [*vectors]
    if count % 2 == 0:
        pairs = [*zip(vectors[::2], vectors[1::2], strict=True)]
        halves = (
            [em.shuffle(type_, a, b, range(k, 2 * lanes, 2)) for a, b in pairs]
            for k in (0, 1)
        )
        both = [unwoven(em, cell, half, lanes) for half in halves]
        return [value for pair in zip(*both, strict=True) for value in pair]
    out = []
    for k in range(count):
        places = [n * count + k for n in range(lanes)]
        source = {place % lanes: place // lanes for place in places}
        blended = _blended(em, type_, vectors, [source[n] for n in range(lanes)])
        order = [place % lanes for place in places]
        out.append(em.shuffle(type_, blended, "poison", order))
    return out


def _blended(
    em: Emitter, type_: str, vectors: Sequence[str], sources: Sequence[int]
) -> str:
    """Return a vector that takes each lane of one of some, from the same lane."""
    lanes, made = len(sources), vectors[0]
    for number, vector in enumerate(vectors[1:], 1):
        picks = [n + lanes * (source == number) for n, source in enumerate(sources)]
        made = em.shuffle(type_, made, vector, picks)
    return made
