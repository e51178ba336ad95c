"""Faults planted in the compiler, for what is to find them."""

from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

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
