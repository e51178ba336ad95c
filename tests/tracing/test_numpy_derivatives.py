"""Every NumPy function that traces: `check_grads`, or a reason without derivative."""

import ast

import numpy as np
import pytest
import scipy.special

import tracejit as tj
from tests.sampling import sampled
from tracejit.ir.ops.ufunc_partials import PARTIALS
from tracejit.tracing.functions import GENERALIZED
from tracejit.tracing.functions.registry import FUNCTIONS
from tracejit.tracing.ufuncs import LOWERINGS, SCIPY_LOWERINGS

from .derivative_samples import WITHOUT_DERIVATIVE, arguments, table

TABLE = table()
CALLS = [(name, call) for name, calls in TABLE.items() for call in calls]
INTEGERS = np.random.default_rng(3).integers(0, 9, (3, 4))


def written(x, write):
    """Return a copy of `x` that `write` has written into."""
    out = x.copy()
    write(out)
    return out


def function_of(call):
    names = {"np": np, "tj": tj, "scipy": scipy, "i": INTEGERS, "written": written}
    code = compile(call, call, "eval")
    nodes = ast.walk(ast.parse(call))
    mentioned = {node.id for node in nodes if isinstance(node, ast.Name)}
    used = [n for n in arguments() if n in mentioned]

    def f(*values):
        given = dict(zip(used, values, strict=True))
        if "s" in given:
            given["s"] = (given["s"] + given["s"].T) / 2
        return eval(code, {**names, **given})

    return f, [arguments()[n] for n in used]


@pytest.mark.parametrize(("name", "call"), sampled(CALLS, 3), ids=[c for _, c in CALLS])
def test_check_grads(name, call):
    f, args = function_of(call)
    tj.testing.check_grads(f, args, order=2, directions=1)


def public_name(function):
    """Return the name that samples use, e.g. ``np.linalg.norm``."""
    if isinstance(function, np.ufunc):
        return f"np.{function.__name__}"
    module = function.__module__.replace("numpy", "np", 1)
    if module.startswith("tracejit.nn"):
        module = "tj.nn"
    if module == "tracejit.tracing.functions.special":
        module = "scipy.special"
    if module.startswith("tracejit.scipy.linalg"):
        module = "tj.scipy.linalg"
    if module.startswith("tracejit.random"):
        module = module.replace("tracejit", "tj", 1)
    return f"{module}.{function.__name__}"


def names_that_trace():
    """Everything in the tables of the tracer, and NumPy's other ufuncs."""
    ufuncs = {f for f in vars(np).values() if isinstance(f, np.ufunc)}
    ufuncs -= {np.isnat}  # of datetimes, which do not trace
    found = {public_name(f) for f in (*FUNCTIONS, *LOWERINGS, *GENERALIZED, *ufuncs)}
    return found | {f"scipy.special.{n}" for n in SCIPY_LOWERINGS}


ALIASES = {"np.amax": "np.max", "np.amin": "np.min", "np.round": "np.around"}


def test_every_function_is_sampled_or_has_no_derivative():
    without = {n for names in WITHOUT_DERIVATIVE.values() for n in names.split()}
    assert not without & set(TABLE), "these have both a sample and a reason not to"
    traced = {ALIASES.get(n, n) for n in names_that_trace()}
    missing = sorted(traced - set(TABLE) - without)
    assert not missing, (
        f"{missing} trace, but tests/tracing/derivative_samples.py has neither a "
        "sample call nor a reason for having no derivative"
    )
    assert without <= traced


def test_every_declared_partial_is_sampled():
    names = {n.replace("_ufuncs._", "") for n in PARTIALS}
    without = {n for names in WITHOUT_DERIVATIVE.values() for n in names.split()}
    assert names <= set(TABLE) | without


@pytest.mark.parametrize(
    "name", WITHOUT_DERIVATIVE["steps, with derivative zero"].split()
)
def test_steps_have_zero_derivatives(name):
    f = getattr(np, name.removeprefix("np."))
    args = (3.7, 1.3)[: f.nin]
    value, tangent = tj.jvp(f, args, (1.0,) * f.nin)
    assert value == f(*args)
    assert tangent == (1.0 if f is np.nextafter else 0.0)


def test_a_missing_derivative_names_function_and_argument():
    with pytest.raises(
        tj.errors.UnsupportedError,
        match=r"(?s)scipy.special.jv with respect to argument 0 .*numpy_derivatives",
    ):
        tj.grad(lambda v: scipy.special.jv(v, 0.5))(1.5)
    with pytest.raises(
        tj.errors.UnsupportedError,
        match=r"(?s)scipy.special.agm is not defined.*test_numpy_derivatives",
    ):
        tj.grad(lambda v: scipy.special.agm(v, 0.5))(1.5)
