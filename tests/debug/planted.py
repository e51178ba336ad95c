"""Functions with one line that makes NaN or inf, marked by ``# here``.

A case says what it is called with, and what `tj.debug.nans` must say of it: whether the
line makes it in its gradient, in which turns of loops, for which examples of `vmap`.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import tracejit as tj

F32 = np.float32


@dataclass(frozen=True)
class Case:
    """A planted fault, and what is to be said of it."""

    fn: Callable[..., Any]
    args: tuple[Any, ...]
    line: str
    gradient: bool
    turns: tuple[int, ...]
    example: tuple[int, ...]
    infinities: bool
    differentiate: bool


CASES: list[Case] = []


def case(
    *args: Any,
    gradient: bool = False,
    turns: tuple[int, ...] = (),
    example: tuple[int, ...] = (),
    infinities: bool = False,
    grad: bool = False,
    slope: bool = False,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Enter a function.

    With `gradient` its gradient is called, and the fault is there; with `grad` its
    gradient is called, and the fault is in the value; with `slope` the function takes
    a gradient itself, and the fault is there.
    """

    def enter(fn: Callable[..., Any]) -> Callable[..., Any]:
        lines, start = inspect.getsourcelines(fn)
        (at,) = (i for i, text in enumerate(lines) if "# here" in text)
        line = f"planted.py:{start + at}"
        what = (gradient or slope, turns, example, infinities, gradient or grad)
        CASES.append(Case(fn, args, line, *what))
        return fn

    return enter


ONES = np.ones((3, 4), F32)
RAMP = np.arange(12, dtype=F32).reshape(3, 4)
ROW = np.array([1.0, 4.0, -9.0, 16.0], F32)
BIG = np.array([1.0, 50.0, 100.0, 2.0], F32)
TINY = np.array([0.0, 1.0, 2.0], F32)

# --- one line, in fused kernels ---------------------------------------------------


@case(ROW)
def sqrt_of_negative(x):
    y = x * 2 + 1
    z = np.sqrt(y)  # here
    return np.tanh(z) * y


@case(ROW)
def log_of_negative(x):
    y = x + 1
    return np.log(y).sum()  # here


@case(TINY)
def log_of_zero_times_zero(x):
    y = np.log(x)  # here
    return x * y


@case(TINY)
def zero_by_zero(x):
    y = x * 3
    return np.exp(-(x / y))  # here


@case(BIG)
def softmax_unshifted(x):
    e = np.exp(x)  # here
    return e / np.sum(e)


@case(ONES)
def norm_of_constant_rows(x):
    centred = x - x.mean(axis=1, keepdims=True)
    spread = centred.std(axis=1, keepdims=True)
    return centred / spread  # here


@case(ROW)
def power_of_negative(x):
    y = x * 1
    return (y**0.5).sum()  # here


@case(np.array([0.5, 1.0, 1.5], F32))
def arcsin_outside(x):
    return 1 + np.arcsin(x)  # here


@case(np.array([0.5, 1.0, 1.5], F32))
def arctanh_outside(x):
    y = np.arctanh(x)  # here
    return y.max()


@case(np.array([2.0, 1.0, 0.5], F32))
def arccosh_below_one(x):
    return np.arccosh(x) * 2  # here


@case(np.full(4, 3e38, F32))
def sum_overflows(x):
    total = np.sum(x)  # here
    return total - total


@case(np.full(4, 1e30, F32))
def square_overflows(x):
    y = x * x  # here
    return y / y.max()


@case(np.full((2, 3), 1e20, F32))
def product_overflows(x):
    y = x @ x.T  # here
    return y - y


@case(np.array([1e300, 1.0]))
def narrowing_overflows(x):
    y = x.astype(np.float32)  # here
    return y * 0


@case(np.array([4.0, 2.0], F32), np.array([2.0, 0.0], F32))
def remainder_of_zero(x, y):
    return np.remainder(x, y)  # here


@case(np.array([3.0, 1.0], F32))
def variance_of_one_less(x):
    mean = x.mean()
    total = np.sum((x - mean) ** 2)
    n = x[1] - 1
    return np.sqrt(total * 0 / n)  # here


@case(np.zeros(3, F32), np.zeros(3, F32))
def cosine_of_zeros(a, b):
    dot = np.sum(a * b)
    size = np.sqrt(np.sum(a * a)) * np.sqrt(np.sum(b * b))
    return dot / size  # here


@case(ONES)
def masked_whole_row(x):
    hidden = np.where(x > 0, -np.inf, x)
    e = hidden - hidden.max(axis=1, keepdims=True)  # here
    return np.exp(e)


@case(ROW)
def mask_by_product(x):
    keep = (x > 0).astype(np.float32)
    y = np.log(x)  # here
    return y * keep


@case(np.array([0.0, 1.0], F32))
def entropy(p):
    return -np.sum(p * np.log(p))  # here


@case(np.array([-2.0, 3.0], F32))
def log1p_below(x):
    y = np.log1p(x)  # here
    return y.mean()


@case(np.array([720.0, 1.0]))
def cosh_ratio(x):
    c = np.cosh(x)  # here
    return np.sinh(x) / c


@case(np.array([1.0 + 0j, 0.0]))
def complex_by_zero(x):
    y = x / x  # here
    return np.abs(y)


@case(RAMP)
def one_row_of_many(x):
    d = x[:, 0] - 4
    y = d / d  # here
    return (x * y[:, None]).sum(axis=0)


@case(ROW)
def through_helpers(x):
    def helper(y):
        return np.sqrt(y)  # here

    return np.sum(helper(x) ** 2)


@case(np.array([0.0, 2.0], F32), infinities=True)
def inverse_of_zero(x):
    y = 1 / x  # here
    return y + 1


@case(BIG, infinities=True)
def exp_overflows(x):
    return np.exp(x) + 1  # here


@case(np.array([0.0, 2.0], F32), infinities=True)
def log_is_inf(x):
    z = np.log(x)  # here
    return np.maximum(z, z - 1)


# --- the gradient -----------------------------------------------------------------


@case(TINY, gradient=True)
def slope_of_sqrt(x):
    y = np.sqrt(x)  # here
    return np.sum(y * x)


@case(np.zeros(3, F32), gradient=True)
def slope_of_root_of_squares(x):
    return np.sum(x * x) ** 0.5  # here


@case(TINY, gradient=True)
def slope_of_cbrt(x):
    return np.sum(np.cbrt(x) * x)  # here


@case(TINY, gradient=True)
def slope_under_where(x):
    y = np.sqrt(x)  # here
    return np.sum(np.where(x > 0, y, 0))


@case(TINY, gradient=True)
def slope_of_log_under_where(x):
    safe = np.where(x > 0, np.log(x), 0)  # here
    return np.sum(safe)


@case(TINY, gradient=True)
def slope_of_power(x):
    y = x**0.5  # here
    return np.sum(y * x)


@case(np.array([0.0, 1.0, -1.0], F32), gradient=True)
def slope_of_arccos(x):
    angle = np.arccos(x)  # here
    return np.sum(angle * (x - 1) * (x + 1))


@case(np.zeros((3, 3), F32), gradient=True)
def slope_of_distances(x):
    d = x[:, None, :] - x[None, :, :]
    r = np.sum(d * d, axis=-1) ** 0.25  # here
    return np.sum(r)


@case(TINY, gradient=True)
def slope_of_angle(x):
    return np.sum(np.arctan2(x, 2 * x))  # here


@case(ROW, grad=True)
def value_before_gradient(x):
    y = np.sqrt(x)  # here
    return np.sum(y)


@case(ROW, grad=True)
def value_under_where(x):
    y = np.sqrt(x)  # here
    return np.sum(np.where(x > 0, y, 0))


# --- loops: which turn ------------------------------------------------------------


@case(np.array([5.0, 30.0], F32), turns=(3,))
def sqrt_in_fori_loop(x):
    def turn(i, c):
        return np.sqrt(c - 1)  # here

    return tj.fori_loop(0, 6, turn, x)


@case(F32(3.0), np.array([1.0, 2.0, 3.0, 4.0], F32), turns=(2,))
def division_in_scan(start, xs):
    def turn(c, x):
        d = x - 3
        c = c + d / d  # here
        return c, c * 2

    return tj.scan(turn, start, xs)


@case(np.array([3.0, 1.0], F32), turns=(2,))
def log_in_while(x):
    def goes_on(state):
        return state[0] < 6

    def turn(state):
        n, c = state
        return n + 1, np.log(c + 1 - n)  # here

    return tj.while_loop(goes_on, turn, (0, x))


@case(np.array([1.0, 2.0], F32), turns=(1, 2))
def nested_loops(x):
    def outer(i, c):
        def inner(j, d):
            far = 3 * i + j - 5
            return d + (far * 0.0) / far  # here

        return tj.fori_loop(0, 3, inner, c)

    return tj.fori_loop(0, 3, outer, x)


@case(np.array([1.0, 2.0], F32), gradient=True, turns=(3,))
def slope_in_scan(x):
    def turn(c, k):
        r = np.sqrt(k)  # here
        return c + np.sum(r * x), r

    ks = x[0] * np.array([3.0, 2.0, 1.0, 0.0, 4.0], F32)
    return tj.scan(turn, F32(0), ks)[0]


@case(np.array([4.0, 1.0], F32))
def python_loop(x):
    for _ in range(4):
        x = np.sqrt(x - 0.5)  # here
    return x


@case(np.array([80.0, 1.0], F32), turns=(2,))
def growth_in_loop(x):
    def turn(i, c):
        return np.exp(c)  # here

    y = tj.fori_loop(0, 3, turn, x / 20)
    return y - y


@case(np.array([1.0, 2.0], F32), turns=(4,))
def reverse_scan(xs):
    def turn(c, k):
        return c + (k - 2) * 0 / (k - 2), k  # here

    ks = np.array([2.0, 1.0, 1.0, 1.0, 1.0], F32) * xs[0]
    return tj.scan(turn, F32(0), ks, reverse=True)[0]


# --- batches: which example -------------------------------------------------------


@case(RAMP - 2, example=(0,))
def sqrt_in_vmap(x):
    def one(row):
        return np.sum(np.sqrt(row))  # here

    return tj.vmap(one)(x)


@case(RAMP, np.array([1.0, 2.0, 0.0], F32), example=(2,))
def division_in_vmap(x, by):
    def one(row, b):
        return row * (b / b)  # here

    return tj.vmap(one)(x, by)


@case(3.5 - RAMP.reshape(3, 2, 2), example=(2, 0))
def nested_vmap(x):
    def one(row):
        return np.log(row + 5)  # here

    return tj.vmap(tj.vmap(one))(x)


@case(np.array([[4.0, 1.0], [2.0, 0.0], [1.0, 1.0]], F32), gradient=True, example=(1,))
def slope_in_vmap(x):
    def one(row):
        return np.sum(np.sqrt(row) * row)  # here

    return np.sum(tj.vmap(one)(x))


@case(np.array([[4.0, 1.0], [2.0, 0.0], [1.0, 1.0]], F32), slope=True, example=(1,))
def vmap_of_grad(x):
    def one(row):
        return np.sum(np.sqrt(row) * row)  # here

    return tj.vmap(tj.grad(one))(x)


@case(np.array([30.0, 5.0, 30.0], F32), turns=(3,), example=(1,))
def loop_in_vmap(x):
    def one(start):
        def turn(i, c):
            return np.sqrt(c - 1)  # here

        return tj.fori_loop(0, 4, turn, start)

    return tj.vmap(one)(x)


# --- branches, sub-functions, writes ----------------------------------------------


@case(ROW)
def in_a_branch(x):
    def big(y):
        return np.sqrt(y)  # here

    return tj.cond(x[0] > 0, big, lambda y: y, x)


@case(ROW, np.array(2))
def in_a_switch(x, which):
    branches = (np.sin, np.cos, lambda y: np.log(y))  # here
    return tj.switch(which, branches, x)


@case(ROW)
def in_checkpoint(x):
    @tj.checkpoint
    def block(y):
        return np.sqrt(y) * 2  # here

    return block(x)


@case(ROW)
def in_custom_rule(x):
    @tj.custom_jvp
    def root(y):
        return np.sqrt(y)  # here

    root.defjvp(lambda primals, tangents: (root(primals[0]), tangents[0]))
    return root(x) + 1


@case(TINY + 1)
def written_in_place(x):
    y = np.zeros(4, np.float32)
    y[1:] = x
    y[:2] /= y[0] * 2  # here
    return y


@case(np.array([1.0, 4.0, -9.0, 16.0], F32))
def into_the_argument(x):
    x[...] = np.sqrt(x)  # here
