"""`check_grads`: derivatives of a function against differences and each other.

For random directions v and w, in float64::

    J v      against  (f(x + h v) - f(x - h v)) / 2h        forward mode
    <Jᵀw, v> against  <w, J v>                              reverse mode

with J v of the second line from forward mode where that is checked too (and then to
rounding), else from the differences. Second and higher orders check the derivatives of
``x, v ↦ J(x) v`` and of ``x, w ↦ J(x)ᵀ w`` in the same way. Complex values pair as
``Re Σ w·v``, without conjugation.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..api import jvp, vjp
from ..errors import ArgumentError
from ..ir import dtypes as dt
from ..tracing.source import user_line
from ..tracing.tree import TreeSpec, flatten, format_path, paths, unflatten

MODES = ("fwd", "rev")
_MODE_NAMES = {"fwd": "forward mode", "rev": "reverse mode"}
ADJOINT_RTOL = 1e-8  # both sides are exact derivatives

Values = list[np.ndarray]
# Float and complex leaves of the arguments to those of the result.
Flat = Callable[..., list[Any]]


@dataclass(frozen=True)
class _Check:
    """What is checked, and how closely; see `check_grads`."""

    modes: tuple[str, ...]
    order: int
    rtol: float
    atol: float
    eps: float
    directions: int
    rng: np.random.Generator


def check_grads(
    f: Callable[..., Any],
    args: Sequence[Any],
    order: int = 2,
    modes: Sequence[str] = MODES,
    *,
    rtol: float = 1e-5,
    atol: float = 1e-7,
    eps: float = 1e-5,
    directions: int = 2,
    seed: int = 0,
) -> None:
    """Check the derivatives of `f` in random directions.

    Parameters
    ----------
    f : callable
        Of arrays and numbers in nested containers, giving such. It is smooth within
        `eps` of the arguments.
    args : tuple or list
        Its arguments; floats are taken to float64 and complex numbers to complex128.
        Integers and booleans stay as they are.
    order : int
        Up to which derivative.
    modes : sequence of str
        ``"fwd"``, ``"rev"`` or both; with both, higher orders nest them in all ways.
    rtol, atol : float
        Allowed error of a directional derivative, relative to the largest element of
        the result leaf, and absolute.
    eps : float
        Step of the central differences.
    directions : int
        How many random directions for each check.
    seed : int

    Raises
    ------
    AssertionError
        With mode, order, direction and both numbers.
    ArgumentError
        When nothing in `args` is float or complex, or a mode is unknown.

    Examples
    --------
    >>> import numpy as np
    >>> check_grads(lambda x: np.sum(np.sin(x) ** 2), (np.array([0.3, 0.7]),))
    """
    if not modes or set(modes) - set(MODES):
        raise ArgumentError(
            f"check_grads has the modes 'fwd' and 'rev', not {list(modes)}",
            source=user_line(),
        )
    leaves, spec = flatten(tuple(args))
    wide = [_widened(x) for x in leaves]
    active = [i for i, x in enumerate(wide) if _is_inexact(x)]
    if not active:
        raise ArgumentError(
            "check_grads was given no float or complex argument",
            source=user_line(),
            hint="pass floats, e.g. x.astype(np.float64)",
        )
    rng = np.random.default_rng(seed)
    check = _Check(tuple(modes), order, rtol, atol, eps, directions, rng)
    flat = _flattened(f, wide, spec, active)
    names = _result_names(f(*unflatten(spec, wide)))
    _check_order(check, flat, [wide[i] for i in active], (), names)


def _widened(x: Any) -> Any:
    """Return floats as float64, complex numbers as complex128, all else as it is."""
    if not _is_inexact(x):
        return x
    out = np.asarray(x)
    out = out.astype(np.complex128 if out.dtype.kind == "c" else np.float64)
    return out if isinstance(x, np.ndarray) else out[()]


def _is_inexact(x: Any) -> bool:
    dtype = getattr(x, "dtype", None)
    if dtype is None:
        return isinstance(x, float | complex)
    return dtype in dt.INEXACT


def _flattened(
    f: Callable[..., Any], wide: list[Any], spec: TreeSpec, active: list[int]
) -> Flat:
    def flat(*values: Any) -> list[Any]:
        full = list(wide)
        for i, x in zip(active, values, strict=True):
            full[i] = x
        leaves, _ = flatten(f(*unflatten(spec, full)))
        return [x for x in leaves if _is_inexact(x)]

    return flat


def _result_names(result: Any) -> list[str]:
    leaves, spec = flatten(result)
    pairs = zip(leaves, paths(spec), strict=True)
    return [format_path(p, "the result") for x, p in pairs if _is_inexact(x)]


def _check_order(
    check: _Check, f: Flat, xs: Values, trail: tuple[str, ...], names: list[str]
) -> None:
    """Check the first derivative of `f`, then derivatives of its derivatives."""
    for mode in check.modes:
        for direction in range(check.directions):
            what = _describe(mode, trail, direction)
            if mode == "fwd":
                _check_forward(check, f, xs, what, names)
            else:
                _check_reverse(check, f, xs, what)
        if len(trail) + 1 < check.order:
            g, more = _derivative(check, f, xs, mode)
            n = len(xs) if mode == "rev" else len(names)
            below = [f"derivative {i}" for i in range(n)]
            _check_order(check, g, [*xs, *more], (*trail, mode), below)


def _describe(mode: str, trail: tuple[str, ...], direction: int) -> str:
    inside = "".join(f" over {_MODE_NAMES[m]}" for m in reversed(trail))
    order = len(trail) + 1
    return f"{_MODE_NAMES[mode]}{inside}, order {order}, direction {direction}"


def _derivative(check: _Check, f: Flat, xs: Values, mode: str) -> tuple[Flat, Values]:
    """Return the derivative as a function of point and direction, and a direction."""
    n = len(xs)
    if mode == "fwd":
        return lambda *a: list(jvp(f, a[:n], a[n:])[1]), _random(check, xs)
    return lambda *a: list(vjp(f, *a[:n])[1](list(a[n:]))), _random(check, f(*xs))


def _random(check: _Check, like: Sequence[Any]) -> Values:
    """Draw a direction for values like these."""
    out = []
    for x in like:
        value = check.rng.normal(size=np.shape(x))
        if np.asarray(x).dtype.kind == "c":
            value = value + 1j * check.rng.normal(size=np.shape(x))
        out.append(np.asarray(value, np.asarray(x).dtype))
    return out


def _pairing(ws: Sequence[Any], vs: Sequence[Any]) -> tuple[float, float]:
    """Return ``Re Σ w·v`` and the sum of the magnitudes of its terms."""
    terms = [np.asarray(w) * v for w, v in zip(ws, vs, strict=True)]
    total = sum(float(np.sum(t.real)) for t in terms)
    return total, sum(float(np.sum(np.abs(t))) for t in terms)


def _differences(check: _Check, f: Flat, xs: Values, vs: Values) -> Values:
    up, down = (
        f(*(x + sign * check.eps * v for x, v in zip(xs, vs, strict=True)))
        for sign in (1, -1)
    )
    pairs = zip(up, down, strict=True)
    return [(np.asarray(a) - b) / (2 * check.eps) for a, b in pairs]


def _check_forward(
    check: _Check, f: Flat, xs: Values, what: str, names: list[str]
) -> None:
    vs = _random(check, xs)
    _, found = jvp(f, tuple(xs), tuple(vs))
    wanted = _differences(check, f, xs, vs)
    for name, got, want in zip(names, found, wanted, strict=True):
        error = np.abs(np.asarray(got) - want)
        allowed = check.atol + check.rtol * np.max(np.abs(want), initial=0.0)
        if not np.all(error <= allowed):  # NaN is wrong too
            at = np.unravel_index(np.argmax(error), error.shape)
            raise AssertionError(
                f"check_grads: {what}: {name} of shape {error.shape} has the "
                f"derivative {np.asarray(got)[at]} at {tuple(map(int, at))}, but "
                f"differences give {want[at]} (error {error[at]:.3g}, allowed "
                f"{allowed:.3g})"
            )


def _check_reverse(check: _Check, f: Flat, xs: Values, what: str) -> None:
    vs = _random(check, xs)
    out, pull = vjp(f, *xs)
    ws = _random(check, out)
    exact = "fwd" in check.modes
    pushed = jvp(f, tuple(xs), tuple(vs))[1] if exact else None
    if pushed is None:
        pushed = _differences(check, f, xs, vs)
    left, size = _pairing(ws, pushed)
    right, other = _pairing(pull(ws), vs)
    scale = max(size, other)
    allowed = ADJOINT_RTOL * scale if exact else check.atol + check.rtol * scale
    if not abs(left - right) <= allowed:  # NaN is wrong too
        source = "jvp" if exact else "differences"
        raise AssertionError(
            f"check_grads: {what}: <Jᵀw, v> = {right!r}, but <w, Jv> = {left!r} by "
            f"{source} (difference {abs(left - right):.3g}, allowed {allowed:.3g})"
        )
