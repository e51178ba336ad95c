"""Every primitive: `check_grads` in both modes, twice; none without a derivative."""

import numpy as np
import pytest

import tracejit as tj
from tests.ir.samples import SAMPLES, Sample, sample_id
from tests.sampling import sampled
from tracejit.ir.primitive import REGISTRY, Linearity, Primitive
from tracejit.tracing.inner import run_graph
from tracejit.transforms import linearize, transpose

# Primitives that check_grads is not run for, and why.
NO_DERIVATIVE = {
    "stop_gradient": "its derivative is zero by definition",
    "iota": "it has no operands",
    "constant": "it has no operands",
    "callback": "what it computes is Python's business",
    "check": "it has no results",
    "geqrf": "it is a half of qr, put there after derivatives are taken",
    "householder_product": "as geqrf",
    "custom_tangent": "it stands between linearising and transposing, where it goes",
}
# Primitives that are differentiable in one mode only.
ONE_MODE = {
    "while": "fwd",  # how many turns there are to go back is not known
    "custom_vjp": "rev",  # its rule gives cotangents
}


def has_inexact_operand(sample: Sample) -> bool:
    arrays = sample.make(np.random.default_rng(0))
    return any(x.dtype.kind in "fc" for x in arrays)


def is_differentiable(p: Primitive) -> bool:
    return not p.nondifferentiable and p.name not in NO_DERIVATIVE


CHECKED = [
    s for s in SAMPLES if is_differentiable(s.primitive) and has_inexact_operand(s)
]


def function_of(sample: Sample):
    """Return the primitive as a function of its operands."""

    def f(*args):
        if sample.symmetric:
            args = [(args[0] + np.conj(np.swapaxes(args[0], -1, -2))) / 2, *args[1:]]
        return run_graph(sample.graph([np.empty(x.shape, x.dtype) for x in args]), args)

    return f


@pytest.mark.parametrize("sample", sampled(CHECKED, 2), ids=sample_id)
def test_check_grads(sample):
    args = sample.make(np.random.default_rng(2))
    modes = (ONE_MODE[sample.name],) if sample.name in ONE_MODE else ("fwd", "rev")
    f = function_of(sample)
    tj.testing.check_grads(f, args, order=2, modes=modes, directions=1)


@pytest.mark.parametrize("name", ONE_MODE)
def test_the_other_mode_is_refused(name):
    sample = next(s for s in CHECKED if s.name == name)
    args = sample.make(np.random.default_rng(2))
    (other,) = {"fwd", "rev"} - {ONE_MODE[name]}
    with pytest.raises(tj.errors.UnsupportedError):
        tj.testing.check_grads(function_of(sample), args, order=1, modes=(other,))


def test_every_primitive_is_checked_or_says_why():
    checked = {s.name for s in CHECKED}
    for name, p in REGISTRY.items():
        assert name in checked or p.nondifferentiable or name in NO_DERIVATIVE, (
            f"{name} has no sample with float operands in tests/ir/samples.py, and "
            "neither nondifferentiable=True nor a reason in NO_DERIVATIVE"
        )


def test_every_primitive_has_rules_for_both_modes():
    for name, p in REGISTRY.items():
        if not is_differentiable(p) or p in linearize.SUBGRAPH_RULES or p.expand:
            continue
        forward = p.partials or p.jvp or p.linearity is not Linearity.NONE
        assert forward, f"{name} declares neither partials, nor jvp, nor linearity"
        is_linear = p.linearity is not Linearity.NONE
        assert p.transpose or not is_linear, f"{name} is linear without a transpose"


def test_what_is_split_is_transposed():
    """Each sub-graph primitive that linearisation emits has a transpose."""
    replaced = {"fusion", "custom_jvp", "custom_vjp"}  # by a call, or by their rules
    emitted = {p.name for p in linearize.SUBGRAPH_RULES} - replaced
    assert emitted <= {p.name for p in transpose.SUBGRAPH_RULES}


def test_reasons_are_of_primitives():
    assert set(NO_DERIVATIVE) <= set(REGISTRY)
