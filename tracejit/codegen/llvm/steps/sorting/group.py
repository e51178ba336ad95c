"""Vectors in registers, sorted together: first what is in one lane, then lanes.

    columns   what has one lane in all of the vectors, by odd-even merges
    merged    columns by pairs, pairs of pairs and so on: the first of one with the last
              of the other, then lanes at half the distance, a quarter, ..., then
              vectors. Elements go down one column, and then the next
    rows      elements along vectors

A lane moves in ten of the sixty instructions for a vector of sixteen lanes out of
sixteen. Sorting each vector first would move them in twenty-six.

References
----------
K. E. Batcher, Sorting networks and their applications, AFIPS 1968.
"""

from collections.abc import Iterator, Sequence

from ...shuffles import woven
from ...text import Emitter, vec

_FLOATS = ("float", "double")


class Group:
    """Writes what sorts vectors, and what compares two.

    Equal elements may change places; no float may be what is no number.

    Parameters
    ----------
    em : Emitter
    element : str
        The type of what is sorted.
    lanes : int
        Of a vector.
    """

    def __init__(self, em: Emitter, element: str, lanes: int) -> None:
        self.em, self.element, self.lanes = em, element, lanes
        self.type = vec(element, lanes)

    def sorted(self, vectors: Sequence[str]) -> list[str]:
        """Return vectors, a power of two, as a run along them."""
        vectors, together = [*vectors], 1
        for first, second in _comparisons(len(vectors)):
            pair = self._ordered(vectors[first], vectors[second])
            vectors[first], vectors[second] = pair
        while together < self.lanes:
            vectors = self._merged_columns(vectors, together)
            together *= 2
        return woven(self.em, self.element, vectors, self.lanes)

    def merged(self, vectors: Sequence[str]) -> list[str]:
        """Return vectors that rise and then fall, or that fall and rise, as a run."""
        vectors = self._settled(vectors)
        distance = self.lanes // 2
        while distance:
            vectors = [self._exchanged(v, distance) for v in vectors]
            distance //= 2
        return vectors

    def pair(self, a: str, b: str, is_turned: bool) -> tuple[str, str]:
        """Return the lesser and the greater lanes of two vectors.

        Each lane is compared with that of its number, or if `is_turned`, with that of
        the same number from the last one on.
        """
        if not is_turned:
            return self._ordered(a, b)
        less, more = self._ordered(a, self._moved(b, self.lanes - 1))
        return less, self._moved(more, self.lanes - 1)

    def middle(self, vectors: Sequence[str]) -> str:
        """Return the middle of five vectors, lane by lane."""
        a, b, c, d, e = vectors
        (a, b), (c, d) = self._ordered(a, b), self._ordered(c, d)
        below, above = self._ordered(a, c)[1], self._ordered(b, d)[0]
        less, more = self._ordered(below, above)
        return self._ordered(less, self._ordered(e, more)[0])[1]

    def middle_lane(self, vector: str) -> str:
        """Return an element in the midst of a vector's, of fours and fours of these."""
        lanes, keeps = self.lanes, (0, 1)
        while lanes >= 4:
            for k in keeps:
                lanes //= 2
                moved = self._moved(vector, lanes)
                vector = self._ordered(vector, moved)[k]
            keeps = keeps[::-1]
        return self.em.op(f"extractelement {self.type} {vector}, i64 0")

    # Columns

    def _merged_columns(self, vectors: list[str], together: int) -> list[str]:
        """Return runs of twice as many columns as go `together`."""
        other = 2 * together - 1
        if len(vectors) == 1:
            vectors = [self._exchanged(vectors[0], other)]
        else:
            half = len(vectors) // 2
            ends = zip(vectors[:half], vectors[: -half - 1 : -1], strict=True)
            pairs = [self._ends_ordered(*pair, together) for pair in ends]
            vectors = [a for a, _ in pairs] + [b for _, b in pairs[::-1]]
        distance = together // 2
        while distance:
            vectors = [self._exchanged(v, distance) for v in vectors]
            distance //= 2
        return self._settled(vectors)

    def _ends_ordered(self, a: str, b: str, together: int) -> tuple[str, str]:
        """Order a vector near the start of each column and one as near to its end.

        Each lane is compared with one of the other half of the columns that become one
        run: the first half keeps what is less.
        """
        other = 2 * together - 1
        less, more = self._ordered(a, self._moved(b, other))
        lanes = range(self.lanes)
        near = [k + self.lanes * bool(k & together) for k in lanes]
        far = [(k ^ other) + self.lanes * (not (k ^ other) & together) for k in lanes]
        return self._shuffled(less, more, near), self._shuffled(less, more, far)

    def _settled(self, vectors: Sequence[str]) -> list[str]:
        """Order vectors at half of all distances, a quarter, ..., one."""
        vectors, distance = [*vectors], len(vectors) // 2
        while distance:
            for k in (k for k in range(len(vectors)) if not k & distance):
                pair = self._ordered(vectors[k], vectors[k + distance])
                vectors[k], vectors[k + distance] = pair
            distance //= 2
        return vectors

    # Lanes

    def _exchanged(self, value: str, other: int) -> str:
        """Put into order each lane and that whose number differs in some bits."""
        less, more = self._ordered(value, self._moved(value, other))
        lanes = range(self.lanes)
        chosen = [k if k < k ^ other else self.lanes + k for k in lanes]
        return self._shuffled(less, more, chosen)

    def _moved(self, value: str, other: int) -> str:
        """Return each lane where that is whose number differs in some bits."""
        return self._shuffled(value, value, [k ^ other for k in range(self.lanes)])

    def _shuffled(self, a: str, b: str, order: Sequence[int]) -> str:
        return self.em.shuffle(self.type, a, b, order)

    def _ordered(self, a: str, b: str) -> tuple[str, str]:
        em, type_ = self.em, self.type
        if self.element not in _FLOATS:
            less = em.intrinsic("llvm.smin", type_, a, b)
            return less, em.intrinsic("llvm.smax", type_, a, b)
        mask = vec("i1", self.lanes)
        below, above = (em.op(f"fcmp {c} {type_} {a}, {b}") for c in ("olt", "ogt"))
        return (
            em.op(f"select {mask} {below}, {type_} {a}, {type_} {b}"),
            em.op(f"select {mask} {above}, {type_} {a}, {type_} {b}"),
        )


def _comparisons(count: int) -> Iterator[tuple[int, int]]:
    """Yield what odd-even merges compare, in turn, of a power of two elements.

    Examples
    --------
    >>> [*_comparisons(4)]
    [(0, 1), (2, 3), (0, 2), (1, 3), (1, 2)]
    """
    run = 1
    while run < count:
        distance = run
        while distance:
            for start in range(distance % run, count - distance, 2 * distance):
                for k in range(start, start + distance):
                    if k // (2 * run) == (k + distance) // (2 * run):
                        yield k, k + distance
            distance //= 2
        run *= 2
