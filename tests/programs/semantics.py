"""What NumPy code means: views, writes, aliases, containers, scalars, defaults."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from .program import Program, arguments, normal, uniform


def returns_views(x):
    """Views of the argument, itself, and a copy that looks like a view."""
    return x[1:, ::-2], x.T, x, x.T.copy(), (x.T + 0).reshape(-1), x[2]


def matrix_args(rng, dtype):
    return arguments(normal(rng, dtype, 6, 7))


def transposed_args(rng, dtype):
    return arguments(normal(rng, dtype, 14, 6)[::2].T)


def returns_reshaped(x):
    """A reshape that is a view or a copy, as the strides decide."""
    return x.reshape(-1), x.reshape(2, 3, -1), x.ravel(), np.squeeze(x[:, None])


def writes_through_view(a):
    """A view keeps its base; a scalar read from it does not."""
    v = a[0, ...]
    v += 1
    s = a[1, 1]
    s += 100
    w = a[2:][1]
    w[...] = w[::-1] * 2
    return s, v.sum()


def mutates_and_returns(x, y):
    """The first argument is changed and returned; the second is only read."""
    x *= 2
    x[x < 0] = 0
    np.add(x, y, out=x)
    return x


def two_matrices_args(rng, dtype):
    return arguments(normal(rng, dtype, 5, 6), normal(rng, dtype, 5, 6))


def same_array_args(rng, dtype):
    x = normal(rng, dtype, 5, 6)
    return arguments(x, x)


def write_order(x):
    """Reads before and after writes see what NumPy would show them."""
    before = x[:3].copy()
    view = x[:3]
    x[1:4] = x[0:3]
    x[::2] -= view[0]
    total = x.sum()
    x[-1] = -1
    return before, view, total


def overlapping_shift(x):
    """Overlapping source and target in one assignment."""
    x[1:] += x[:-1]
    x[:-2] = x[2:]
    x[:, 0], x[:, 1] = x[:, 1].copy(), x[:, 0].copy()
    return x[::-1]


class Point(NamedTuple):
    """A position and a weight."""

    position: np.ndarray
    weight: np.ndarray


def moves_points(points, by=None, *, factor=2.0):
    """Namedtuples in a list, None as an argument, a keyword-only default."""
    if by is None:
        by = points[0].position
    moved = [Point(p.position + by, p.weight * factor) for p in points]
    return {"points": moved, "none": None, "count": len(moved)}


def points_args(rng, dtype):
    points = [Point(normal(rng, dtype, 3), dtype.type(k + 1)) for k in range(3)]
    return arguments(points, factor=0.5)


@dataclass(frozen=True)
class Camera:
    """A pinhole camera."""

    rotation: np.ndarray
    offset: np.ndarray
    focal: float = 1.5


@dataclass
class Scene:
    """Points seen by a camera."""

    camera: Camera
    points: np.ndarray


def projects_scene(scene, clip=(-1.0, 1.0)):
    """Nested dataclasses in and out; the points are changed in place."""
    camera = scene.camera
    scene.points[:, 2] += 5
    seen = scene.points @ camera.rotation.T + camera.offset
    image = np.clip(camera.focal * seen[:, :2] / seen[:, 2:], *clip)
    return Scene(camera, image)


def scene_args(rng, dtype):
    angle = 0.3
    rotation = np.array(
        [
            [np.cos(angle), -np.sin(angle), 0],
            [np.sin(angle), np.cos(angle), 0],
            [0, 0, 1],
        ],
        dtype,
    )
    camera = Camera(rotation, np.array([0.1, 0.2, 0.5], dtype))
    return arguments(Scene(camera, uniform(rng, dtype, 8, 3, low=-1)))


def keywords_and_defaults(x, /, scale=2.0, *extra, shift=0.0, power=2, **options):
    """Every kind of parameter."""
    y = scale * x**power + shift
    for e in extra:
        y = y + e
    if options.get("negate"):
        y = -y
    return y, sorted(options)


def keywords_args(rng, dtype):
    x, e = normal(rng, dtype, 9), normal(rng, dtype, 9)
    return arguments(x, 3, e, 1.5, shift=dtype.type(0.25), negate=True, mode="fast")


def block_matrix(a, b):
    """Zeros filled block by block, with steps, fancy and diagonal writes."""
    n, m = a.shape
    out = np.zeros((n + m, n + m), dtype=a.dtype)
    out[:n, :m] = a
    out[n:, m:] = b.T
    out[[0, -1], [-1, 0]] = 7
    out.flat[:: n + m + 1] += 1
    strip = out[:, ::3]
    strip[1] = np.arange(strip.shape[1])
    return out


def blocks_args(rng, dtype):
    return arguments(normal(rng, dtype, 3, 4), normal(rng, dtype, 3, 4))


def scalar_arithmetic(x, n, rate, flag):
    """NumPy scalars, 0-d arrays and Python scalars keep their kinds."""
    total = x.sum()
    zero_d = np.asarray(total * 2)
    boxed = zero_d + np.float64(1)
    share = total / n if flag else total
    return total, zero_d, boxed, share, x * rate, n * 2, x[0] > 0, int(n) + 1


def scalars_args(rng, dtype):
    return arguments(uniform(rng, dtype, 9), 3, 0.5, True)


def integer_arithmetic(a, b):
    """Division, remainder, shifts and wrapping as NumPy defines them."""
    q, r = np.divmod(a, b)
    small = a.astype(np.int8) * np.int8(7)
    return q, r, a // b - q, a << 2, a >> 1, small, a & b, ~a, np.gcd(a, b), a / b


def integers_args(rng, dtype):
    a = rng.integers(-1000, 1000, 21, dtype=np.int32)
    b = rng.integers(1, 50, 21, dtype=np.int32) * rng.choice([-1, 1], 21)
    return arguments(a, b.astype(np.int32))


def promotes_dtypes(x, i, f16):
    """Mixed dtypes promote by NEP 50; comparisons and means too."""
    return x + i, x * f16, x + 1.5, i * 2.5, i + 1, (x > i).sum(), i.mean(), i / 2


def promotes_args(rng, dtype):
    half = np.linspace(-2, 2, 10).astype(np.float16)
    return arguments(normal(rng, dtype, 10), rng.integers(-5, 5, 10, np.int16), half)


def empty_and_single(x):
    """Empty and one-element arrays through the same code as any other."""
    nothing = x[:0]
    one = x[:1]
    joined = np.concatenate([nothing, one, x[3:]])
    return nothing * 2, nothing.sum(), one / one, joined, x[5:2].reshape(0, 4, 7)


def splits_and_stacks(x):
    """Taking apart and putting together again."""
    left, right = np.hsplit(x[:, :6], 2)
    swapped = np.column_stack([right, left])
    grid = np.block([[left, right], [right, left]])
    turned = np.rot90(swapped), np.flip(grid, 1), np.moveaxis(grid[None], 0, -1)
    tiled = np.tile(left, (1, 2)), np.repeat(right, 2, axis=0)
    return swapped, grid, turned, tiled


def logical_selection(x, low, high):
    """Nested choices and masked reductions."""
    kind = np.select([x < low, x > high], [-1, 1], default=0)
    inside = (x >= low) & (x <= high)
    mean = np.sum(x, where=inside) / np.maximum(np.count_nonzero(inside), 1)
    clipped = x.clip(low, high)
    x[~inside] = mean
    return kind, mean, clipped, np.any(inside, axis=0), inside.all()


def selection_args(rng, dtype):
    return arguments(normal(rng, dtype, 7, 5), -0.5, 0.8)


class Filter:
    """An object whose method is called with it as the first argument."""

    def __init__(self, order):
        self.order = order

    def apply(self, state, x):
        """A cascade of one-pole filters; the state is kept in place."""
        for k in range(self.order):
            state[k] = 0.5 * state[k] + 0.5 * x
            x = state[k]
        return x


def method_args(rng, dtype):
    return arguments(np.zeros((3, 4), dtype), normal(rng, dtype, 4))


PROGRAMS = (
    Program("returns_views", returns_views, matrix_args),
    Program("returns_views_of_transposed", returns_views, transposed_args),
    Program("returns_reshaped", returns_reshaped, matrix_args),
    Program("returns_reshaped_transposed", returns_reshaped, transposed_args),
    Program("writes_through_view", writes_through_view, matrix_args),
    Program("writes_through_view_transposed", writes_through_view, transposed_args),
    Program("mutates_and_returns", mutates_and_returns, two_matrices_args),
    Program("mutates_same_array_twice", mutates_and_returns, same_array_args),
    Program("write_order", write_order, matrix_args),
    Program("overlapping_shift", overlapping_shift, matrix_args),
    Program("moves_points", moves_points, points_args),
    Program("projects_scene", projects_scene, scene_args),
    Program("keywords_and_defaults", keywords_and_defaults, keywords_args),
    Program("block_matrix", block_matrix, blocks_args),
    Program("scalar_arithmetic", scalar_arithmetic, scalars_args),
    Program("integer_arithmetic", integer_arithmetic, integers_args),
    Program("promotes_dtypes", promotes_dtypes, promotes_args),
    Program("empty_and_single", empty_and_single, matrix_args),
    Program("splits_and_stacks", splits_and_stacks, matrix_args),
    Program("logical_selection", logical_selection, selection_args),
    Program("bound_method", Filter(3).apply, method_args),
)
