"""What a call must be like to run one specialisation, and how it feeds it: as data.

Made after a call that found or made its specialisation the long way: signature, key,
trie of questions. Both ways to recognise a call like it read the same description: the
portable `guard.Guard`, and the native entry's steps (`native_call`).
"""

from collections.abc import Sequence
from enum import Enum
from typing import Any

import numpy as np

from .compiled import Compiled, is_passed_as_is
from .config import Config, current
from .records import dataclass
from .runtime.overlap import byte_range
from .tracing.capture import CapturedArray
from .tracing.constants import CapturedConstant
from .tracing.signature import ARRAY, INT, STATIC, Call, Form, Identity, LeafKey
from .tracing.tree import TreeSpec


class Compared(Enum):
    """How the value of a leaf is compared, if it matters."""

    NOT = "not"
    EQUAL = "equal"
    SAME = "same object"
    ALIKE = "written alike"


@dataclass(frozen=True)
class Layout:
    """What is known of an array at compile time.

    Parameters
    ----------
    dtype : numpy.dtype
    shape, strides : tuple of int
        Strides in bytes.
    is_contiguous : bool
        C-contiguous, by NumPy's flag.
    span : tuple of int
        First byte and end, from its first element.
    """

    dtype: np.dtype
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    is_contiguous: bool
    span: tuple[int, int]

    @staticmethod
    def of(array: np.ndarray) -> "Layout":
        """Return the layout of an array."""
        return Layout(
            array.dtype,
            array.shape,
            array.strides,
            array.flags.c_contiguous,
            byte_range(array),
        )


@dataclass(frozen=True, eq=False)
class Leaf:
    """What one argument leaf must be like.

    Parameters
    ----------
    kind : type
        Its exact type.
    layout : Layout, optional
        Of an array.
    is_written : bool
        Whether the call may write to the array: it shares memory with no other.
    compared : Compared
    value : object
        What it is compared with.
    """

    kind: type
    layout: Layout | None = None
    is_written: bool = False
    compared: Compared = Compared.NOT
    value: Any = None


@dataclass(frozen=True)
class Feed:
    """Where an input of the machine code is found.

    Parameters
    ----------
    leaf : int
        Argument leaf, or -1.
    capture : int
        Number of the captured array, or -1.
    dtype : numpy.dtype
        What a leaf that is no array is passed as.
    """

    leaf: int
    capture: int
    dtype: np.dtype


@dataclass(frozen=True, eq=False)
class CallPlan:
    """What a call must be like to run one specialisation, and how it feeds it.

    Parameters
    ----------
    form : Form
        How the call's arguments are bound.
    args, kwargs : TreeSpec
        Containers of the bound arguments.
    leaves : tuple of Leaf
    aliases : tuple of int
        Index of the first leaf that is the same array, per leaf; () if all differ.
    captures : tuple of CapturedArray
        Arrays that must still be where they were found.
    constants : tuple of CapturedConstant
        Numbers and functions that must be, too.
    captured : tuple of Layout
        What they are like.
    feeds : tuple of Feed
    config : Config
        The switches compiled for.
    """

    form: Form
    args: TreeSpec
    kwargs: TreeSpec
    leaves: tuple[Leaf, ...]
    aliases: tuple[int, ...]
    captures: tuple[CapturedArray, ...]
    constants: tuple[CapturedConstant, ...]
    captured: tuple[Layout, ...]
    feeds: tuple[Feed, ...]
    config: Config

    @property
    def arrays(self) -> tuple[int, ...]:
        """The leaves that are arrays."""
        return tuple(i for i, x in enumerate(self.leaves) if x.layout is not None)

    @property
    def written(self) -> tuple[int, ...]:
        """The leaves that may be written."""
        return tuple(i for i, x in enumerate(self.leaves) if x.is_written)

    @property
    def first_of_each(self) -> tuple[int, ...]:
        """The leaves without those that are the same array as an earlier one."""
        return tuple(dict.fromkeys(self.aliases or range(len(self.leaves))))


def plan_for(
    form: Form, call: Call, compiled: Compiled, dynamic: frozenset[int]
) -> CallPlan | None:
    """Describe calls like `call`.

    None when its arrays must be copied, or containers of its arguments change.

    Parameters
    ----------
    form : Form
    call : Call
        A call that `compiled` is right for.
    compiled : Compiled
    dynamic : frozenset of int
        Int leaves that are run-time values.
    """
    if compiled.recording.changes:
        return None
    captures = compiled.recording.captures
    arrays = [x for x in call.leaves if isinstance(x, np.ndarray)]
    if not all(is_passed_as_is(x) for x in (*arrays, *(c.array for c in captures))):
        return None
    args, kwargs = call.spec.children
    return CallPlan(
        form,
        args,
        kwargs,
        tuple(_leaves(call, compiled, dynamic)),
        call.aliases,
        captures,
        compiled.recording.constants,
        tuple(Layout.of(c.array) for c in captures),
        _feeds(compiled),
        current(),
    )


def _leaves(call: Call, compiled: Compiled, dynamic: frozenset[int]) -> Sequence[Leaf]:
    changed = {*dict(compiled.recording.writes), *call.donated}
    pinned = compiled.recording.pinned
    leaves = []
    for i, (x, key) in enumerate(zip(call.leaves, call.keys, strict=True)):
        if key.kind == ARRAY:
            leaves.append(Leaf(type(x), Layout.of(x), i in changed))
            continue
        is_constant = key.kind == INT and i not in dynamic
        matters = key.kind == STATIC or i in pinned or is_constant
        leaves.append(_valued(x, key) if matters else Leaf(type(x)))
    return leaves


def _valued(x: object, key: LeafKey) -> Leaf:
    if isinstance(key.value, tuple) and isinstance(key.value[1], Identity):
        return Leaf(type(x), compared=Compared.SAME, value=x)
    is_plain = isinstance(x, int | str | bytes | np.dtype)
    compared = Compared.EQUAL if is_plain else Compared.ALIKE
    return Leaf(type(x), compared=compared, value=x)


def _feeds(compiled: Compiled) -> tuple[Feed, ...]:
    places = {id(c): k for k, c in enumerate(compiled.recording.captures)}
    return tuple(
        Feed(feed, -1, dtype)
        if isinstance(feed, int)
        else Feed(-1, places[id(feed)], dtype)
        for feed, dtype in compiled.feeds
    )
