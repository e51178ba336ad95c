"""Derivatives inside of models: MAML, Newton's method, a sampler by Hamiltonian paths.

MAML: Finn et al., 2017. HMC: Neal, 2011, figure 2.
"""

import numpy as np
import pytest

import tracejit as tj

from .checks import assert_close, check_compiled, check_model, compare_with_jax

RNG = np.random.default_rng(0)

# --- MAML ---------------------------------------------------------------------------


def network(params, x):
    for w, b in params[:-1]:
        x = np.tanh(x @ w + b)
    w, b = params[-1]
    return x @ w + b


def error(params, x, y):
    return np.mean((network(params, x) - y) ** 2)


def adapted(params, x, y, steps=1):
    for _ in range(steps):
        slopes = tj.grad(error)(params, x, y)
        pairs = zip(params, slopes, strict=True)
        params = [(w - 0.1 * gw, b - 0.1 * gb) for (w, b), (gw, gb) in pairs]
    return params


def maml_loss(params, tasks):
    """Mean error of new points after a gradient step on others, over all tasks."""

    def of_task(task):
        fitted = adapted(params, task["x"], task["y"])
        return error(fitted, task["new_x"], task["new_y"])

    return np.mean(tj.vmap(of_task)(tasks))


def two_steps_loss(params, x, y):
    return error(adapted(params, x, y, steps=2), x + 0.1, y)


def maml_arguments(tasks=3):
    shapes = [((1, 6), (6,)), ((6, 6), (6,)), ((6, 1), (1,))]
    params = [(RNG.normal(size=w), RNG.normal(size=b) / 9) for w, b in shapes]
    x = RNG.uniform(-2, 2, size=(tasks, 5, 1))
    phase = RNG.uniform(size=(tasks, 1, 1))
    new_x = x + 0.3
    new_y, y = np.sin(new_x + phase), np.sin(x + phase)
    return params, {"x": x, "y": y, "new_x": new_x, "new_y": new_y}


MAML = maml_arguments()
ONE_TASK = (MAML[0], MAML[1]["x"][0], MAML[1]["y"][0])


def test_maml():
    check_model(maml_loss, MAML)


def test_maml_of_two_steps():
    check_model(two_steps_loss, ONE_TASK)


def test_maml_learns_to_learn():
    @tj.jit
    def step(params, tasks):
        value, slopes = tj.value_and_grad(maml_loss)(params, tasks)
        pairs = zip(params, slopes, strict=True)
        return value, [(w - 0.05 * gw, b - 0.05 * gb) for (w, b), (gw, gb) in pairs]

    params, losses = MAML[0], []
    for _ in range(60):
        value, params = step(params, MAML[1])
        losses.append(value)
    assert losses[-1] < losses[0] / 4


# --- Newton's method ----------------------------------------------------------------


def bowl(x, a):
    """Convex, and no quadratic: its minimum has no formula."""
    return np.sum(np.logaddexp(a @ x, -(a @ x))) + 0.5 * np.sum((x - 1) ** 2)


def newton(x, a):
    def moves(state):
        _, slope, turns = state
        return (np.sqrt(np.sum(slope**2)) > 1e-12) & (turns < 50)

    def turn(state):
        x, slope, turns = state
        x = x - np.linalg.solve(tj.hessian(bowl)(x, a), slope)
        return x, tj.grad(bowl)(x, a), turns + 1

    x, _, turns = tj.while_loop(moves, turn, (x, tj.grad(bowl)(x, a), 0))
    return x, turns


def minimum(x, a):
    return newton(x, a)[0]


START, SLOPES = np.full(3, 0.1), RNG.normal(size=(5, 3))


def test_newton():
    x, turns = check_compiled(newton, (START, SLOPES))
    assert 2 < turns < 12
    assert np.max(np.abs(tj.grad(bowl)(x, SLOPES))) < 1e-12


def test_newton_forward():
    """The derivative of the minimum, through the loop and by implicit functions."""
    tj.testing.check_grads(minimum, (START, SLOPES), order=1, modes=("fwd",))
    tangent = RNG.normal(size=SLOPES.shape)

    def forward(x, a, t):
        return tj.jvp(lambda a: minimum(x, a), (a,), (t,))[1]

    got = check_compiled(forward, (START, SLOPES, tangent))
    x = minimum(START, SLOPES)
    cross = tj.jvp(lambda a: tj.grad(bowl)(x, a), (SLOPES,), (tangent,))[1]
    assert_close(got, -np.linalg.solve(tj.hessian(bowl)(x, SLOPES), cross))


def test_newton_of_a_batch():
    """Examples that are done early wait for the others, unchanged."""
    starts = np.stack([START, minimum(START, SLOPES), START + 2])
    each = tj.vmap(newton, in_axes=(0, None))
    xs, turns = check_compiled(each, (starts, SLOPES))
    want = [newton(start, SLOPES) for start in starts]
    assert_close(xs, np.stack([x for x, _ in want]))
    assert turns.tolist() == [int(n) for _, n in want]


# --- Hamiltonian Monte Carlo --------------------------------------------------------


def energy(q, scale):
    """-log density of a bent normal distribution."""
    return 0.5 * (q[0] / scale) ** 2 + 0.5 * (q[1] - 0.3 * q[0] ** 2) ** 2


def leapfrog(q, p, scale, rate=0.15, turns=8):
    def turn(_, state):
        q, p = state
        q = q + rate * p
        return q, p - rate * tj.grad(energy)(q, scale)

    p = p - 0.5 * rate * tj.grad(energy)(q, scale)
    q, p = tj.fori_loop(0, turns, turn, (q, p))
    return q, p + 0.5 * rate * tj.grad(energy)(q, scale)


def sample(q, scale, momenta, uniforms):
    """Return a chain of points, and how many proposals were taken."""

    def turn(q, noise):
        p, u = noise
        new_q, new_p = leapfrog(q, p, scale)
        before = energy(q, scale) + 0.5 * np.sum(p**2)
        after = energy(new_q, scale) + 0.5 * np.sum(new_p**2)
        taken = np.log(u) < before - after
        q = np.where(taken, new_q, q)
        return q, (q, taken)

    _, (qs, taken) = tj.scan(turn, q, (momenta, uniforms))
    return qs, np.sum(taken)


def path_end(q, p, scale):
    q, p = leapfrog(q, p, scale)
    return np.sum(q * p) + np.sum(q**2)


def noise(turns):
    return RNG.normal(size=(turns, 2)), RNG.uniform(size=turns)


def test_leapfrog():
    check_model(path_end, (np.array([0.3, -0.2]), np.array([1.0, 0.5]), 1.2))


def test_sampler():
    q = np.array([0.3, -0.2])
    qs, taken = check_compiled(sample, (q, 1.2, *noise(20)))
    assert qs.shape == (20, 2) and taken > 10


def test_samples_have_the_right_moments():
    """Of 16 chains of 500 points: E q0 = 0, E q0² = scale², E q1 = 0.3 scale²."""
    momenta, uniforms = RNG.normal(size=(500, 16, 2)), RNG.uniform(size=(500, 16))
    chains = tj.vmap(sample, in_axes=(0, None, 1, 1))
    qs, taken = tj.jit(chains)(np.zeros((16, 2)), 1.2, momenta, uniforms)
    qs = qs[:, 50:].reshape(-1, 2)
    assert taken.sum() > 0.8 * uniforms.size
    assert abs(qs[:, 0].mean()) < 0.15
    assert abs((qs[:, 0] ** 2).mean() - 1.44) < 0.25
    assert abs(qs[:, 1].mean() - 0.3 * 1.44) < 0.1


# --- beside JAX ---------------------------------------------------------------------

POINT = np.array([0.3, -0.2])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fn", "args", "gradient"),
    [
        (maml_loss, MAML, True),
        (two_steps_loss, ONE_TASK, True),
        (minimum, (START, SLOPES), False),
        (path_end, (POINT, POINT, 1.2), True),
        (sample, (POINT, 1.2, *noise(20)), False),
    ],
)
def test_beside_jax(fn, args, gradient):
    compare_with_jax(fn, args, gradient)
