"""What is compiled for one function: a trie of the questions that its traces asked.

A trace asks for the values of some arguments (`Recording.pinned`); its code is for
calls that give the same answers. Needs compiled code. Establishes `Specializations`, in
which a call finds its code by its answers.
"""

from collections.abc import Iterator
from dataclasses import field
from typing import Any

from .compiled import Compiled
from .guard import Guard
from .records import dataclass


@dataclass
class Node:
    """A node of the trie of questions.

    Parameters
    ----------
    question : int
        Argument leaf whose value was asked for, -1 at a leaf.
    children : dict
        Value (with its type) to the next node.
    compiled : Compiled, optional
        At a leaf.
    number : int
        Of the trace that `compiled` is of.
    guard : Guard, optional
        For calls like the last that came here the long way.
    """

    question: int = -1
    children: dict[object, "Node"] = field(default_factory=dict)
    compiled: Compiled | None = None
    number: int = 0
    guard: Guard | None = None

    @property
    def is_current(self) -> bool:
        """Whether it has compiled code, whose captures are where they were."""
        return self.compiled is not None and self.compiled.captures_current()

    def forms(self) -> "Iterator[Node]":
        """Yield the nodes of compiled code from here on."""
        if self.compiled is not None:
            yield self
        for child in self.children.values():
            yield from child.forms()

    def drop(self, node: "Node") -> bool:
        """Take a node out of what follows; tell whether anything is left here."""
        kept = {k: c for k, c in self.children.items() if c.drop(node)}
        self.children = kept
        return self is not node and (bool(kept) or self.compiled is not None)


@dataclass
class Specializations:
    """What is compiled for one base key.

    Parameters
    ----------
    first_ints : dict of int to int
        Int leaves and the value of their first call: constants until they change.
    dynamic : set of int
        Int leaves that changed: run-time values.
    tries : dict
        A trie of questions per set of dynamic leaves.
    """

    first_ints: dict[int, int]
    dynamic: set[int] = field(default_factory=set)
    tries: dict[frozenset[int], Node] = field(default_factory=dict)

    def update(self, leaves: list[Any]) -> frozenset[int]:
        """Note ints that changed; return the leaves to take as run-time values."""
        for i, first in self.first_ints.items():
            if i not in self.dynamic and leaves[i] != first:
                self.dynamic.add(i)
        return frozenset(self.dynamic)

    def find(self, leaves: list[Any], dynamic: frozenset[int]) -> Node | None:
        """Walk the trie by this call's answers to a node of compiled code."""
        node = self.tries.get(dynamic)
        while node is not None and node.compiled is None:
            node = node.children.get(_answer(leaves[node.question]))
        return node

    def forms(self) -> "list[Node]":
        """Return the nodes of compiled code."""
        return [node for trie in self.tries.values() for node in trie.forms()]

    def drop(self, node: Node) -> None:
        """Forget a specialisation, and questions that lead to none."""
        self.tries = {k: trie for k, trie in self.tries.items() if trie.drop(node)}

    def insert(
        self,
        leaves: list[Any],
        dynamic: frozenset[int],
        compiled: Compiled,
        number: int,
    ) -> Node:
        """Enter the specialisation of a trace under the questions that it asked."""
        node = self.tries.setdefault(dynamic, Node())
        for question in compiled.recording.pinned:
            if node.question != question:
                node.question, node.compiled = question, None
                node.children.clear()
            node = node.children.setdefault(_answer(leaves[question]), Node())
        node.compiled, node.number, node.guard = compiled, number, None
        return node


def _answer(value: Any) -> object:
    """Key of a value by type and bits (NaN equals itself, -0.0 is not 0.0)."""
    return (type(value), repr(value)) if type(value) is not int else value
