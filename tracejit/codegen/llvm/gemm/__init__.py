"""Matrix products of real numbers and wide integers: C[i, j] = Σ_k A[i, k] · B[k, j].

A micro-kernel (`micro`) keeps a tile of C in registers and runs along k; drivers
(`driver`) run it over strips of columns and panels of rows. A is read with any strides;
a row of B must be contiguous, or B is packed into strips first (`packing`), as it is,
with A, where the product is large. Every element is summed in blocks of `KC` values of
k, in order, by fused multiply-adds where the machine has them: the order depends on the
extent of k alone, so that the bits of an element depend neither on the other extents
nor on how a product is cut into ranges for threads or epilogues.

Blocking after Goto and van de Geijn, "Anatomy of high-performance matrix
multiplication", 2008.
"""

from .driver import Form, emit_gemm, emit_pack, is_packed, packed_bytes, scratch_bytes
from .problem import KC, Problem, Split, blocking_of, quantum

__all__ = [
    "KC",
    "Form",
    "Problem",
    "Split",
    "blocking_of",
    "emit_gemm",
    "emit_pack",
    "is_packed",
    "packed_bytes",
    "quantum",
    "scratch_bytes",
]
