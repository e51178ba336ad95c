"""Random programs in random nestings of transformations.

Each program of `random_programs`, in up to three transformations, is checked level by
level: jitted it gives what it gives in plain Python, under `vmap` what a loop over the
examples gives, and derivatives are differences of the level below; both modes pair up
(of first derivatives, and of every other second one).
`make test` takes 50 seeds, `make slow` as many, `make fuzz` 50,000 from a random one
on, in pieces that workers share. What fails says the seed that repeats it.

Tolerances. Two ways of computing in float64 may differ by 1e-11 of the largest element,
or, where a result is more sensitive than that, by 16 times what it moves when the
arguments move in their last bits. Differences may be off by 1e-6 of the largest
derivative, or, at each of three steps, by an error that is measured: four times what
half the step changes (truncation), four times what one-sided differences disagree by
beyond what a smooth function has (a kink within the step), and 16 times the same
sensitivity over the step. These errors are guesses that hold for steps within which a
function is nearly straight: of a derivative that they do not allow, steps down to 1e-13
judge at which they are below a hundredth of it. Where there is none, as of a chaotic
program whose results the last bits of arguments move, differences say nothing.
"""

import os
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import tracejit as tj
from tests.sampling import sampled

from .nestings import (
    Arrays,
    Claim,
    Level,
    description,
    grad,
    jacobian,
    jvp,
    linearize,
    nested,
    pairing,
    random_arrays,
    vjp,
    vmap,
)
from .random_programs import generator

SEEDS = range(100)
PIECE = 10  # programs in a test
# Failed once.
FOUND = (
    *(27, 37, 88, 106, 126, 419, 541, 594),
    *(9001622, 9002022, 30000464, 30037339, 40000442, 40010494, 50009770),
)
PIECES = 500  # of `make fuzz`
EACH = int(os.environ.get("FUZZ_EACH", "100"))  # programs in a piece
STEPS = (1e-5, 1e-4, 1e-6)
FINER = (1e-7, 1e-8, 1e-9, 1e-10, 1e-11, 1e-12, 1e-13)
RESOLVED = 0.01  # of the largest derivative
ROUNDING = 1e-11
DIFFERENCE = 1e-6

Function = Callable[..., Sequence[Any]]


def arrays(values: Sequence[Any]) -> Arrays:
    return [np.asarray(x) for x in values]


def distances(xs: Sequence[Any], ys: Sequence[Any]) -> list[float]:
    """Return the largest difference of each pair; infinite where one is NaN."""
    out = []
    for x, y in zip(xs, ys, strict=True):
        away = np.max(np.abs(np.asarray(x) - y), initial=0.0)
        out.append(float(away) if np.isfinite(away) else np.inf)
    return out


def largest(xs: Sequence[Any], least: float) -> list[float]:
    return [float(np.max(np.abs(x), initial=least)) for x in xs]


def moved(rng: np.random.Generator, args: Arrays) -> Arrays:
    """Return arguments that are off in their last bit."""
    ways = [rng.choice([-np.inf, np.inf], x.shape) for x in args]
    return [np.nextafter(x, w) for x, w in zip(args, ways, strict=True)]


def sensitivity(run: Function, args: Arrays) -> list[float]:
    """Return how far each result moves when arguments move in their last bit."""
    rng = generator(0)
    want = run(*args)
    found = [distances(run(*moved(rng, args)), want) for _ in range(4)]
    return [max(column) for column in zip(*found, strict=True)]


def assert_same(
    got: Sequence[Any], want: Sequence[Any], run: Function, args: Arrays, what: str
) -> None:
    """Compare two ways of computing `run` at `args`."""
    assert [np.shape(x) for x in got] == [np.shape(x) for x in want], what
    assert {np.asarray(x).dtype for x in got} <= {np.dtype(np.float64)}, what
    allowed = [ROUNDING * s for s in largest(want, 1.0)]
    away = distances(got, want)
    if any(a > b for a, b in zip(away, allowed, strict=True)):
        more = sensitivity(run, args)
        allowed = [a + 16 * m for a, m in zip(allowed, more, strict=True)]
    for k, (a, b) in enumerate(zip(away, allowed, strict=True)):
        assert a <= b, f"{what}: result {k} is off by {a:.3g}, allowed {b:.3g}"


# --- differences ------------------------------------------------------------------


def along(level: Level, claim: Claim) -> Callable[[float], Arrays]:
    """Return the level's results, or their weighted sum, along a direction."""

    def values(by: float) -> Arrays:
        at = [x + by * v for x, v in zip(level.args, claim.direction, strict=True)]
        outs = arrays(level.run(*at))
        return outs if claim.weights is None else [pairing(outs, claim.weights)]

    return values


def check_claim(level: Level, claim: Claim, what: str) -> None:
    """Compare a claim with differences: at one step, else within their errors."""
    values = along(level, claim)
    h = STEPS[0]
    pairs = zip(values(h), values(-h), strict=True)
    want = [(up - down) / (2 * h) for up, down in pairs]
    allowed = [DIFFERENCE * s for s in largest(want, 1.0)]
    away = distances(claim.found, want)
    if all(a <= b for a, b in zip(away, allowed, strict=True)):
        return
    for k in range(len(claim.found)):
        judged = [judge(level, claim, values, k, h) for h in STEPS]
        if any(j.reason for j in judged):
            judged += [judge(level, claim, values, k, h) for h in FINER]
            judged = [j for j in judged if j.is_resolved]
        reasons = [j.reason for j in judged if j.reason]
        assert not reasons, f"{what}: derivative {k} is {'; '.join(reasons)}"


@dataclass(frozen=True)
class Judgement:
    """What differences at one step say of a derivative.

    Parameters
    ----------
    is_resolved : bool
        Whether their error is small beside them. Where a function bends within the
        step they say nothing, and neither do errors that are guessed from them.
    reason : str
        By how much the derivative is off, if by more than the error.
    """

    is_resolved: bool
    reason: str


def judge(
    level: Level, claim: Claim, values: Callable[[float], Arrays], k: int, h: float
) -> Judgement:
    """Compare a claimed derivative with differences at a step."""
    a, b, c, d, e = (values(by)[k] for by in (-h, -h / 2, 0.0, h / 2, h))
    noise = sensitivity(lambda *x: along_at(level, claim, x), level.args)[k]
    wide, narrow = (e - a) / (2 * h), (d - b) / h
    bends = np.abs(d - 2 * c + b) / (h / 2) - 0.75 * np.abs(e - 2 * c + a) / h
    size = np.max(np.abs(narrow), initial=1.0)
    error = 16 * noise / h + 4 * np.abs(wide - narrow) + 4 * np.maximum(bends, 0)
    allowed = DIFFERENCE * size + error
    away = np.abs(claim.found[k] - narrow)
    is_resolved = bool(np.max(error, initial=0.0) <= RESOLVED * size)
    if np.all(away <= allowed):
        return Judgement(is_resolved, "")
    worst = np.max(np.where(away <= allowed, 0.0, away))
    return Judgement(is_resolved, f"off by {worst:.3g} at a step of {h}")


def along_at(level: Level, claim: Claim, args: Sequence[Any]) -> Arrays:
    outs = arrays(level.run(*args))
    return outs if claim.weights is None else [pairing(outs, claim.weights)]


# --- what is checked --------------------------------------------------------------


def check_examples(level: Level, outs: Arrays, what: str) -> None:
    """Compare a `vmap` with a loop over its examples."""
    assert level.below is not None
    assert level.axes is not None
    ins, out_axes = level.axes
    pairs = list(zip(level.args, ins, strict=True))
    n = next(x.shape[a] for x, a in pairs if a is not None)
    run = level.below.run
    for i in range(n):
        args = [x if a is None else np.take(x, i, a) for x, a in pairs]
        got = [np.take(y, i, a) for y, a in zip(outs, out_axes, strict=True)]
        assert_same(got, arrays(run(*arrays(args))), run, arrays(args), what)


def check_adjoint(rng: np.random.Generator, level: Level, what: str) -> None:
    """Check ``<v, Jᵀ w> == <J v, w>``."""
    vs = random_arrays(rng, [x.shape for x in level.args])
    outs, tangents = tj.jvp(level.run, tuple(level.args), tuple(vs))
    ws = random_arrays(rng, [np.shape(y) for y in outs])
    again, pull = tj.vjp(level.run, *level.args)
    assert_same(again, outs, level.run, level.args, f"{what}, value of vjp")
    found = pull(tuple(ws))
    left, right = pairing(found, vs), pairing(tangents, ws)
    terms = [*map(np.multiply, found, vs), *map(np.multiply, tangents, ws)]
    size = sum(float(np.sum(np.abs(t))) for t in terms)
    if not abs(left - right) <= ROUNDING * max(size, 1.0):

        def both(*args: Any) -> Arrays:
            _, tangents = tj.jvp(level.run, args, tuple(vs))
            return [pairing(tangents, ws)]

        (more,) = sensitivity(both, level.args)
        allowed = ROUNDING * max(size, 1.0) + 16 * more
        assert abs(left - right) <= allowed, (
            f"{what}: <v, Jᵀ w> = {left!r}, but <J v, w> = {right!r}"
        )


def check_level(level: Level) -> None:
    """Check a level against the one below."""
    what, outs = description(level), level.outs
    assert all(np.isfinite(y).all() for y in outs), f"{what}: not finite"
    if level.other is not None:
        other = level.other(*level.args)
        assert_same(arrays(other), outs, level.run, level.args, f"{what}, otherwise")
    if level.axes is not None:
        check_examples(level, outs, what)
    if level.claims is not None:
        assert level.below is not None
        check_claim(level.below, level.claims(outs), what)


def check(seed: int) -> None:
    """Check one program in its transformations; a failure says how to repeat it."""
    try:
        rng = generator([seed, 3])
        top = nested(seed)
        level: Level | None = top
        while level is not None:
            check_level(level)
            level = level.below
        if top.name != "jit":  # else it was compared with the level below
            compiled = arrays(tj.jit(top.run)(*top.args))
            what = f"jit of {description(top)}"
            assert_same(compiled, top.outs, top.run, top.args, what)
        if top.forward and top.reverse and top.order < 2 + seed % 2:
            check_adjoint(rng, top, description(top))
    except Exception as error:
        repeat = f"FUZZ_SEED={seed} FUZZ_EACH=1 make fuzz ARGS='-k nestings[0]'"
        error.add_note(f"repeat with: {repeat}")
        raise


@pytest.mark.parametrize("start", sampled(SEEDS[::PIECE], 3))
def test_transformed_programs(start: int):
    for seed in range(start, start + PIECE):
        check(seed)


@pytest.mark.parametrize("seed", sampled(FOUND, 3))
def test_what_failed_once(seed: int):
    check(seed)


KINKED = Level("program", lambda x: (np.abs(x),), [np.array([3e-6, 1.0])])


def kinked(slopes: list[float]) -> Claim:
    return Claim([np.ones(2)], [np.array(slopes)])


def test_kinks_within_a_step_are_measured():
    check_claim(KINKED, kinked([1.0, 1.0]), "")


@pytest.mark.parametrize("slopes", [[1.0, 1.0001], [-1.2, 1.0], [1.0, np.nan]])
def test_wrong_derivatives_beside_a_kink_are_noticed(slopes: list[float]):
    with pytest.raises(AssertionError, match="derivative 0 is off by"):
        check_claim(KINKED, kinked(slopes), "")


def wrong_sine() -> Level:
    """A function whose rule is off by a hundred thousandth."""
    sine = tj.custom_jvp(lambda x: (np.sin(x),))
    sine.defjvp(lambda xs, ts: (sine(*xs), (ts[0] * np.cos(xs[0]) * 1.00001,)))
    return Level("program", sine, [np.array([0.3, 1.2])])


@pytest.mark.parametrize("maker", [grad, vjp, jvp, linearize, jacobian])
def test_wrong_rules_are_noticed(maker: Callable[[np.random.Generator, Level], Level]):
    with pytest.raises(AssertionError, match="is off by"):
        check_level(maker(generator(0), wrong_sine()))


def test_wrong_examples_are_noticed():
    level = vmap(generator(0), Level("program", lambda x: (x[::-1],), [np.ones(3)]))
    check_level(level)
    level.outs[0][...] = level.outs[0][..., ::-1] + 1e-10
    with pytest.raises(AssertionError, match="is off by"):
        check_level(level)


@pytest.fixture(scope="session")
def first_seed() -> int:
    return int(os.environ.get("FUZZ_SEED") or secrets.randbelow(2**32))


@pytest.mark.fuzz
@pytest.mark.parametrize("piece", range(PIECES))
def test_fuzz_of_nestings(piece: int, first_seed: int):
    start = first_seed + piece * EACH
    for seed in range(start, start + EACH):
        check(seed)
