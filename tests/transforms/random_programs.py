"""Random differentiable functions of NumPy arrays, from a seed.

A program draws its steps while it runs, from its seed and the shapes it sees alone, so
that it is the same on arrays, on traced values and on one example of a batch. Values
stay small: each carries a bound, and what could pass 8 goes through a bounded function.
Kinks (maximum, sort, where) are few, and met exactly by no argument drawn here.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

import tracejit as tj

BOUND = 8.0
ARGUMENT_BOUND = 2.0
MOST_ELEMENTS = 60
SIZES = (1, 2, 2, 3, 3, 4)

Bounded = tuple[Any, float]


class Program:
    """A function of float64 arrays that gives a tuple of them.

    Attributes
    ----------
    args : list of numpy.ndarray
    has_while : bool
        Whether it may hold a `while_loop`, which has derivatives forward only.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        rng = generator([seed, 0])
        self.has_while = bool(rng.random() < 0.15)
        sizes = [int(n) for n in rng.choice(SIZES, 2)]
        if rng.random() < 0.04:
            sizes[0] = 0
        self.steps = int(rng.integers(1, 5))
        self.results = int(rng.integers(1, 3))
        self.args = []
        for _ in range(int(rng.integers(1, 4))):
            shape = tuple(int(n) for n in rng.choice(sizes, int(rng.integers(0, 3))))
            self.args.append(rng.uniform(-ARGUMENT_BOUND, ARGUMENT_BOUND, shape))

    def __call__(self, *args: Any) -> tuple[Any, ...]:
        rng = generator([self.seed, 1])
        maker = Maker(rng, [(x, ARGUMENT_BOUND) for x in args], self.has_while)
        maker.take(self.steps)
        return tuple(maker.any()[0] for _ in range(self.results))


def generator(seed: int | list[int]) -> np.random.Generator:
    """Return a generator, inside of a trace too, where `default_rng` raises."""
    return np.random.Generator(np.random.PCG64(seed))


def bounded(x: Any, bound: float) -> Bounded:
    """Return a value with its bound, brought down if that is large."""
    return (x, bound) if bound <= BOUND else (np.tanh(x * (2 / bound)), 1.0)


class Maker:
    """Draws steps over a pool of values; later ones are taken more often."""

    def __init__(
        self,
        rng: np.random.Generator,
        pool: list[Bounded],
        has_while: bool = False,
        depth: int = 0,
    ) -> None:
        self.rng, self.pool = rng, list(pool)
        self.has_while, self.depth = has_while, depth

    # --- drawing

    def pick(self, items: Any) -> Any:
        items = list(items)
        return items[int(self.rng.integers(len(items)))]

    def chance(self, p: float) -> bool:
        return bool(self.rng.random() < p)

    def any(self) -> Bounded:
        return self.pool[-1] if self.chance(0.5) else self.pick(self.pool)

    def array(self, ndim: int = 1) -> Bounded:
        """Return a value of at least this rank."""
        found = [v for v in self.pool if np.ndim(v[0]) >= ndim]
        if found:
            return self.pick(found)
        x, b = self.any()
        return np.stack([np.sin(x), x * 0.5]).reshape((2,) + (1,) * (ndim - 1)) if (
            np.ndim(x) == 0
        ) else np.stack([x, -x]), max(b, 1.0)

    def mate(self, x: Any) -> Bounded:
        """Return a value that broadcasts against `x`."""

        def fits(y: Any) -> bool:
            try:
                shape = np.broadcast_shapes(np.shape(x), np.shape(y))
            except ValueError:
                return False
            return int(np.prod(shape)) <= MOST_ELEMENTS and len(shape) <= 3

        found = [v for v in self.pool if fits(v[0])]
        return self.pick(found) if found else (x, BOUND)

    def seed(self) -> int:
        return int(self.rng.integers(2**31))

    def axis(self, x: Any) -> int:
        return int(self.rng.integers(-np.ndim(x), np.ndim(x)))

    def places(self, low: int, high: int, shape: int | tuple[int, ...]) -> list[Any]:
        """Return indices as a list: arrays from NumPy's generators are no constants."""
        return self.rng.integers(low, high, shape).tolist()

    def take(self, steps: int) -> None:
        kinds = SIMPLE + (STRUCTURED if self.depth < 2 else ())
        for _ in range(steps):
            value = self.pick(kinds)(self)
            if value is None or np.ndim(value[0]) > 3:
                continue
            if np.size(value[0]) <= MOST_ELEMENTS:
                self.pool.append(bounded(*value))

    def body(self, seed: int, values: list[Bounded]) -> Bounded:
        """Run a program of its own on some values."""
        rng = generator(seed)
        inner = Maker(rng, values, self.has_while, self.depth + 1)
        inner.take(int(rng.integers(1, 3)))
        return inner.pool[-1]

    def function(self, seed: int) -> Callable[..., Any]:
        """Return a function of values that are at most `BOUND`."""

        def function(*xs: Any) -> Any:
            return self.body(seed, [(x, BOUND) for x in xs])[0]

        return function


def fitted(x: Any, like: Any) -> Any:
    """Return a value of the shape of `like` that depends on `x`, within 2."""
    if np.shape(x) == np.shape(like):
        return 2 * np.sin(x)
    return np.sin(like) + np.cos(np.sum(x))


# --- elementwise ------------------------------------------------------------------


def unary(s: Maker) -> Bounded:
    x, b = s.any()
    return s.pick(
        (
            lambda: (np.sin(x), 1.0),
            lambda: (np.cos(2 * x), 1.0),
            lambda: (np.tanh(x), 1.0),
            lambda: (np.arctan(x), 1.6),
            lambda: (np.sqrt(1.5 + x * x), b + 1.3),
            lambda: (np.log1p(x**2), b),
            lambda: (np.exp(np.sin(x)), 2.8),
            lambda: (1 / (1 + np.exp(-x)), 1.0),
            lambda: (np.square(x), b * b),
            lambda: (x**3 * 0.1, b**3 / 10),
            lambda: (-x, b),
            lambda: (np.expm1(-np.abs(x)) + np.abs(x) * 0.5, b),
        )
    )()


def binary(s: Maker) -> Bounded:
    x, b = s.any()
    y, c = s.mate(x)
    return s.pick(
        (
            lambda: (x + y, b + c),
            lambda: (x - 0.3 * y, b + c),
            lambda: (x * y, b * c),
            lambda: (x / (1.5 + np.sin(y)), 2 * b),
            lambda: (np.arctan2(x, y * y + 1), 1.6),
            lambda: (np.logaddexp(x, y), b + c + 1),
            lambda: (np.hypot(x, 1 + np.exp(-np.square(y))), b + 2),
            lambda: ((1.2 + np.sin(x)) ** np.tanh(y), 10.0),
        )
    )()


def kinked(s: Maker) -> Bounded:
    x, b = s.any()
    y, c = s.mate(x)
    most = max(b, c)
    return s.pick(
        (
            lambda: (np.maximum(x, y * 0.9 + 0.1), most + 1),
            lambda: (np.minimum(x, 0.21), b + 1),
            lambda: (np.abs(x - 0.13), b + 1),
            lambda: (np.clip(x, -0.71, 0.83), 1.0),
            lambda: (np.where(x > 0.17, np.sin(x), y), most + 1),
            lambda: (np.where(x > y + 0.011, x * y, x - y), b * c + most * 2),
        )
    )()


def masked(s: Maker) -> Bounded:
    x, b = s.any()
    chances = generator(s.seed()).random(np.shape(x))
    mask = np.array((chances < 0.5).tolist(), bool).reshape(np.shape(x))
    if s.chance(0.5):
        return np.where(mask, x, np.cos(x)), b + 1
    return np.multiply(x, 1.5, where=mask, out=np.zeros(np.shape(x))), 1.5 * b


# --- reductions, products, shapes -------------------------------------------------


def reduction(s: Maker) -> Bounded:
    x, b = s.array()
    axis = s.pick((None, s.axis(x), s.axis(x)))
    keep = s.chance(0.3)
    n = np.size(x) if axis is None else np.shape(x)[axis]
    how: dict[str, Any] = {"axis": axis, "keepdims": keep}
    if not np.size(x):
        return np.sum(x, **how), b
    return s.pick(
        (
            lambda: (np.sum(x, **how), n * b),
            lambda: (np.mean(x, **how), b),
            lambda: (np.max(x, **how), b),
            lambda: (np.min(x, **how), b),
            lambda: (np.prod(1 + np.sin(x) / 2, **how), 1.5**n),
            lambda: (np.var(x, **how), b * b),
            lambda: (np.sqrt(np.sum(x * x + 0.1, **how)), (b + 1) * n),
            lambda: (np.log(np.sum(np.exp(x), **how)), b + n),
        )
    )()


def along(s: Maker) -> Bounded:
    """Something along an axis that keeps the shape."""
    x, b = s.array()
    axis = s.axis(x)
    n = np.shape(x)[axis]
    if not np.size(x):
        return np.cumsum(x, axis=axis), b

    def softmax() -> Bounded:
        e = np.exp(x - np.max(x, axis=axis, keepdims=True))
        return e / np.sum(e, axis=axis, keepdims=True), 1.0

    def norm() -> Bounded:
        centred = x - np.mean(x, axis=axis, keepdims=True)
        var = np.mean(centred * centred, axis=axis, keepdims=True)
        return centred / np.sqrt(var + 0.3), 4.0

    return s.pick(
        (
            softmax,
            norm,
            lambda: (np.cumsum(x, axis=axis), b * n),
            lambda: (np.cumprod(1 + np.sin(x) / 2, axis=axis), 1.5**n),
            lambda: (np.sort(x, axis=axis), b),
            lambda: (np.maximum.accumulate(x, axis=axis), b),
        )
    )()


def product(s: Maker) -> Bounded:
    x, b = s.array(2)
    y, c = s.any()
    n, shape = np.ndim(x), np.shape(x)
    forms: list[Callable[[], Bounded]] = [
        lambda: (x @ np.swapaxes(x, -1, -2), b * b * shape[-1]),
        lambda: (np.einsum("...ij,...ik->...jk", x, np.sin(x)), b * shape[-2]),
    ]
    if np.ndim(y) == 1 and np.shape(y)[0] == shape[-1]:
        forms.append(lambda: (x @ y, b * c * shape[-1]))
    if np.ndim(y) == 2 and np.shape(y)[0] == shape[-1]:
        forms.append(lambda: (np.dot(x, y), b * c * shape[-1]))
    if n == 2 and np.ndim(y) == 2:
        forms.append(
            lambda: (
                (np.outer(x[:, 0], y[0]), b * c)
                if 0 not in (*shape, *np.shape(y))
                else (x, b)
            )
        )
        forms.append(lambda: (np.tensordot(x, y, 0).reshape(-1, 1), b * c))
    if n == 2 and shape[0] and shape[1]:
        forms += [lambda: solved(x, b), lambda: cholesky(x, b)]
    return s.pick(forms)()


def solved(x: Any, b: float) -> Bounded:
    a = np.tanh(x @ x.T / b**2) + (2 + x.shape[0]) * np.eye(x.shape[0])
    return np.linalg.solve(a, x), b


def cholesky(x: Any, b: float) -> Bounded:
    n = x.shape[0]
    a = x @ x.T / b**2 + np.eye(n)
    return np.linalg.cholesky(a), 1.0 + n * x.shape[1]


def reshaped(s: Maker) -> Bounded:
    x, b = s.array()
    axis, shape = s.axis(x), np.shape(x)
    y, c = s.mate(x)
    return s.pick(
        (
            lambda: (np.reshape(x, (-1,) if np.size(x) else shape), b),
            lambda: (np.transpose(x), b),
            lambda: (np.moveaxis(x, axis, 0), b),
            lambda: (np.flip(x, axis), b),
            lambda: (np.roll(x, 1, axis), b),
            lambda: (np.concatenate([x, np.sin(x)], axis), max(b, 1)),
            lambda: (np.stack([x, x * 0.5], axis), b),
            lambda: (np.expand_dims(x, axis), b),
            lambda: (np.broadcast_to(x, (2, *shape)), b),
            lambda: (np.pad(x, 1), b),
            lambda: (np.repeat(x, 2, axis), b),
            lambda: (np.broadcast_arrays(x, y)[1], c),
            lambda: (np.diff(x, axis=axis) if shape[axis] else x, 2 * b),
        )
    )()


# --- indexing and writes ----------------------------------------------------------


def index_of(s: Maker, n: int) -> Any:
    forms: list[Any] = [slice(None), slice(None, None, -1), slice(1, None), None]
    if n:
        forms += [int(s.rng.integers(-n, n)), slice(None, -1)]
        forms.append(s.places(-n, n, int(s.rng.integers(1, 4))))
    return s.pick(forms)


def indexed(s: Maker) -> Bounded:
    x, b = s.array()
    n = np.shape(x)[0]
    if not n:
        return x[::-1], b
    return s.pick(
        (
            lambda: (x[index_of(s, n)], b),
            lambda: (x[..., index_of(s, np.shape(x)[-1])], b),
            lambda: (np.take(x, s.places(0, n, (2, 2)), axis=0), b),
            lambda: (x[s.places(0, n, 3)], b),
            lambda: (np.take_along_axis(x, np.argsort(x, axis=0), 0), b),
        )
    )()


def written(s: Maker) -> Bounded:
    """Write into an array of its own, once or twice."""
    x, b = s.array()
    n = np.shape(x)[0]
    y, c = s.any()
    out = np.copy(x) if s.chance(0.6) else np.zeros(np.shape(x))
    for _ in range(int(s.rng.integers(1, 3))):
        write_once(s, out, x, y if np.ndim(y) == 0 else np.sum(np.sin(y)), n)
    return out, 4 * (b + c + 10 + np.size(y))


def write_once(s: Maker, out: Any, x: Any, number: Any, n: int) -> None:
    kind = int(s.rng.integers(7))
    if kind == 0:
        out[1:] = x[:-1] * 0.5
    elif kind == 1:
        out += number
    elif kind == 2 and n:
        out[int(s.rng.integers(-n, n))] = number
    elif kind == 3 and n:
        out[s.rng.permutation(n)[:2].tolist()] *= number
    elif kind == 4 and n:
        np.add.at(out, s.places(0, n, 3), number)
    elif kind == 5:
        view = out[..., ::2]
        view -= number
    else:
        out[out > 0.37] = 0.25


# --- control flow and functions ---------------------------------------------------


def chosen(s: Maker) -> Bounded:
    x, b = s.any()
    y, _ = s.any()
    fs = [s.function(s.seed()) for _ in range(2)]
    first, second = (lambda u, v, f=f: fitted(f(u, v), x) for f in fs)
    if s.chance(0.3):
        index = int(s.rng.integers(-1, 4))
        return tj.switch(index, [first, second, lambda u, v: u * 0.5], x, y), b + 2
    test = np.sum(x) > 0.1 if s.chance(0.7) else s.chance(0.5)
    if s.chance(0.2):  # one branch reads from around
        return tj.cond(test, lambda: np.sin(x), lambda: np.cos(x)), 1.0
    return tj.cond(test, first, second, x, y), 2.0


def scanned(s: Maker) -> Bounded:
    xs, _ = s.array()
    init, _ = s.any()
    around, _ = s.any()
    f, g = s.function(s.seed()), s.function(s.seed())
    reads = s.chance(0.5)
    kept = s.chance(0.2)

    def turn(carry: Any, x: Any) -> tuple[Any, Any]:
        h, count = carry
        values = (h, x, around) if reads else (h, x)
        y = f(*values)
        h = h if kept else fitted(g(*values, y), h)
        return (h, count + 1), np.sin(y)

    how = {"reverse": s.chance(0.3), "unroll": s.pick((1, 1, 2))}
    (h, _), ys = tj.scan(turn, (init, 0), xs, **how)
    if s.chance(0.5) and np.ndim(ys) <= 3:
        return ys, 1.0
    return h, 4 * ARGUMENT_BOUND + BOUND


def counted(s: Maker) -> Bounded:
    x, _ = s.any()
    f, turns = s.function(s.seed()), int(s.rng.integers(0, 4))
    y, _ = s.mate(x)

    def turn(i: Any, h: Any) -> Any:
        return fitted(f(h * np.cos(i * 0.5), y), h)

    return tj.fori_loop(0, turns, turn, x), BOUND + 2


def waited(s: Maker) -> Bounded | None:
    if not s.has_while:
        return None
    x, _ = s.any()
    f, most = s.function(s.seed()), int(s.rng.integers(0, 4))

    def goes_on(state: Any) -> Any:
        return (state[1] < most) & (np.sum(state[0]) < 3.21)

    def turn(state: Any) -> Any:
        return fitted(f(state[0], x), state[0]), state[1] + 1

    return tj.while_loop(goes_on, turn, (x, 0))[0], BOUND + 2


def mapped(s: Maker) -> Bounded:
    x, _ = s.array()
    f = s.function(s.seed())
    if s.chance(0.3):
        return tj.associative_scan(lambda a, b: np.sin(a) * b + a, x), BOUND * 4
    if s.chance(0.3):
        return tj.map(lambda row: np.sin(f(row)), x), 1.0
    y, _ = s.any()
    return tj.vmap(lambda row, y: np.sin(f(row, y)), (0, None))(x, y), 1.0


def called(s: Maker) -> Bounded:
    """Part of the program in `jit` or `checkpoint`."""
    (x, _), (y, _) = s.any(), s.any()
    wrap = s.pick((tj.jit, tj.checkpoint))
    return wrap(s.function(s.seed()))(x, y), BOUND


def ruled(s: Maker) -> Bounded:
    """A function with its own derivative as a rule, values and tangents in one."""
    (x, _), (y, _) = s.any(), s.any()
    f = s.function(s.seed())
    wrapper = tj.custom_jvp(lambda u, v: f(u, v))
    wrapper.defjvp(lambda xs, ts: tj.jvp(f, xs, ts))
    return wrapper(x, y), BOUND


def derived(s: Maker) -> Bounded | None:
    """A derivative inside of the program."""
    (x, _), (y, _) = s.any(), s.any()
    if s.has_while or s.depth:
        return None
    f = s.function(s.seed())
    if s.chance(0.5):
        return np.tanh(tj.jvp(lambda u: f(u, y), (x,), (np.cos(x),))[1]), 1.0
    slope = tj.grad(lambda u: np.sum(np.sin(f(u, y))))(x * 1.0)
    return np.tanh(slope), 1.0


SIMPLE = (unary, unary, binary, binary, kinked, masked, reduction, reduction, along)
SIMPLE += (product, reshaped, reshaped, indexed, indexed, written)
STRUCTURED = (chosen, scanned, scanned, counted, waited, mapped, called, ruled, derived)
