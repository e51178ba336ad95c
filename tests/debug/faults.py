"""Faults planted in the compiler, for what is to find them."""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

from tracejit.codegen.llvm import elementwise
from tracejit.codegen.llvm.lanes import Lanes
from tracejit.ir.primitive import Primitive
from tracejit.ir.rewrite import Rule, RuleFn, RuleSet
from tracejit.passes import canonicalize


@contextmanager
def wrong_rule(name: str, primitive: Primitive, apply: RuleFn) -> Iterator[None]:
    """Add a rule to those of `canonicalize` for one block."""
    rule = Rule(name, (primitive,), apply, "planted")
    rules = RuleSet([rule, *canonicalize.LOWERING_RULES.rules])
    with mock.patch.object(canonicalize, "LOWERING_RULES", rules):
        yield


# Machine code that ends its process, or never ends, as LLVM writes it.
CRASH = "store volatile i32 0, ptr null"
_PAUSE = ctypes.cast(ctypes.CDLL(None).pause, ctypes.c_void_p).value
HANG = f"call i32 inttoptr (i64 {_PAUSE} to ptr)()"  # waits for a signal


@contextmanager
def deadly_code(operation: str, instruction: str) -> Iterator[None]:
    """Have the code of an operation on floats hold an instruction for one block."""
    table = elementwise._EXACT_FLOAT
    usual = table[operation]

    def rule(x: Lanes, *operands: str) -> str:
        x.em.line(instruction)
        return usual(x, *operands)

    with mock.patch.dict(table, {operation: rule}):
        yield
