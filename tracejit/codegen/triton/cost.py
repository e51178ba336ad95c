"""An estimate of the time of a product, by which choices are ranked.

Each processor computes its share of the blocks. A step along k takes the longest of the
arithmetic, the way of the operands from the L2 cache, and the part of memory's latency
that the stages of the pipeline do not hide. All together takes no less than memory
needs for operands and results. Each kernel costs its launch, and the parts of a sum
their way through memory. The constants are round numbers of the right size: what
matters is which choice comes first.
"""

from functools import cached_property

import numpy as np

from ...ir import dtypes as dt
from .choice import DESCRIPTOR, VECTOR, Choice
from .code import Tuning
from .machine import Machine, machine_of
from .products import Shape

_LAUNCH = 2500.0  # nanoseconds of one more kernel
_LATENCY = 650.0  # nanoseconds until memory answers
_BLOCK = 1200.0  # nanoseconds before and after the loop of a block
_REGISTERS, _WARPS = 65536, 64  # of a processor
_OWN_REGISTERS = 48  # of a thread, beside the numbers it sums
# Numbers that a thread sums at most, on matrix units and without.
_MOST_SUMS = {True: 128, False: 64}
_PULL = 2.0  # a processor alone gets more than its share of the memory's rate
# Share of the peak rate, by the smaller side of a block.
_MATRIX_SHARE = {16: 0.2, 32: 0.4, 64: 0.65, 128: 0.8}
_PLAIN_SHARE = {16: 0.25, 32: 0.4, 64: 0.55, 128: 0.55}
_VECTOR_SHARE = 0.5


class Cost:
    """Estimates for one product.

    Parameters
    ----------
    shape : Shape
    dtype : numpy.dtype
        Of the operands.
    tuning : Tuning
        Its architecture and number of processors.
    """

    def __init__(self, shape: Shape, dtype: np.dtype, tuning: Tuning) -> None:
        self.shape, self.dtype, self.tuning = shape, dtype, tuning
        self.machine: Machine = machine_of(tuning.arch)

    @cached_property
    def on_matrix_units(self) -> bool:
        """Whether tl.dot becomes instructions of matrix units."""
        single = self.dtype == dt.FLOAT32 and self.tuning.tf32
        return self.dtype in dt.HALVES or single

    def shared(self, choice: Choice) -> int:
        """Return bytes of shared memory, as if every stage had buffers."""
        if choice.form == VECTOR:
            return 0
        m, n, k = _sizes(choice)
        # What a program stores waits there while it goes on with the next block.
        stored = m * n if choice.form == DESCRIPTOR and choice.programs else 0
        return (choice.num_stages * (m + n) * k + stored) * self.shape.itemsize

    def sums(self, choice: Choice) -> int:
        """Return how many numbers each thread holds while it sums, or after."""
        m, n, k = _sizes(choice)
        held = m * n * k if choice.form == VECTOR else m * n * self.shape.tiles
        wide = 2 if self.dtype == dt.FLOAT64 else 1
        rows = 2 if self.shape.holds_rows else 1
        return wide * rows * held // (32 * choice.num_warps)

    def fits(self, choice: Choice) -> bool:
        """Tell whether registers and shared memory are enough for a choice."""
        most = _MOST_SUMS[self.on_matrix_units and choice.form != VECTOR]
        return self.sums(choice) <= most and self.shared(choice) <= self.machine.shared

    def time(self, choice: Choice) -> float:
        """Return the estimate in nanoseconds."""
        blocks = blocks_of(self.shape, choice) * max(choice.parts, 1)
        share = -(-blocks // self.tuning.processors)
        together = min(self.at_a_time(choice), share)
        steps = -(-self.shape.k // (_sizes(choice)[2] * max(choice.parts, 1)))
        work = share * steps * self._step(choice, together)
        work += _LATENCY + _BLOCK * -(-share // together)
        return max(work, self._memory(blocks)) + self._around(choice)

    def _step(self, choice: Choice, together: int) -> float:
        """Return the time of one step along k, if the processor has some at a time."""
        m, n, k = _sizes(choice)
        arithmetic = 2.0 * m * n * k / self._rate(choice)
        cache = (m + n) * k * self.shape.itemsize / self.machine.cache
        latency = _LATENCY / max(choice.num_stages - 1, 1) / together
        return max(arithmetic, cache, latency)

    def _rate(self, choice: Choice) -> float:
        m, n, _ = _sizes(choice)
        if choice.form == VECTOR:
            plain = dt.FLOAT64 if self.dtype == dt.FLOAT64 else dt.FLOAT32
            return self.machine.rate(plain, tf32=False) * _VECTOR_SHARE
        side = max(s for s in _MATRIX_SHARE if s <= max(min(m, n), 16))
        shares = _MATRIX_SHARE if self.on_matrix_units else _PLAIN_SHARE
        return self.machine.rate(self.dtype, self.tuning.tf32) * shares[side]

    def at_a_time(self, choice: Choice) -> int:
        """Return how many programs a processor runs at a time."""
        threads = 32 * choice.num_warps
        registers = min(self.sums(choice) + _OWN_REGISTERS, 255)
        room = self.machine.shared // max(self.shared(choice), 1)
        by_registers = _REGISTERS // (threads * registers)
        return max(min(room, by_registers, _WARPS // choice.num_warps), 1)

    def _memory(self, blocks: int) -> float:
        """Return the time that memory needs for operands and results."""
        s = self.shape
        elements = s.batch * (s.m * s.k + s.k * s.n + s.m * s.n * s.tiles)
        busy = min(_PULL * blocks, self.tuning.processors)
        return elements * s.itemsize / (self.machine.memory * busy)

    def _around(self, choice: Choice) -> float:
        """Return the time of launches, and of the parts of a sum."""
        if choice.parts < 2:
            return _LAUNCH
        s = self.shape
        stored = choice.parts * s.batch * s.m * s.n * max(s.itemsize, 4)
        rate = self.machine.memory * self.tuning.processors
        return 2 * _LAUNCH + 2 * stored / rate


def _sizes(choice: Choice) -> tuple[int, int, int]:
    m, n, k = (choice.blocks[f"BLOCK_{x}"] for x in "MNK")
    return m, n, k


def blocks_of(shape: Shape, choice: Choice) -> int:
    """Return how many blocks the result of a product has."""
    m, n, _ = _sizes(choice)
    return -(-shape.m // m) * -(-shape.n // n) * shape.batch
