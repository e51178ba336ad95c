"""Choices: the sizes of one Triton kernel that a tuner may choose, as plain data.

A *site* is a place where something is chosen: a kernel after what one Triton kernel
cannot be was cut off, and before a sum is split. It has a key that depends on what is
computed and on the machine alone, not on names. A `Choice` says how a site is written.
`ranking` has the choices for a site, best first; the first is taken where nothing else
is known, so that code is deterministic without measurements.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property

from ...errors import TracejitError
from ...kernels.kernel import Buffer, Contract
from ...kernels.pieces import Piece, buffers_of
from ...kernels.printer import format_anonymous
from .code import TritonCode, Tuning

POINTER, DESCRIPTOR, VECTOR, LIBRARY = "pointer", "descriptor", "vector", "library"
FORMS = (POINTER, DESCRIPTOR, VECTOR, LIBRARY)


@dataclass(frozen=True)
class Choice:
    """How a site is written.

    Parameters
    ----------
    blocks : mapping of str to int
        Sizes by name: XBLOCK, RBLOCK, BLOCK_M, ...
    num_warps, num_stages : int
    form : str
        How a product reads its operands and multiplies: ``pointer`` loads, tensor
        ``descriptor`` loads, sums of products instead of ``tl.dot`` (``vector``), or a
        call of cuBLASLt (``library``). Other kernels are all ``pointer``.
    parts : int
        Into how many parts a sum is split, each of which a program of its own adds; 0
        leaves that to the heuristic.
    group : int
        Blocks of rows of a product that programs run through before the next columns.
    programs : int
        How many programs run through all blocks of a product; 0: one for each block.
    algorithm : int
        Of the library: its place in the order of the library's own heuristic.

    Examples
    --------
    >>> choice = Choice({"XBLOCK": 512}, num_warps=4, num_stages=1)
    >>> choice_from(choice.as_data()) == choice
    True
    """

    blocks: Mapping[str, int] = field(default_factory=dict)
    num_warps: int = 4
    num_stages: int = 1
    form: str = POINTER
    parts: int = 0
    group: int = 0
    programs: int = 0
    algorithm: int = 0

    def as_data(self) -> dict[str, object]:
        """Return what differs from the defaults, for a file; the blocks by name."""
        plain = {f.name: f.default for f in fields(self)}
        data = asdict(self) | {"blocks": dict(sorted(self.blocks.items()))}
        always = {"blocks", "num_warps", "num_stages"}
        return {k: v for k, v in data.items() if k in always or v != plain[k]}

    def __hash__(self) -> int:
        return hash(str(self))

    def __str__(self) -> str:
        sizes = " ".join(f"{k}={v}" for k, v in sorted(self.blocks.items()))
        more = {k: v for k, v in self.as_data().items() if k != "blocks"}
        rest = " ".join(f"{k}={v}" for k, v in more.items())
        return f"{sizes} {rest}".strip()


def choice_from(data: object) -> Choice:
    """Return a choice from what `Choice.as_data` gave, read from a file.

    Raises
    ------
    TracejitError
        Unless it is one: the message says what is wrong.
    """
    if not isinstance(data, dict):
        raise TracejitError("a choice is an object with blocks, num_warps, num_stages")
    types = {f.name: f.type for f in fields(Choice)}
    for name, value in data.items():
        _check(name, value, types)
    return Choice(**data)


def _check(name: object, value: object, types: Mapping[str, object]) -> None:
    if name not in types:
        raise TracejitError(f"there is no {name!r} in a choice")
    if name == "form":
        right = value in FORMS
    elif name == "blocks":
        right = isinstance(value, dict) and all(map(_is_block, value.values()))
    else:
        right = type(value) is int and value >= 0
    if not right:
        raise TracejitError(f"{name} of a choice cannot be {value!r}")


def _is_block(value: object) -> bool:
    return isinstance(value, int) and value > 0 and value & (value - 1) == 0


@dataclass(frozen=True, eq=False)
class Site:
    """What is written according to one choice.

    Parameters
    ----------
    name : str
        Of the kernel that it is (a part of), for reports.
    piece : Piece
        With joined axes, before a sum is split.
    tuning : Tuning
    odd : frozenset of str
        Buffers whose addresses may not be multiples of 16 bytes.
    """

    name: str
    piece: Piece
    tuning: Tuning
    odd: frozenset[str] = frozenset()

    @property
    def product(self) -> Contract | None:
        """The contraction, if there is one."""
        body = self.piece.kernel.body
        return next((op for op in body if isinstance(op, Contract)), None)

    @cached_property
    def key(self) -> str:
        """What names the site in a lock file: 16 hexadecimal digits."""
        return hashlib.sha256(self.text.encode()).hexdigest()[:16]

    @cached_property
    def text(self) -> str:
        """What the key is the hash of: the kernel with names by first appearance."""
        text, names = format_anonymous(self.piece.kernel)
        odd = sorted(names[f"%{b.name}"] for b in self.odd_buffers)
        return f"{text}\n{self.piece.loops} {odd} {self.tuning.facts}"

    @property
    def odd_buffers(self) -> list[Buffer]:
        """Its buffers whose addresses may not be multiples of 16 bytes."""
        return [b for b in buffers_of(self.piece.kernel) if b.name in self.odd]

    @property
    def target(self) -> str:
        """What a measurement is good for, beside the key."""
        return f"{self.tuning.arch}, {self.tuning.processors} processors"


def sizes_in(code: TritonCode) -> dict[str, int]:
    """Return the block sizes of a Triton kernel by name."""
    return {k: v for k, v in code.constexprs.items() if "BLOCK" in k}
