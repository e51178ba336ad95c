"""Programs with loops and pairs: mandelbrot, LSTM, n-body, gradient of rosenbrock."""

import dataclasses
import math

import numpy as np

from ..row import Row
from .inputs import normal, uniform

F32 = np.float32
STEP, SOFTENING = 0.01, 0.05


# --- mandelbrot -------------------------------------------------------------------


def mandelbrot(turns, xp=np):
    """How many of `turns` iterations each point stays within the radius 2."""

    def mandelbrot(cx, cy):
        zx, zy, count = xp.zeros_like(cx), xp.zeros_like(cy), xp.zeros_like(cx)
        for _ in range(turns):
            x2, y2 = zx * zx, zy * zy
            alive = x2 + y2 <= 4
            zx, zy = (
                xp.where(alive, x2 - y2 + cx, zx),
                xp.where(alive, 2 * zx * zy + cy, zy),
            )
            count = count + alive
        return count

    return mandelbrot


def mandelbrot_jax(jax, turns):
    jnp = jax.numpy

    def mandelbrot(cx, cy):
        def body(_, state):
            zx, zy, count = state
            x2, y2 = zx * zx, zy * zy
            alive = x2 + y2 <= 4
            zx, zy = (
                jnp.where(alive, x2 - y2 + cx, zx),
                jnp.where(alive, 2 * zx * zy + cy, zy),
            )
            return zx, zy, count + alive

        zero = jnp.zeros_like(cx)
        return jax.lax.fori_loop(0, turns, body, (zero, zero, zero), unroll=25)[2]

    return mandelbrot


def mandelbrot_numba(numba, turns):
    two, four, one = F32(2), F32(4), F32(1)

    @numba.njit(parallel=True, fastmath=True)
    def mandelbrot(cx, cy):
        out = np.empty_like(cx)
        for i in numba.prange(cx.size):
            zx = zy = count = F32(0)
            for _ in range(turns):
                x2, y2 = zx * zx, zy * zy
                if x2 + y2 > four:
                    break
                zx, zy = x2 - y2 + cx[i], two * zx * zy + cy[i]
                count += one
            out[i] = count
        return out

    return mandelbrot


def mandelbrot_drjit(dr, turns):
    def mandelbrot(cx, cy):
        def is_alive(turn, zx, zy, count):
            return (turn < turns) & (zx * zx + zy * zy <= 4)

        def body(turn, zx, zy, count):
            return (
                turn + 1,
                zx * zx - zy * zy + cx,
                2 * zx * zy + cy,
                count + 1,
            )

        zero = dr.zeros(type(cx), len(cx))
        turn = dr.zeros(dr.uint32_array_t(type(cx)), len(cx))
        return dr.while_loop((turn, zero, zero, zero), is_alive, body)[3]

    return mandelbrot


def mandelbrot_row(size: int, turns: int, name: str) -> Row:
    """Points near the border take another number of turns in float64: 2 % may."""
    return Row(
        name=name,
        make_inputs=lambda rng: (
            uniform(rng, -2, 0.5, size),
            uniform(rng, -1.25, 1.25, size),
        ),
        numpy_fn=mandelbrot(turns),
        jax_fn=lambda jax: mandelbrot_jax(jax, turns),
        torch_fn=lambda torch: mandelbrot(turns, torch),
        numba_fn=lambda numba: mandelbrot_numba(numba, turns),
        drjit_fn=lambda dr: mandelbrot_drjit(dr, turns),
        without={"inductor": "a minute of compilation for the unrolled loop"},
        flops=10 * turns * size,
        bytes=12 * size,
        outliers=0.02,
    )


# --- LSTM -------------------------------------------------------------------------


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def lstm(xs, wx, wh, b):
    """All hidden states; weights are (4 hidden, inputs), gates i, f, g, o."""
    gates = xs @ wx.T + b
    h = np.zeros((xs.shape[1], wh.shape[1]), xs.dtype)
    c = np.zeros_like(h)
    out = np.empty((*xs.shape[:2], wh.shape[1]), xs.dtype)
    for step in range(len(xs)):
        i, f, g, o = np.split(gates[step] + h @ wh.T, 4, axis=-1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        out[step] = h
    return out


def lstm_scan(tj):
    """The same, its loop a `scan`: compiled as a loop, not turn by turn."""

    def lstm(xs, wx, wh, b):
        def step(state, gate):
            h, c = state
            i, f, g, o = np.split(gate + h @ wh.T, 4, axis=-1)
            c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
            h = sigmoid(o) * np.tanh(c)
            return (h, c), h

        zero = np.zeros((xs.shape[1], wh.shape[1]), xs.dtype)
        return tj.scan(step, (zero, zero), xs @ wx.T + b)[1]

    return lstm


def lstm_jax(jax):
    jnp = jax.numpy

    def lstm(xs, wx, wh, b):
        def step(state, gate):
            h, c = state
            i, f, g, o = jnp.split(gate + h @ wh.T, 4, axis=-1)
            c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
            h = jax.nn.sigmoid(o) * jnp.tanh(c)
            return (h, c), h

        zero = jnp.zeros((xs.shape[1], wh.shape[1]), xs.dtype)
        return jax.lax.scan(step, (zero, zero), xs @ wx.T + b)[1]

    return lstm


def lstm_torch(torch):
    def lstm(xs, wx, wh, b):
        zero = xs.new_zeros((1, xs.shape[1], wh.shape[1]))
        weights = [wx, wh, b, torch.zeros_like(b)]
        state = (zero, zero)
        return torch.lstm(xs, state, weights, True, 1, 0.0, False, False, False)[0]

    return lstm


def lstm_row(steps: int, batch: int, width: int) -> Row:
    return Row(
        name=f"lstm_{steps}x{batch}x{width}",
        make_inputs=lambda rng: (
            normal(rng, steps, batch, width),
            normal(rng, 4 * width, width, scale=1 / math.sqrt(width)),
            normal(rng, 4 * width, width, scale=1 / math.sqrt(width)),
            normal(rng, 4 * width, scale=0.1),
        ),
        numpy_fn=lstm,
        jax_fn=lstm_jax,
        torch_fn=lstm_torch,
        without={"inductor": "torch.lstm is one kernel of torch's own"},
        flops=16 * steps * batch * width**2,
        bytes=4 * (8 * width**2 + 2 * steps * batch * width),
    )


def lstm_scan_row(steps: int, batch: int, width: int) -> Row:
    plain = lstm_row(steps, batch, width)
    name = f"lstm_scan_{steps}x{batch}x{width}"
    return dataclasses.replace(plain, name=name, tracejit_fn=lstm_scan)


# --- rosenbrock -------------------------------------------------------------------


def rosenbrock(x):
    here, there = x[:-1], x[1:]
    return (100 * (there - here**2) ** 2 + (1 - here) ** 2).sum()


def rosenbrock_grad(x):
    """The gradient by hand."""
    here, there = x[:-1], x[1:]
    off = there - here**2
    out = np.zeros_like(x)
    out[:-1] = -400 * here * off - 2 * (1 - here)
    out[1:] += 200 * off
    return out


def rosenbrock_grad_torch(torch):
    def gradient(x):
        x = x.detach().requires_grad_()
        return torch.autograd.grad(rosenbrock(x), x)[0]

    return gradient


def rosenbrock_grad_numba(numba):
    a, b, one, two = F32(400), F32(200), F32(1), F32(2)

    @numba.njit(parallel=True, fastmath=True)
    def gradient(x):
        out = np.empty_like(x)
        last = x.size - 1
        for i in numba.prange(x.size):
            slope = F32(0)
            if i < last:
                slope = -a * x[i] * (x[i + 1] - x[i] * x[i]) - two * (one - x[i])
            if i > 0:
                slope += b * (x[i] - x[i - 1] * x[i - 1])
            out[i] = slope
        return out

    return gradient


def rosenbrock_row(size: int, name: str) -> Row:
    return Row(
        name=name,
        make_inputs=lambda rng: (normal(rng, size),),
        numpy_fn=rosenbrock_grad,
        tracejit_fn=lambda tj: tj.grad(rosenbrock),
        jax_fn=lambda jax: jax.grad(rosenbrock),
        torch_fn=rosenbrock_grad_torch,
        numba_fn=rosenbrock_grad_numba,
        flops=12 * size,
        bytes=8 * size,
    )


# --- n-body -----------------------------------------------------------------------


def nbody(position, velocity, mass):
    """A step of bodies that attract each other, pair by pair."""
    away = position[None, :, :] - position[:, None, :]
    square = (away * away).sum(-1) + SOFTENING
    pull = mass / (square * square**0.5)
    velocity = velocity + STEP * (away * pull[:, :, None]).sum(1)
    return position + STEP * velocity, velocity


def nbody_numba(numba):
    softening, step, one = F32(SOFTENING), F32(STEP), F32(1)

    @numba.njit(parallel=True, fastmath=True)
    def nbody(position, velocity, mass):
        count = len(mass)
        x, y, z = position[:, 0].copy(), position[:, 1].copy(), position[:, 2].copy()
        place, speed = np.empty_like(position), np.empty_like(velocity)
        for i in numba.prange(count):
            ax = ay = az = F32(0)
            for j in range(count):
                dx, dy, dz = x[j] - x[i], y[j] - y[i], z[j] - z[i]
                square = dx * dx + dy * dy + dz * dz + softening
                pull = mass[j] * one / (square * F32(math.sqrt(square)))
                ax += dx * pull
                ay += dy * pull
                az += dz * pull
            speed[i, 0] = velocity[i, 0] + step * ax
            speed[i, 1] = velocity[i, 1] + step * ay
            speed[i, 2] = velocity[i, 2] + step * az
            for k in range(3):
                place[i, k] = position[i, k] + step * speed[i, k]
        return place, speed

    return nbody


def nbody_drjit(dr):
    def nbody(position, velocity, mass):
        kind = type(mass)
        count = len(mass)
        index = dr.arange(dr.uint32_array_t(kind), count)
        here = [dr.gather(kind, position, 3 * index + k) for k in range(3)]

        def body(j, ax, ay, az):
            away = [dr.gather(kind, position, 3 * j + k) - here[k] for k in range(3)]
            square = sum(map(dr.square, away)) + SOFTENING
            pull = dr.gather(kind, mass, j) * dr.rsqrt(square) / square
            return j + 1, ax + away[0] * pull, ay + away[1] * pull, az + away[2] * pull

        zero = dr.zeros(kind, count)
        start = (dr.zeros(type(index), count), zero, zero, zero)
        _, *pulls = dr.while_loop(start, lambda j, *_: j < count, body)
        place, speed = dr.zeros(kind, 3 * count), dr.zeros(kind, 3 * count)
        for k, pull in enumerate(pulls):
            new = dr.gather(kind, velocity, 3 * index + k) + STEP * pull
            dr.scatter(speed, new, 3 * index + k)
            dr.scatter(place, here[k] + STEP * new, 3 * index + k)
        return place, speed

    return nbody


def nbody_row(bodies: int) -> Row:
    return Row(
        name=f"nbody_{bodies}",
        make_inputs=lambda rng: (
            normal(rng, bodies, 3),
            normal(rng, bodies, 3),
            uniform(rng, 0.5, 2, bodies),
        ),
        numpy_fn=nbody,
        jax_fn=lambda jax: nbody,
        torch_fn=lambda torch: nbody,
        numba_fn=nbody_numba,
        drjit_fn=nbody_drjit,
        flops=20 * bodies**2,
        bytes=4 * 13 * bodies,
        rtol=2e-5,
    )


ROWS = [
    mandelbrot_row(2**20, 100, "mandelbrot_1M"),
    lstm_row(128, 32, 128),
    lstm_scan_row(128, 32, 128),
    rosenbrock_row(2**20, "rosenbrock_grad_1M"),
    nbody_row(1024),
]
