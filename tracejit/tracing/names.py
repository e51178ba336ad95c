"""The names that a user's program gives to values, for graphs and kernels to show.

Names are hints: they decide nothing, and two values may have the same one.
"""

import re
from dataclasses import field
from opcode import opmap
from types import CodeType, FrameType

from ..ir.graph import Atom, Var
from ..records import dataclass

# Instructions that store what the one before them left, and where their argument
# holds the local variable's number (two instructions may be written as one).
_STORES = {
    opmap[name]: shift
    for name, shift in (
        ("STORE_FAST", 0),
        ("STORE_FAST_LOAD_FAST", 4),
        ("STORE_FAST_STORE_FAST", 4),
    )
    if name in opmap
}
_CACHE = opmap["CACHE"]  # room that an instruction keeps behind itself
_WORDS = re.compile(r"\w+")
_NUMBERS = re.compile(r"_(\d)")


def path_name(path: str) -> str:
    """Return the name of an argument or one of its leaves.

    Examples
    --------
    >>> path_name("params['layers'][0].w")
    'params_layers0_w'
    """
    return _NUMBERS.sub(r"\1", "_".join(_WORDS.findall(path)))


@dataclass
class Assignments:
    """Names the results of a trace after the variables they are assigned to.

    An instruction of the user's code may record many equations (a mean is a sum and
    a quotient): its value is what the last of them gives.
    """

    _code: CodeType | None = None
    _bytes: bytes = field(default=b"", repr=False)
    _at: int = -1
    _named: Var | None = None

    def record(self, frame: FrameType, result: Atom) -> None:
        """Name `result`, which `frame`'s present instruction has just made."""
        if frame.f_code is not self._code:
            self._code, self._bytes = frame.f_code, frame.f_code.co_code
        elif frame.f_lasti == self._at and self._named is not None:
            self._named.name = ""
        self._at, self._named = frame.f_lasti, None
        name = self._target()
        if name and isinstance(result, Var) and not result.name:
            result.name, self._named = name, result

    def _target(self) -> str:
        """Return the local variable that the present instruction's value goes to."""
        code = self._bytes
        at = self._at + 2
        while at + 1 < len(code) and code[at] == _CACHE:
            at += 2
        if self._code is None or at + 1 >= len(code) or code[at] not in _STORES:
            return ""
        return self._code.co_varnames[code[at + 1] >> _STORES[code[at]]]
