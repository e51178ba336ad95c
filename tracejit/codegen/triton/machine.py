"""What the cost model knows of each architecture: rates and limits of a processor.

Sources: the data sheets of A100 (80 GB), H200, B200 and MI300X, dense rates, divided by
their processors; the compute capabilities table of the CUDA C++ Programming Guide for
shared memory. They rank choices; what is best is measured.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ...ir import dtypes as dt
from .code import Tuning


@dataclass(frozen=True)
class Machine:
    """One processor of a GPU, and its share of the memory.

    Parameters
    ----------
    processors : int
        Of a whole GPU.
    shared : int
        Bytes of shared memory that one program can have.
    half, tf32, single, double : float
        Operations per nanosecond of products of halves, of float32 rounded to tf32, of
        float32 and of float64. The first two run on matrix units.
    cache : float
        Bytes per nanosecond from the L2 cache.
    memory : float
        Bytes per nanosecond from memory, if all processors ask for some.
    has_descriptors : bool
        Whether it copies tiles that a tensor descriptor describes.
    """

    processors: int
    shared: int
    half: float
    tf32: float
    single: float
    double: float
    cache: float
    memory: float
    has_descriptors: bool = False

    def rate(self, dtype: np.dtype, tf32: bool) -> float:
        """Return the operations per nanosecond of products of a dtype."""
        if dtype in dt.HALVES:
            return self.half
        if dtype == dt.FLOAT64:
            return self.double
        return self.tf32 if tf32 else self.single


_AMPERE = Machine(108, 163 << 10, 2890.0, 1445.0, 180.0, 90.0, 45.0, 18.9)
_CONSUMER = Machine(80, 99 << 10, 1200.0, 600.0, 320.0, 5.0, 40.0, 8.0)
_HOPPER = Machine(132, 227 << 10, 7500.0, 3750.0, 507.0, 253.0, 76.0, 36.0, True)
_BLACKWELL = Machine(148, 227 << 10, 15200.0, 7600.0, 507.0, 250.0, 108.0, 54.0, True)
_CDNA = Machine(304, 64 << 10, 4300.0, 2150.0, 537.0, 268.0, 56.0, 17.4)
_MACHINES: Mapping[str, Machine] = {
    "sm_80": _AMPERE,
    "sm_90": _HOPPER,
    "sm_100": _BLACKWELL,
    "sm_103": _BLACKWELL,
    "gfx942": _CDNA,
}


def machine_of(arch: str) -> Machine:
    """Return what is known of an architecture; others are taken for small ones."""
    return _MACHINES.get(_plain(arch), _CONSUMER)


def _plain(arch: str) -> str:
    return arch.removesuffix("a") if arch.startswith("sm_") else arch


def tuning_for(arch: str, tf32: bool = False) -> Tuning:
    """Return what decides the form of kernels for a usual GPU of an architecture."""
    processors = machine_of(arch).processors
    return Tuning(arch=_plain(arch), processors=processors, tf32=tf32)
