"""Short last axes: columns are values of their own, and vectors run along rows."""

import numpy as np
import pytest

import tracejit as tj
from tests.isas import jitted
from tests.sampling import in_turn
from tracejit.kernels.tree import tree_sum

ISAS = ["auto", "baseline"]
RNG = np.random.default_rng(3)


def normal(*shape: int, dtype: str = "f4") -> np.ndarray:
    return (RNG.normal(size=shape) * 3).astype(dtype)


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def shuffled(x):
    """Pixels from channels: the last axis of what is stored is a digit of one."""
    h, w, c = x.shape
    return x.reshape(h, w, 2, c // 2).transpose(0, 1, 3, 2) * 2


# What is given, and what is computed of it: points (n, c), and matrices of c columns.
FORMS = {
    "mean": lambda x: x - x.mean(-1, keepdims=True),
    "norm": lambda x: x / np.sqrt((x * x).sum(-1, keepdims=True)),
    "two results": lambda x: (x - x.sum(-1, keepdims=True), x.sum(-1)),
    "extrema": lambda x: (x - x.min(-1, keepdims=True)) / x.max(-1, keepdims=True),
    "softmax": softmax,
    "where the largest is": lambda x: x * (x.argmax(-1)[:, None] + 1),
    "backwards": lambda x: x[:, ::-1] * 2,
    "weights": lambda x: x * x[:, :1],
    "from columns": lambda x: np.ascontiguousarray(x.reshape(x.shape[1], -1).T) + 1,
    "turned": lambda x: x @ np.ascontiguousarray(x[: x.shape[1]]),
    "turned by rows": lambda x: x @ x[: x.shape[1]].T + x[0],
    "of all": lambda x: x[:, ::-1] - x.sum(),
    "of all rows": lambda x: x[:, ::-1] - x.mean(0),
    "shifted": lambda x: np.pad(x[:-1], ((1, 0), (0, 0))) * x.sum(-1, keepdims=True),
    "rolled": lambda x: np.roll(x, 1, -1) - x,
    "differences": lambda x: x[1:] - x[:-1] * x[1:].sum(-1, keepdims=True),
}

# Indices are twice as wide; a row is left over; bounds; a sum over the rows as well.
GATHERED = {"where the largest is", "differences", "shifted", "of all"}


@pytest.mark.parametrize(("name", "isa"), in_turn(FORMS, ISAS))
@pytest.mark.parametrize("columns", [2, 3, 4])
def test_values_are_numpys(name: str, isa: str, columns: int) -> None:
    for rows in (64, 100, 1003):
        x = normal(rows, columns)
        got, want = jitted(FORMS[name], isa, x), FORMS[name](x)
        pairs = (
            zip(got, want, strict=True) if isinstance(want, tuple) else [(got, want)]
        )
        for g, w in pairs:
            assert g.shape == w.shape
            np.testing.assert_allclose(g, w, rtol=3e-4, atol=3e-5)


@pytest.mark.parametrize(
    ("dtype", "isa"), in_turn(["f4", "f8", "f2", "i4", "u1", "i8"], ISAS)
)
def test_every_dtype(dtype: str, isa: str) -> None:
    x = np.abs(normal(203, 3)).astype(dtype)
    for fn in (
        lambda x: x[:, ::-1] + x.sum(-1, keepdims=True).astype(x.dtype),
        lambda x: x * x.max(-1, keepdims=True),
    ):
        got, want = jitted(fn, isa, x), fn(x)
        assert got.dtype == want.dtype
        exact = x.dtype.kind != "f"
        rtol = 0 if exact else 4 * np.finfo(dtype).eps
        np.testing.assert_allclose(got, want, rtol=rtol)


@pytest.mark.parametrize("columns", [2, 3, 4])
@pytest.mark.parametrize("name", [name for name in FORMS if name not in GATHERED])
def test_nothing_is_gathered(name: str, columns: int) -> None:
    x = normal(1 << 10, columns)
    text = tj.jit(FORMS[name]).lower(x).compile().as_text()
    assert "masked.scatter" not in text
    assert "masked.gather" not in text


@pytest.mark.parametrize("columns", [2, 3, 4])
def test_sums_follow_the_tree(columns: int) -> None:
    x = normal(1000, columns) * np.float32(8) ** normal(1000, columns)
    got = tj.jit(lambda x: x[:, ::-1] * x.sum(-1, keepdims=True))(x)
    np.testing.assert_array_equal(got, x[:, ::-1] * tree_sum(x)[:, None])
    zeros = np.full((64, columns), -0.0, np.float32)
    plus = tj.jit(lambda x: np.copysign(1, x.sum(-1, keepdims=True)) + x[:, ::-1])
    np.testing.assert_array_equal(plus(zeros), np.ones_like(zeros))


def test_no_number_and_infinity_stay_in_their_rows() -> None:
    x = normal(200, 3)
    x[3, 1], x[9, 2], x[150, 0] = np.nan, np.inf, -np.inf
    with np.errstate(invalid="ignore"):
        want = FORMS["mean"](x)
    np.testing.assert_allclose(tj.jit(FORMS["mean"])(x), want, rtol=1e-5, atol=1e-5)


def test_what_lies_beside_an_array_is_not_read() -> None:
    memory = normal(300, 3)
    x = memory[100:200]
    for name in ("shifted", "rolled"):
        np.testing.assert_allclose(tj.jit(FORMS[name])(x), FORMS[name](x), rtol=1e-5)


def test_pixels_from_channels() -> None:
    x = normal(20, 70, 8)
    np.testing.assert_array_equal(tj.jit(shuffled)(x), shuffled(x))


def test_in_the_memory_of_the_argument() -> None:
    def normalise(x):
        x /= np.sqrt((x * x).sum(-1, keepdims=True))

    x = normal(500, 3)
    want = x.copy()
    normalise(want)
    tj.jit(normalise)(x)
    np.testing.assert_allclose(x, want, rtol=1e-6)


@pytest.mark.parametrize("name", ["norm", "turned", "softmax"])
def test_bits_do_not_depend_on_threads(name: str) -> None:
    x = normal(30_001, 3)
    with tj.config.override(threads=1):
        one = tj.jit(FORMS[name])(x)
    with tj.config.override(threads=3, share_from=1):
        np.testing.assert_array_equal(tj.jit(FORMS[name])(x), one)


@pytest.mark.parametrize("name", ["norm", "turned", "softmax", "weights"])
def test_gradients(name: str) -> None:
    x = normal(70, 3, dtype="f8")
    loss = tj.grad(lambda x: (FORMS[name](x) ** 2).sum())
    np.testing.assert_allclose(tj.jit(loss)(x), loss(x), rtol=1e-9, atol=1e-9)
