"""Arguments that a caller gives away: which ones, what is wrong with them, their end.

Establishes errors for arrays that cannot be given away, as something else still sees
them or nothing may write to them, before any memory is written. What they are good for
is said by `offers`.
"""

import sys
from collections.abc import Mapping, Sequence

import numpy as np

from .errors import ArgumentError
from .runtime.cpu.call import data_pointer
from .runtime.overlap import byte_range, has_hazard
from .tracing.capture import CapturedArray
from .tracing.signature import ARRAY, Call
from .tracing.source import is_internal, line_of


def donated_arrays(call: Call) -> dict[int, str]:
    """Return the leaves that a call gives away, with their names.

    Raises
    ------
    ArgumentError
        If a donated parameter has no array, or one that is read-only or that another
        argument is, too.
    """
    if not call.donated:
        return {}
    names = call.leaf_names()
    found = {i: names[i] for i in sorted(call.donated) if call.keys[i].kind == ARRAY}
    if not found:
        given = ", ".join(
            f"{names[i]} is a {type(call.given[i]).__name__}"
            for i in sorted(call.donated)
        )
        raise ArgumentError(
            f"donated arguments are arrays, but {given or 'they hold nothing'}",
            source=_caller(),
            hint="donate parameters that hold arrays only",
        )
    for i, name in found.items():
        if not call.leaves[i].flags.writeable:
            raise ArgumentError(
                f"the donated argument {name} is read-only",
                source=_caller(),
                hint=f"donate a copy: {name}.copy()",
            )
    _check_aliases(call, names)
    return found


def _check_aliases(call: Call, names: Sequence[str]) -> None:
    groups: dict[int, list[int]] = {}
    for i, first in enumerate(call.aliases):
        groups.setdefault(first, []).append(i)
    for group in groups.values():
        given = [i for i in group if i in call.donated]
        if given and len(group) > 1:
            other = next(i for i in group if i != given[0])
            raise _shared(names[given[0]], f"{names[other]} is the same array")


def check_apart(
    call: Call, donated: Mapping[int, str], captures: Sequence[CapturedArray]
) -> None:
    """Raise if a donated array shares memory with anything else that a call uses.

    Raises
    ------
    ArgumentError
    """
    names = call.leaf_names()
    rows = [
        (names[i], x, i in donated)
        for i, x in enumerate(call.leaves)
        if isinstance(x, np.ndarray)
    ]
    rows += [(f"the captured array {c.name}", c.array, False) for c in captures]
    spans = [(*_span(x), is_donated) for _, x, is_donated in rows]
    if not has_hazard(spans):
        return
    for (name, _, is_donated), mine in zip(rows, spans, strict=True):
        for (other, _, _), theirs in zip(rows, spans, strict=True):
            if is_donated and name != other and has_hazard([mine, theirs]):
                raise _shared(name, f"{other} shares memory with it")


def _span(x: np.ndarray) -> tuple[int, int]:
    first, end = byte_range(x)
    return data_pointer(x) + first, data_pointer(x) + end


def _shared(name: str, message: str) -> ArgumentError:
    return ArgumentError(
        f"the argument {name} is donated, but {message}",
        source=_caller(),
        hint=f"donate a copy: {name}.copy()",
    )


def _caller() -> str | None:
    frame = sys._getframe(1)
    while frame is not None and is_internal(frame.f_code.co_filename):
        assert frame.f_back is not None
        frame = frame.f_back
    return line_of(frame)


def overwrite(array: np.ndarray) -> None:
    """Fill an array that was given away with what shows: NaN, or the least integer."""
    kind = array.dtype.kind
    if kind in "iu":
        array.fill(np.iinfo(array.dtype).min if kind == "i" else _most(array.dtype))
    elif kind == "b":
        array.fill(True)
    else:
        array.fill(np.nan)


def _most(dtype: np.dtype) -> int:
    return int(np.iinfo(dtype).max)
