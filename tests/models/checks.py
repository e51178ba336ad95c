"""What is asked of every model: compiled as in NumPy, right derivatives, as in JAX."""

import copy
import types
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tracejit as tj
from tracejit.tracing.tree import flatten

RTOL = 1e-9  # of the largest element of a leaf


def assert_close(got: Any, want: Any, rtol: float = RTOL) -> None:
    """Compare two trees of arrays leaf by leaf."""
    got, want = flatten(got)[0], flatten(want)[0]
    assert len(got) == len(want)
    for g, w in zip(got, want, strict=True):
        g, w = np.asarray(g), np.asarray(w)
        assert g.shape == w.shape and g.dtype == w.dtype
        scale = np.max(np.abs(w), initial=1e-3)
        np.testing.assert_allclose(g, w, rtol=rtol, atol=rtol * scale)


def check_compiled(fn: Callable[..., Any], args: tuple, rtol: float = RTOL) -> Any:
    """Compare two calls of the compiled function with a plain one; return its result.

    The first call is made by the guard in Python, the second by the native entry.
    """
    want = fn(*copy.deepcopy(args))
    compiled = tj.jit(fn)
    for _ in range(2):
        assert_close(compiled(*copy.deepcopy(args)), want, rtol)
    return want


def check_model(
    model: Callable[..., Any],
    args: tuple,
    order: int = 1,
    modes: tuple[str, ...] = ("fwd", "rev"),
) -> None:
    """Check a loss: its value and gradient compiled, and derivatives by differences.

    Arguments of whole numbers, sizes and labels, are differentiated by nobody.
    """
    check_compiled(model, args)
    if "rev" in modes:
        check_compiled(tj.value_and_grad(model, argnums=inexact(args)), args)
    tj.testing.check_grads(model, args, order, modes)


def inexact(args: tuple) -> tuple[int, ...]:
    """Return the positions of arguments that have a derivative."""
    return tuple(
        i
        for i, arg in enumerate(args)
        if any(np.asarray(leaf).dtype.kind == "f" for leaf in flatten(arg)[0])
    )


def in_jax(fn: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function of a test module with JAX in place of NumPy and tracejit."""
    jax = pytest.importorskip("jax")
    flow = types.SimpleNamespace(
        **{name: getattr(jax, name) for name in ("grad", "hessian", "vmap", "jvp")},
        **{n: getattr(jax.lax, n) for n in ("scan", "while_loop", "fori_loop", "cond")},
        jacfwd=jax.jacfwd,
        jacrev=jax.jacrev,
        value_and_grad=jax.value_and_grad,
        checkpoint=jax.checkpoint,
    )
    names = dict(fn.__globals__)
    for name, value in fn.__globals__.items():
        if isinstance(value, types.FunctionType) and value.__module__ == fn.__module__:
            names[name] = types.FunctionType(
                value.__code__, names, name, value.__defaults__
            )
    names.update(np=jax.numpy, tj=flow)
    return names[fn.__name__]


def compare_with_jax(
    fn: Callable[..., Any], args: tuple, gradient: bool = True
) -> None:
    """Compare a function, and its gradient if it is a loss, with JAX in float64."""
    jax = pytest.importorskip("jax")

    def as_arrays(tree):  # JAX sorts the keys of dicts
        return [np.asarray(x) for x in jax.tree.leaves(tree)]

    their_fn = in_jax(fn)
    with jax.enable_x64(True):
        theirs = jax.tree.map(jax.numpy.asarray, args)
        want = their_fn(*theirs)
        assert_close(jax.tree.leaves(fn(*args)), as_arrays(want))
        if gradient:
            which = inexact(args)
            want = jax.grad(their_fn, which)(*theirs)
            got = tj.jit(tj.grad(fn, argnums=which))(*args)
            assert_close(jax.tree.leaves(got), as_arrays(want))
