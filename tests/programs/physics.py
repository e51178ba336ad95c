"""Simulations: grids updated in place, particles, integrators, rays, fractals."""

from dataclasses import dataclass

import numpy as np

from .program import Program, arguments, normal, uniform


def heat_in_place(u, alpha, steps=4):
    """Explicit heat equation; the argument holds the result."""
    for _ in range(steps):
        lap = u[2:, 1:-1] + u[:-2, 1:-1] + u[1:-1, 2:] + u[1:-1, :-2]
        u[1:-1, 1:-1] += alpha * (lap - 4 * u[1:-1, 1:-1])
    u[0, :] = u[1, :]
    u[-1, :] = u[-2, :]


def heat_args(rng, dtype):
    return arguments(uniform(rng, dtype, 17, 14), 0.2)


def wave_views(field, courant):
    """Leapfrog wave equation through views of views of one state array."""
    now, before = field
    inner = now[1:-1]
    core = inner[:, 1:-1]
    lap = now[2:, 1:-1] + now[:-2, 1:-1] + inner[:, 2:] + inner[:, :-2] - 4 * core
    target = before[1:-1][:, 1:-1]
    target *= -1
    target += 2 * core + courant**2 * lap
    edge = before.T[::-1]
    edge[0] = 0
    edge[-1] = 0
    return target


def wave_args(rng, dtype):
    return arguments(uniform(rng, dtype, 2, 11, 13), 0.5)


def nbody_step(position, velocity, mass, dt, softening=0.05):
    """Leapfrog step of gravitating bodies, pairwise by broadcasting."""

    def acceleration(x):
        d = x[None, :, :] - x[:, None, :]
        inv_r3 = ((d**2).sum(-1) + softening**2) ** -1.5
        np.fill_diagonal(inv_r3, 0)
        return (d * (mass[:, None] * inv_r3[..., None])).sum(axis=1)

    velocity = velocity + 0.5 * dt * acceleration(position)
    position = position + dt * velocity
    velocity = velocity + 0.5 * dt * acceleration(position)
    energy = 0.5 * np.sum(mass * (velocity**2).sum(-1))
    return position, velocity, energy


def nbody_args(rng, dtype):
    return arguments(
        normal(rng, dtype, 13, 3),
        normal(rng, dtype, 13, 3),
        uniform(rng, dtype, 13, low=0.5, high=2),
        dt=0.01,
    )


def lorenz_rk4(state, dt=0.01, steps=20, sigma=10.0, rho=28.0, beta=8 / 3):
    """Runge-Kutta integration of the Lorenz system, with its trajectory."""

    def rhs(s):
        x, y, z = s
        return np.array([sigma * (y - x), x * (rho - z) - y, x * y - beta * z])

    path = np.empty((steps + 1, 3), dtype=state.dtype)
    path[0] = state
    for i in range(steps):
        s = path[i]
        k1 = rhs(s)
        k2 = rhs(s + dt / 2 * k1)
        k3 = rhs(s + dt / 2 * k2)
        k4 = rhs(s + dt * k3)
        path[i + 1] = s + dt / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    return path


def lorenz_args(rng, dtype):
    return arguments(np.array([1, 1.5, 20], dtype))


def mandelbrot_complex(c, iterations=12):
    """Escape counts with complex numbers; escaped points stop moving."""
    z = np.zeros_like(c)
    count = np.zeros(c.shape, dtype=np.int32)
    for _ in range(iterations):
        alive = z.real * z.real + z.imag * z.imag <= 4
        z = np.where(alive, z * z + c, z)
        count += alive
    return count, abs(z)


def mandelbrot_complex_args(rng, dtype):
    # The offset keeps every point well away from the escape radius' edge.
    x = np.linspace(-2.03, 0.61, 17).astype(dtype)
    y = np.linspace(-1.21, 1.13, 12).astype(dtype)
    return arguments(x + y[:, None] * np.complex64(1j))


def mandelbrot_pairs(xmin, xmax, ymin, ymax, width, height, iterations):
    """Escape counts with pairs of reals, on a grid made inside."""
    cx, cy = np.meshgrid(
        np.linspace(xmin, xmax, width, dtype=xmin.dtype),
        np.linspace(ymin, ymax, height, dtype=ymin.dtype),
    )
    zx, zy = np.zeros_like(cx), np.zeros_like(cy)
    count = np.zeros((height, width), dtype=int)
    for _ in range(iterations):
        x2, y2 = zx * zx, zy * zy
        alive = x2 + y2 < 4.0
        zx, zy = (
            np.where(alive, x2 - y2 + cx, zx),
            np.where(alive, 2 * zx * zy + cy, zy),
        )
        count[alive] += 1
    return count


def mandelbrot_pairs_args(rng, dtype):
    corners = (dtype.type(v) for v in (-2.03, 0.61, -1.21, 1.13))
    return arguments(*corners, 17, 12, iterations=10)


def ray_sphere(origin, direction, centre, radius):
    """Shade rays that hit a sphere, by masks written into an image."""
    direction = direction / np.linalg.norm(direction, axis=-1, keepdims=True)
    offset = origin - centre
    b = np.sum(direction * offset, axis=-1)
    c = np.dot(offset, offset) - radius**2
    disc = b * b - c
    hit = disc > 0
    t = -b - np.sqrt(np.maximum(disc, 0))
    point = origin + t[..., None] * direction
    normal_ = (point - centre) / radius
    shade = normal_ @ np.array([0.0, 0.6, -0.8], dtype=direction.dtype)
    shade[shade < 0] = 0
    image = np.full(direction.shape, 0.1, dtype=direction.dtype)
    image[hit] = 0
    image += (shade * hit)[..., None] * np.asarray([1, 0.5, 0.25], direction.dtype)
    return image, hit


def ray_sphere_args(rng, dtype):
    x, y = np.meshgrid(np.linspace(-1.1, 1, 12), np.linspace(-1, 1.1, 9))
    direction = np.stack([x, y, np.full_like(x, 2)], axis=-1).astype(dtype)
    centre = np.array([0.2, -0.1, 4], dtype)
    return arguments(np.zeros(3, dtype), direction, centre, 1.5)


def life_roll(board, generations=3):
    """Conway's life on a torus of booleans, by rolls."""
    for _ in range(generations):
        neighbours = np.zeros(board.shape, dtype=np.uint8)
        for dy in (-1, 0, 1):
            for dx in (-1, 0, 1):
                if dy or dx:
                    neighbours += np.roll(board, (dy, dx), axis=(0, 1))
        board = (neighbours == 3) | (board & (neighbours == 2))
    return board


def life_roll_args(rng, dtype):
    return arguments(rng.random((12, 15)) < 0.4)


def life_slices(board):
    """Conway's life with dead borders; the integer board is written in place."""
    n = np.zeros_like(board)
    n[1:-1, 1:-1] = (
        board[:-2, :-2]
        + board[:-2, 1:-1]
        + board[:-2, 2:]
        + board[1:-1, :-2]
        + board[1:-1, 2:]
        + board[2:, :-2]
        + board[2:, 1:-1]
        + board[2:, 2:]
    )
    birth = (n == 3) & (board == 0)
    survive = ((n == 2) | (n == 3)) & (board == 1)
    board[...] = 0
    board[birth | survive] = 1
    return board.sum()


def life_slices_args(rng, dtype):
    board = np.zeros((12, 15), np.int32)
    board[1:-1, 1:-1] = rng.integers(0, 2, (10, 13))
    return arguments(board)


@dataclass
class Channel:
    """A fluid channel: height, discharge and the cell width."""

    height: np.ndarray
    discharge: np.ndarray
    dx: float


def shallow_water(channel, dt, gravity=9.81):
    """One Lax-Friedrichs step of the shallow water equations."""
    h, q = channel.height, channel.discharge
    flux = np.stack([q, q**2 / h + 0.5 * gravity * h**2])
    state = np.stack([h, q])
    mean = 0.5 * (state[:, 2:] + state[:, :-2])
    new = state.copy()
    new[:, 1:-1] = mean - dt / (2 * channel.dx) * (flux[:, 2:] - flux[:, :-2])
    new[:, 0], new[:, -1] = new[:, 1], new[:, -2]
    return Channel(new[0], new[1], channel.dx)


def shallow_water_args(rng, dtype):
    channel = Channel(
        uniform(rng, dtype, 31, low=1, high=2), normal(rng, dtype, 31), 0.5
    )
    return arguments(channel, 0.01)


def lattice_boltzmann(f, omega=1.2):
    """One D2Q9 step: moments, collision, and streaming by rolls."""
    cx = np.array([0, 1, 0, -1, 0, 1, -1, -1, 1])
    cy = np.array([0, 0, 1, 0, -1, 1, 1, -1, -1])
    w = np.array([4 / 9] + [1 / 9] * 4 + [1 / 36] * 4).astype(f.dtype)
    rho = f.sum(axis=0)
    ux = (f[[1, 5, 8]].sum(0) - f[[3, 6, 7]].sum(0)) / rho
    uy = (f[[2, 5, 6]].sum(0) - f[[4, 7, 8]].sum(0)) / rho
    out = np.empty_like(f)
    for i in range(9):
        cu = 3 * (int(cx[i]) * ux + int(cy[i]) * uy)
        feq = rho * w[i] * (1 + cu + 0.5 * cu**2 - 1.5 * (ux**2 + uy**2))
        moved = f[i] + omega * (feq - f[i])
        out[i] = np.roll(np.roll(moved, cx[i], axis=0), cy[i], axis=1)
    return out, rho


def lattice_boltzmann_args(rng, dtype):
    return arguments(uniform(rng, dtype, 9, 8, 10, low=0.1, high=0.3))


PROGRAMS = (
    Program("heat_in_place", heat_in_place, heat_args),
    Program("wave_views", wave_views, wave_args),
    Program("nbody_step", nbody_step, nbody_args),
    Program("lorenz_rk4", lorenz_rk4, lorenz_args),
    Program("mandelbrot_complex", mandelbrot_complex, mandelbrot_complex_args),
    Program("mandelbrot_pairs", mandelbrot_pairs, mandelbrot_pairs_args),
    Program("ray_sphere", ray_sphere, ray_sphere_args),
    Program("life_roll", life_roll, life_roll_args),
    Program("life_slices", life_slices, life_slices_args),
    Program("shallow_water", shallow_water, shallow_water_args),
    Program("lattice_boltzmann", lattice_boltzmann, lattice_boltzmann_args),
)
