"""What machine the LLVM text is for: triple, features, vector width.

Everything that is known about x86 instruction sets stands in this file. Needs
LLVM for the host's triple, CPU name and features; establishes a `Target`,
the only thing the other modules of this package know about a machine.

The instruction-set families of x86-64 are

========== ============================ ======= ===
name       requires                     vectors FMA
========== ============================ ======= ===
avx512     AVX-512 F, BW, DQ, VL        64 B    yes
avx2       AVX2, FMA, F16C              32 B    yes
baseline   SSE2, that is any x86-64     16 B    no
========== ============================ ======= ===

Every other architecture is "generic": 16-byte vectors.
"""

from functools import cache

from ...errors import TracejitError
from ...records import dataclass
from .library import llvm_library

CACHE_LINE = 64  # bytes; what buffers and scratch are aligned to


def aligned(size: int, to: int = CACHE_LINE) -> int:
    """Return a size in bytes, rounded up to a multiple.

    Examples
    --------
    >>> aligned(65), aligned(65, 256)
    (128, 256)
    """
    return -(-size // to) * to


@dataclass(frozen=True)
class Target:
    """A machine to emit for.

    Parameters
    ----------
    name : str
        The instruction-set family: ``avx512``, ``avx2``, ``baseline`` or ``generic``.
    triple, datalayout : str
        As LLVM spells them.
    cpu, features : str
        For LLVM's target machine. The features decide; the CPU name only tunes, since
        a virtual machine may report a wrong one.
    vector_bytes : int
        Bytes in a vector register.
    has_fma : bool
        Whether a fused multiply-add is one instruction.
    has_pairs : bool
        Whether functions may ask for the feature ``avx512bf16``, whose products of
        pairs of bfloat16 numbers flush subnormals.
    has_scaling : bool
        Whether multiplying by a power of two (``vscalefps``) takes no longer where the
        result is subnormal. It takes 25 times as long on Intel's processors.
    has_single_reads : bool
        Whether it pays to fetch what is read once past the outer caches, some kilobytes
        ahead. On Zen 4 the processor's own reading ahead is faster.
    """

    name: str
    triple: str
    datalayout: str
    cpu: str
    features: str
    vector_bytes: int
    has_fma: bool
    has_pairs: bool = False
    has_scaling: bool = False
    has_single_reads: bool = False

    @property
    def has_rounding(self) -> bool:
        """Whether rounding to an integral value is one instruction (SSE4.1 and on)."""
        return self.name != "baseline"

    @property
    def vector_registers(self) -> int:
        """How many vector registers there are."""
        return 16 if self.name in ("avx2", "baseline") else 32

    @property
    def has_few_registers(self) -> bool:
        """Whether there are 16 vector registers and not 32."""
        return self.vector_registers == 16

    @property
    def has_tables(self) -> bool:
        """Whether a permutation looks up sixteen numbers in registers."""
        return self.name == "avx512"

    def lanes(self, dtype_bits: int) -> int:
        """Return how many values of ``dtype_bits`` bits fill one vector register.

        Examples
        --------
        >>> host_target("baseline").lanes(32)  # doctest: +SKIP
        4
        """
        return self.vector_bytes * 8 // max(dtype_bits, 8)


@dataclass(frozen=True)
class _Isa:
    """An instruction-set family of x86-64: its needs, LLVM's CPU, its vectors."""

    name: str
    requires: frozenset[str]
    cpu: str
    vector_bytes: int
    has_fma: bool


_AVX2 = frozenset({"avx2", "fma", "f16c"})
_AVX512 = _AVX2 | {"avx512f", "avx512bw", "avx512dq", "avx512vl"}
# Best first: "auto" takes the first that the host has.
_X86_ISAS = (
    _Isa("avx512", _AVX512, "x86-64-v4", 64, True),
    _Isa("avx2", _AVX2, "x86-64-v3", 32, True),
    _Isa("baseline", frozenset(), "x86-64", 16, False),
)
# Their conversions to bfloat16 and their bfloat16 arithmetic flush subnormals to zero,
# which the numeric contract forbids; LLVM would use them for any `fptrunc`. The
# functions of `gemm.pairs`, which know when nothing is subnormal, ask for the first.
_FLUSHING = ("avx512bf16", "avxneconvert", "avx10.2")
# CPUs, as LLVM calls them, whose AVX-512 handles subnormals as fast as other numbers.
_SCALING = "znver"
# Those that read memory in a row faster if it is prefetched for one use.
_SINGLE_READS = "znver5"
ISA_NAMES = (*(isa.name for isa in _X86_ISAS), "generic")
_GENERIC = _Isa("generic", frozenset(), "", 16, True)


@cache
def host_target(isa: str = "auto") -> Target:
    """Return the target of this machine, or of a lesser family that it can run.

    The best family of the host gets the host's CPU name and its features (without those
    that flush subnormals), a lesser one exactly the features of its x86-64 level (v3,
    v1), so that what is emitted for it does not depend on the machine.

    Parameters
    ----------
    isa : str
        ``auto``, ``avx512``, ``avx2`` or ``baseline``; ``generic`` off x86-64.

    Raises
    ------
    TracejitError
        If the host does not have the instruction set, or no such family exists.
    """
    llvm = llvm_library()
    llvm.initialize_native_target()
    triple = llvm.get_process_triple()
    features = llvm.get_host_cpu_features()
    enabled = frozenset(name for name, present in features.items() if present)
    families = _host_families(triple, enabled)
    best = families[0]
    chosen = best if isa == "auto" else _named_family(isa, families)
    if chosen is best:
        has_pairs = bool(features.get("avx512bf16")) and best.vector_bytes == 64
        features.update({name: False for name in _FLUSHING if name in features})
        cpu = llvm.get_host_cpu_name()
        has_scaling = best.vector_bytes == 64 and cpu.startswith(_SCALING)
        has_single_reads = best.vector_bytes == 64 and cpu.startswith(_SINGLE_READS)
        flags = has_pairs, has_scaling, has_single_reads
        return _target(chosen, triple, cpu, features.flatten(), *flags)
    return _target(chosen, triple, chosen.cpu, "")


def _host_families(triple: str, enabled: frozenset[str]) -> list[_Isa]:
    if not triple.startswith(("x86_64", "amd64")):
        return [_GENERIC]
    return [isa for isa in _X86_ISAS if isa.requires <= enabled]


def _named_family(name: str, families: list[_Isa]) -> _Isa:
    for family in families:
        if family.name == name:
            return family
    available = ", ".join(family.name for family in families)
    if name in ISA_NAMES:
        message = f"this machine cannot run the instruction set {name!r}"
    else:
        message = f"unknown instruction set {name!r}; expected one of {ISA_NAMES}"
    raise TracejitError(message, hint=f"choose 'auto' or one of: {available}")


def _target(
    isa: _Isa,
    triple: str,
    cpu: str,
    features: str,
    has_pairs: bool = False,
    has_scaling: bool = False,
    has_single_reads: bool = False,
) -> Target:
    llvm = llvm_library()
    machine = llvm.Target.from_triple(triple).create_target_machine(
        cpu=cpu, features=features
    )
    layout = str(machine.target_data)
    vectors = isa.vector_bytes, isa.has_fma
    flags = has_pairs, has_scaling, has_single_reads
    return Target(isa.name, triple, layout, cpu, features, *vectors, *flags)
