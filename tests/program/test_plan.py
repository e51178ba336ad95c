"""The memory plan: first fit, found without asking every pair of buffers."""

import random

import numpy as np
import pytest

from tracejit.program import plan
from tracejit.program.plan import plan_memory
from tracejit.program.program import Copy, Program, ProgramBuffer, Storage

BYTE = np.dtype(np.uint8)


def buffer(number, units):
    return ProgramBuffer(f"t{number}", BYTE, (64 * units,), (1,), Storage.ARENA)


def program_of(sizes, pairs):
    buffers = tuple(buffer(i, n) for i, n in enumerate(sizes))
    steps = tuple(Copy(f"t{a}", f"t{b}") for a, b in pairs)
    return Program("p", buffers, (), (), steps)


def first_fit(sizes, pairs):
    """Place each buffer, the largest first, beside all that live when it does."""
    lives = {}
    for i, pair in enumerate(pairs):
        for k in pair:
            lives[k] = lives.get(k, (i, i))[0], i
    placed = []
    for k in sorted(lives, key=lambda k: (-sizes[k], lives[k][0])):
        first, last = lives[k]
        at, size = 0, 64 * sizes[k]
        others = ((a, z) for _, a, z, f, n in placed if f <= last and first <= n)
        for a, z in sorted(others):
            if at + size <= a:
                break
            at = max(at, z)
        placed.append((k, at, at + size, first, last))
    return {k: at for k, at, *_ in placed}


@pytest.mark.parametrize("seed", range(60))
def test_offsets_are_those_of_first_fit(seed):
    r = random.Random(seed)
    count = r.randrange(2, 60)
    sizes = [r.randrange(1, r.choice([1, 3, 30]) + 1) for _ in range(count)]
    pairs = [
        (r.randrange(count), r.randrange(count)) for _ in range(r.randrange(1, 90))
    ]
    planned = plan_memory(program_of(sizes, pairs))
    expected = first_fit(sizes, pairs)
    found = {k: planned.buffer(f"t{k}").offset for k in expected}
    assert found == expected
    assert planned.arena_bytes == max(at + 64 * sizes[k] for k, at in expected.items())


def test_work_grows_little_faster_than_the_program(monkeypatch):
    """Values that live from a forward to a backward pass overlap in pairs."""
    count = 0
    add = plan._Ranges.add

    def counted(self, start, stop):
        nonlocal count
        count += 1 + len(self.starts)
        add(self, start, stop)

    monkeypatch.setattr(plan._Ranges, "add", counted)
    work = []
    for n in (100, 800):
        there = [(i, i + 1) for i in range(n)]
        count = 0
        plan_memory(program_of([1] * (n + 1), [*there, *there[::-1]]))
        work.append(count)
    assert work[1] < 16 * work[0]  # 64 times as many pairs
