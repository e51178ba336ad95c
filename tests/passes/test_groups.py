"""Which fusion groups come before which: the same as by walking the edges."""

import random

import pytest

from tracejit.passes.groups import Dependencies


class Edges:
    """The same by walks over a set of edges (late, early)."""

    def __init__(self):
        self.edges = set()

    def before(self, n):
        found, waiting = set(), [n]
        while waiting:
            late = waiting.pop()
            for a, b in self.edges:
                if a == late and b not in found:
                    found.add(b)
                    waiting.append(b)
        return found

    def can_merge(self, a, b):
        ways = ((a, b), (b, a))
        return not any(
            n not in (late, early) and early in self.before(n)
            for late, early in ways
            for n in self.before(late)
        )

    def merge(self, a, b):
        joined = {(a if x == b else x, a if y == b else y) for x, y in self.edges}
        self.edges = {(x, y) for x, y in joined if x != y}


@pytest.mark.parametrize("seed", range(40))
def test_random_groups(seed):
    r = random.Random(seed)
    found, expected, live = Dependencies(), Edges(), []
    for _ in range(r.randrange(5, 30)):
        choice = r.random()
        if choice < 0.4 or len(live) < 3:
            live.append(found.new())
            continue
        a, b = r.sample(live, 2)
        if choice < 0.8:
            if not found.depends(b, a):
                found.add(a, b)
                expected.edges.add((a, b))
        elif expected.can_merge(a, b):
            found.merge(a, b)
            expected.merge(a, b)
            live.remove(b)
        for a in live:
            for b in live:
                if a != b:
                    assert found.depends(a, b) == (b in expected.before(a))
                    assert found.can_merge(a, b) == expected.can_merge(a, b)
