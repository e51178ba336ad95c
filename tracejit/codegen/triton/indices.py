"""Index expressions as Triton text.

Triton divides integers towards zero, as C does; where an expression may be negative it
is moved up by a multiple of the divisor first.
"""

import keyword
import re
from collections.abc import Callable, Mapping

from ...kernels.maps import Affine, AxisIndex, IndexAtom, Mod, ValueIndex

Name = Callable[[str], str]
_LIMIT = 2**31


def identifier(name: str, prefix: str = "") -> str:
    """Return a name as a Python identifier.

    Examples
    --------
    >>> identifier("x.1", "v_")
    'v_x_1'
    """
    text = prefix + re.sub(r"\W", "_", name)
    return f"_{text}" if not text.isidentifier() or keyword.iskeyword(text) else text


def bounds(index: Affine, extents: Mapping[str, int]) -> tuple[int, int] | None:
    """Return the least and largest value; None where a loaded index is in it."""
    low = high = index.constant
    for atom, coefficient in index.terms:
        range_ = _atom_bounds(atom, extents)
        if range_ is None:
            return None
        ends = range_[0] * coefficient, range_[1] * coefficient
        low, high = low + min(ends), high + max(ends)
    return low, high


def _atom_bounds(atom: IndexAtom, extents: Mapping[str, int]) -> tuple[int, int] | None:
    if isinstance(atom, ValueIndex):
        return None
    if isinstance(atom, AxisIndex):
        return 0, max(extents[atom.axis] - 1, 0)
    if isinstance(atom, Mod):
        return 0, atom.divisor - 1
    inner = bounds(atom.inner, extents)
    return inner and (inner[0] // atom.divisor, inner[1] // atom.divisor)


def is_wide(index: Affine, extents: Mapping[str, int]) -> bool:
    """Tell whether an expression needs 64 bits; loaded indices have them."""
    found = bounds(index, extents)
    return found is not None and not -_LIMIT <= found[0] <= found[1] < _LIMIT


class IndexText:
    """Writes index expressions.

    Parameters
    ----------
    extents : mapping of str to int
    axis_name, value_name : callable
        The variable of an axis, and of a value.
    """

    def __init__(
        self, extents: Mapping[str, int], axis_name: Name, value_name: Name
    ) -> None:
        self.extents, self.axis_name = extents, axis_name
        self.value_name = value_name

    def __call__(self, index: Affine) -> str:
        """Return an expression that can stand beside ``+`` and ``<``."""
        text = ""
        for atom, coefficient in index.terms:
            size, name = abs(coefficient), self.atom(atom)
            term = name if size == 1 else f"{size} * {name}"
            text += _signed(term, coefficient < 0, not text)
        if index.constant or not text:
            text += _signed(str(abs(index.constant)), index.constant < 0, not text)
        return text

    def atom(self, atom: IndexAtom) -> str:
        """Return one term, in parentheses if it is an expression."""
        if isinstance(atom, AxisIndex):
            return self.axis_name(atom.axis)
        if isinstance(atom, ValueIndex):
            return self.value_name(atom.value)
        inner, divisor = atom.inner, atom.divisor
        found = bounds(inner, self.extents)
        if found is None:
            text = f"({self(inner)})"
            rest = f"(({text} % {divisor} + {divisor}) % {divisor})"
            is_mod = isinstance(atom, Mod)
            return rest if is_mod else f"(({text} - {rest}) // {divisor})"
        up = -(min(found[0], 0) // divisor)
        moved = self(inner + up * divisor)
        if len(inner.terms) > 1 or up or inner.constant or inner.terms[0][1] != 1:
            moved = f"({moved})"
        if isinstance(atom, Mod):
            return f"({moved} % {divisor})"
        less = f" - {up}" if up else ""
        return f"({moved} // {divisor}{less})"


def _signed(term: str, is_negative: bool, is_first: bool) -> str:
    if is_first:
        return f"-{term}" if is_negative else term
    return f" - {term}" if is_negative else f" + {term}"
