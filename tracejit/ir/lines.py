"""User lines that say what became of them: a derivative, a batch.

An equation's `source` are texts, ``"file.py:12"``. Transformations leave them as they
are and note on them what the equation is to the line: `Line` is a text like any other,
equal to the plain one, with `roles`. Uniting the lines of equations may lose roles;
graphs as traced have them all.
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple

from .graph import Eqn, SourceLines


class Role(NamedTuple):
    """What a transformation made of a line.

    Parameters
    ----------
    name : str
        ``"derivative"`` or ``"batch"``.
    size : int
        Of a batch, how many examples it has, along axis 0 of results.
    """

    name: str
    size: int = 0


DERIVATIVE = Role("derivative")


class Line(str):
    """A user line with what transformations made of it, the last one first."""

    __slots__ = ("roles",)
    roles: tuple[Role, ...]


def roles_of(line: str) -> tuple[Role, ...]:
    """Return what transformations made of a line; nothing of a plain text."""
    return line.roles if isinstance(line, Line) else ()


@lru_cache(maxsize=4096)
def _line(text: str, roles: tuple[Role, ...]) -> Line:
    line = Line(text)
    line.roles = roles
    return line


def with_role(source: SourceLines, role: Role) -> SourceLines:
    """Return lines that have one more role."""
    return tuple([_line(str(x), (role, *roles_of(x))) for x in source])


def is_derivative(source: SourceLines) -> bool:
    """Tell whether an equation of these lines belongs to a derivative of them."""
    return any(DERIVATIVE in roles_of(x) for x in source)


def batches_of(source: SourceLines) -> tuple[int, ...]:
    """Return the sizes of the batches, from the outermost."""
    roles = roles_of(source[0]) if source else ()
    return tuple(r.size for r in roles if r.name == "batch")


def derivative_apart(eqns: Sequence[Eqn], values: Iterable[Eqn]) -> list[Eqn]:
    """Note on equations other than `values` that they belong to a derivative."""
    plain = set(values)
    return [e if e in plain else _of_derivative(e) for e in eqns]


def _of_derivative(eqn: Eqn) -> Eqn:
    if not eqn.source or is_derivative(eqn.source):
        return eqn
    source = with_role(eqn.source, DERIVATIVE)
    return Eqn(eqn.primitive, eqn.invars, eqn.params, eqn.outvars, source)
