"""What the emitter hands on: source text, and all that is needed to build and launch.

A kernel of the IR becomes one or more Triton kernels that run in order, with scratch
buffers between them (`TritonKernel`). Everything is plain data; Triton is not imported.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from ...kernels.kernel import Buffer
from .values import signature_type

ERROR_NAME = "err"


@dataclass(frozen=True)
class TritonCode:
    """One Triton kernel.

    Parameters
    ----------
    name : str
        Of the function in `source`.
    source : str
        A Python module: imports, helper functions, the kernel.
    buffers : tuple of Buffer
        What its pointers point to, in order: inputs, then outputs.
    can_fail : bool
        Whether a last pointer ``err_ptr`` follows, to two int64 that are zero before:
        a code, and the index that was out of range.
    constexprs : mapping of str to int
        Its compile-time sizes.
    grid : int
        How many programs run. Zero: nothing is launched.
    num_warps, num_stages : int
    form : str
        ``pointwise``, ``persistent``, ``looped``, ``matmul``, ``stream`` or ``parts``.
    numbers : frozenset of str
        Names of buffers whose addresses it takes as integers, and does not follow.
    """

    name: str
    source: str
    buffers: tuple[Buffer, ...]
    can_fail: bool
    constexprs: Mapping[str, int]
    grid: int
    num_warps: int
    num_stages: int
    form: str
    numbers: frozenset[str] = frozenset()

    @property
    def pointers(self) -> dict[str, str]:
        """The pointer arguments and their types in a compile signature."""
        out = {
            f"{b.name}_ptr": "i64"
            if b.name in self.numbers
            else signature_type(b.dtype)
            for b in self.buffers
        }
        return {**out, f"{ERROR_NAME}_ptr": "*i64"} if self.can_fail else out

    @property
    def sizes(self) -> tuple[tuple[str, int], ...]:
        """What is compiled in beside the text: constexprs, warps, stages."""
        launch = {"num_warps": self.num_warps, "num_stages": self.num_stages}
        return tuple(sorted({**self.constexprs, **launch}.items()))

    @property
    def signature(self) -> dict[str, str]:
        """The compile signature: every argument in order, and its type."""
        return {**self.pointers, **dict.fromkeys(self.constexprs, "constexpr")}


@dataclass(frozen=True)
class TritonKernel:
    """The Triton kernels that one kernel of the IR becomes.

    Parameters
    ----------
    name : str
    codes : tuple of TritonCode
        In the order they run.
    workspace : tuple of Buffer
        Memory between them, which the caller provides.
    """

    name: str
    codes: tuple[TritonCode, ...]
    workspace: tuple[Buffer, ...] = ()

    @property
    def can_fail(self) -> bool:
        """Whether one of them may write the error word."""
        return any(code.can_fail for code in self.codes)


@dataclass(frozen=True)
class Tuning:
    """The sizes that decide the form of a kernel.

    Parameters
    ----------
    tile : int
        Elements that one program holds of each value.
    persistent : int
        Longest row that is held whole; longer ones are looped over.
    loop : int
        Elements of a row for each step of a loop.
    processors : int
        Programs that keep the device busy; reductions with fewer are split.
    split : int
        Fewest elements that one part of a split reduction has.
    product_part : int
        Fewest elements that one part of a split product sums.
    arch : str
        The architecture whose limits and rates count: ``sm_90``, ...
    tf32 : bool
        Whether products of float32 numbers may round them to 11 bits, for speed.
    blocks : mapping of str to int
        Block sizes by name (XBLOCK, RBLOCK, BLOCK_M, ...) that override the choice.
    """

    tile: int = 2048
    persistent: int = 4096
    loop: int = 2048
    processors: int = 132
    split: int = 4096
    product_part: int = 512
    arch: str = "sm_90"
    tf32: bool = False
    blocks: Mapping[str, int] = field(default_factory=dict)

    @property
    def facts(self) -> str:
        """What changes the meaning of a kernel's text, in words."""
        return "tf32" if self.tf32 else "exact"


def power_of_two(n: int) -> int:
    """Return the least power of two that is not below `n`."""
    return 1 << max(n - 1, 0).bit_length()


def warps_for(elements: int) -> int:
    """Return the warps of a program whose values have so many elements."""
    return min(max(power_of_two(elements) // 256, 1), 16)
