"""Random nestings of transformations over a program, each level over the one below.

Every level is a function of float64 arrays that gives a tuple of them. A level of a
derivative says what it claims: directional derivatives of the level below, which
differences of that level can check.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

import tracejit as tj

from .random_programs import ARGUMENT_BOUND, Program, generator

Arrays = list[np.ndarray]
Run = Callable[..., tuple[Any, ...]]
MOST_IN_JACOBIAN = 240
MOST_ELEMENTS = 2000


@dataclass(frozen=True)
class Claim:
    """What a derivative says about the level below.

    Parameters
    ----------
    direction : list of numpy.ndarray
        In the arguments of the level below.
    found : list of numpy.ndarray
        The derivative of its results along it.
    weights : list of numpy.ndarray or None
        With these, of the sum of its results times them.
    """

    direction: Arrays
    found: Arrays
    weights: Arrays | None = None


Claims = Callable[[Arrays], Claim]


@dataclass(frozen=True)
class Level:
    """A function with arguments.

    Parameters
    ----------
    name : str
    run : callable
    args : list of numpy.ndarray
    below : Level or None
    forward, reverse : bool
        Whether it has derivatives in this mode.
    claims : callable or None
        From results to what they say about differences of the level below.
    axes : tuple or None
        Of a `vmap`: the axes of arguments and of results.
    other : callable or None
        The same function by another way.
    """

    name: str
    run: Run
    args: Arrays
    below: "Level | None" = None
    forward: bool = True
    reverse: bool = True
    claims: Claims | None = None
    axes: tuple[tuple[int | None, ...], tuple[int, ...]] | None = None
    other: Run | None = None

    @cached_property
    def outs(self) -> Arrays:
        """The results, in plain Python."""
        return [np.asarray(y) for y in self.run(*self.args)]

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """Shapes of the results."""
        return [y.shape for y in self.outs]

    @property
    def order(self) -> int:
        """How many derivatives it takes."""
        below = self.below.order if self.below is not None else 0
        return below + (self.claims is not None)


def nested(seed: int) -> Level:
    """Return a program of this seed in up to three transformations."""
    program = Program(seed)
    level = Level("program", program, program.args, reverse=not program.has_while)
    rng = generator([seed, 2])
    for _ in range(int(rng.integers(0, 4))):
        level = wrapped(rng, level)
    return level


def wrapped(rng: np.random.Generator, below: Level) -> Level:
    """Return one transformation more; what does not apply is passed over."""
    makers = [*ALWAYS]
    makers += FORWARD if below.forward else ()
    makers += REVERSE if below.reverse else ()
    large = sum(int(np.prod(s)) for s in below.shapes) > MOST_ELEMENTS
    maker = checkpointed if large else makers[int(rng.integers(len(makers)))]
    return maker(rng, below)


def description(level: Level | None) -> str:
    """Return the names of the levels, outermost first."""
    names = []
    while level is not None:
        names.append(level.name)
        level = level.below
    return " of ".join(names)


def weights_of(shapes: Sequence[tuple[int, ...]]) -> Arrays:
    """Return weights of results: known from their shapes, inside of a trace too."""
    sizes = [int(np.prod(s)) for s in shapes]
    return [
        np.cos(1.0 + i + np.arange(n)).reshape(s)
        for i, (n, s) in enumerate(zip(sizes, shapes, strict=True))
    ]


def scalarised(run: Run) -> Callable[..., Any]:
    """Return the sum of a function's results times their weights."""

    def scalar(*args: Any) -> Any:
        outs = run(*args)
        weights = weights_of([np.shape(y) for y in outs])
        return sum(np.sum(y * w) for y, w in zip(outs, weights, strict=True))

    return scalar


def random_arrays(
    rng: np.random.Generator, shapes: Sequence[tuple[int, ...]]
) -> Arrays:
    return [np.asarray(rng.uniform(-ARGUMENT_BOUND, ARGUMENT_BOUND, s)) for s in shapes]


def directions(rng: np.random.Generator, level: Level) -> Arrays:
    """Return a direction in a level's arguments."""
    return random_arrays(rng, [np.shape(x) for x in level.args])


def pairing(xs: Sequence[Any], ys: Sequence[Any]) -> np.ndarray:
    pairs = zip(xs, ys, strict=True)
    return np.asarray(sum((np.sum(x * y) for x, y in pairs), 0.0))


# --- reverse mode -----------------------------------------------------------------


def grad(rng: np.random.Generator, below: Level) -> Level:
    n = len(below.args)
    scalar = scalarised(below.run)
    argnums = tuple(range(n))
    if rng.random() < 0.3:
        values = tj.value_and_grad(scalar, argnums)

        def run(*args: Any) -> tuple[Any, ...]:
            return values(*args)[1]

    else:
        run = tj.grad(scalar, argnums)
    direction = directions(rng, below)

    def claims(outs: Arrays) -> Claim:
        weights = weights_of(below.shapes)
        return Claim(direction, [pairing(outs, direction)], weights)

    return Level("grad", run, below.args, below, claims=claims)


def vjp(rng: np.random.Generator, below: Level) -> Level:
    n = len(below.args)

    def run(*args: Any) -> tuple[Any, ...]:
        return tj.vjp(below.run, *args[:n])[1](tuple(args[n:]))

    weights = random_arrays(rng, below.shapes)
    direction = directions(rng, below)

    def claims(outs: Arrays) -> Claim:
        return Claim(direction, [pairing(outs, direction)], weights)

    return Level("vjp", run, [*below.args, *weights], below, claims=claims)


# --- forward mode -----------------------------------------------------------------


def jvp(rng: np.random.Generator, below: Level) -> Level:
    n = len(below.args)

    def run(*args: Any) -> tuple[Any, ...]:
        return tj.jvp(below.run, args[:n], args[n:])[1]

    return pushed("jvp", run, rng, below)


def linearize(rng: np.random.Generator, below: Level) -> Level:
    n = len(below.args)

    def run(*args: Any) -> tuple[Any, ...]:
        return tj.linearize(below.run, *args[:n])[1](*args[n:])

    return pushed("linearize", run, rng, below)


def pushed(name: str, run: Run, rng: np.random.Generator, below: Level) -> Level:
    direction = directions(rng, below)
    args = [*below.args, *direction]
    return Level(
        name,
        run,
        args,
        below,
        reverse=below.reverse,
        claims=lambda outs: Claim(direction, outs),
    )


# --- Jacobians --------------------------------------------------------------------


def jacobian(rng: np.random.Generator, below: Level) -> Level:
    """Return all derivatives with respect to one argument, if they are few."""
    k = int(rng.integers(len(below.args)))
    outs = sum(int(np.prod(s)) for s in below.shapes)
    if outs * below.args[k].size > MOST_IN_JACOBIAN:
        return checkpointed(rng, below)
    modes = {"jacfwd": tj.jacfwd, "jacrev": tj.jacrev}
    if not below.reverse:
        del modes["jacrev"]
    if not below.forward:
        del modes["jacfwd"]
    names = list(rng.permutation(list(modes)))
    first, *rest = (modes[n](below.run, k) for n in names)
    direction = [np.zeros(x.shape) for x in below.args]
    direction[k] = directions(rng, below)[k]

    def claims(found: Arrays) -> Claim:
        n = direction[k].ndim
        return Claim(direction, [np.tensordot(j, direction[k], n) for j in found])

    return Level(
        str(names[0]),
        first,
        below.args,
        below,
        forward=below.forward or names[0] == "jacrev",
        reverse=below.reverse,
        claims=claims,
        other=rest[0] if rest else None,
    )


# --- what keeps the meaning -------------------------------------------------------


def same(name: str, run: Run, below: Level, forward: bool = True) -> Level:
    return Level(
        name,
        run,
        below.args,
        below,
        forward=below.forward and forward,
        reverse=below.reverse,
        other=below.run,
    )


def jitted(rng: np.random.Generator, below: Level) -> Level:
    return same("jit", tj.jit(below.run), below)


def checkpointed(rng: np.random.Generator, below: Level) -> Level:
    policies = tj.checkpoint_policies
    names = ("nothing_saveable", "everything_saveable", "dots_saveable")
    policy = getattr(policies, names[int(rng.integers(3))])
    return same("checkpoint", tj.checkpoint(below.run, policy=policy), below)


def custom_jvp(rng: np.random.Generator, below: Level) -> Level:
    """Return the function with its own derivative as the rule."""

    def function(*args: Any) -> tuple[Any, ...]:
        return below.run(*args)

    wrapper = tj.custom_jvp(function)
    wrapper.defjvp(lambda xs, ts: tj.jvp(below.run, xs, ts))
    return same("custom_jvp", wrapper, below)


def custom_vjp(rng: np.random.Generator, below: Level) -> Level:
    def function(*args: Any) -> tuple[Any, ...]:
        return below.run(*args)

    wrapper = tj.custom_vjp(function)
    wrapper.defvjp(
        lambda *xs: (below.run(*xs), xs),
        lambda xs, cts: tj.vjp(below.run, *xs)[1](cts),
    )
    return same("custom_vjp", wrapper, below, forward=False)


def custom_batching(rng: np.random.Generator, below: Level) -> Level:
    """Return the function with `vmap` of itself as the rule."""

    def function(*args: Any) -> tuple[Any, ...]:
        return below.run(*args)

    wrapper = tj.custom_batching(function)

    def rule(size: int, mapped: Sequence[bool], *args: Any) -> Any:
        axes = tuple(0 if m else None for m in mapped)
        outs = tj.vmap(below.run, axes, axis_size=size)(*args)
        return outs, (True,) * len(outs)

    wrapper.def_vmap(rule)
    return same("custom_batching", wrapper, below)


# --- vmap -------------------------------------------------------------------------


def vmap(rng: np.random.Generator, below: Level) -> Level:
    n = int(rng.choice([1, 2, 3]))
    mapped = rng.random(len(below.args)) < 0.75
    mapped[int(rng.integers(len(mapped)))] = True
    args, ins = [], []
    for x, is_mapped in zip(below.args, mapped, strict=True):
        axis = int(rng.integers(-x.ndim - 1, x.ndim + 1)) if is_mapped else None
        ins.append(axis)
        if axis is None:
            args.append(x)
        else:
            shape = np.expand_dims(x, axis).shape
            shape = tuple(
                n if d == axis % len(shape) else s for d, s in enumerate(shape)
            )
            args.append(random_arrays(rng, [shape])[0])
    outs = tuple(int(rng.integers(-len(s) - 1, len(s) + 1)) for s in below.shapes)
    axes = tuple(ins), outs
    inner = tj.jit(below.run)
    return Level(
        f"vmap{axes}",
        tj.vmap(below.run, *axes),
        args,
        below,
        forward=below.forward,
        reverse=below.reverse,
        axes=axes,
        other=tj.vmap(inner, *axes),
    )


ALWAYS = (jitted, checkpointed, custom_batching, vmap, vmap, vmap)
FORWARD = (jvp, jvp, linearize, jacobian, custom_jvp)
REVERSE = (grad, grad, vjp, vjp, jacobian, custom_vjp)
