"""Paths, noise, graphs and transport: RK4, a VAE, message passing, Sinkhorn.

VAE: Kingma and Welling, 2014. Sinkhorn: Cuturi, 2013.
"""

import numpy as np
import pytest

import tracejit as tj

from .checks import assert_close, check_compiled, check_model, compare_with_jax

RNG = np.random.default_rng(1)

# --- Runge and Kutta ----------------------------------------------------------------


def predators(state, rates):
    prey, hunters = state
    a, b, c, d = rates
    return np.array([a * prey - b * prey * hunters, c * prey * hunters - d * hunters])


def trajectory(state, rates, step=0.1, turns=25):
    def turn(s, _):
        k1 = predators(s, rates)
        k2 = predators(s + step / 2 * k1, rates)
        k3 = predators(s + step / 2 * k2, rates)
        k4 = predators(s + step * k3, rates)
        s = s + step / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        return s, s

    return tj.scan(turn, state, None, length=turns)[1]


def sensitivities(state, rates):
    """Derivatives of the end, forward and backward: by the state and by the rates."""

    def end(state, rates):
        return trajectory(state, rates)[-1]

    both = (0, 1)
    return tj.jacfwd(end, both)(state, rates), tj.jacrev(end, both)(state, rates)


ODE = np.array([1.0, 0.5]), np.array([1.1, 0.4, 0.3, 0.8])


def test_trajectory():
    check_model(trajectory_energy, ODE, order=2)


def trajectory_energy(state, rates):
    return np.sum(trajectory(state, rates) ** 2)


def test_sensitivities_of_both_modes():
    forward, backward = check_compiled(sensitivities, ODE)
    assert_close(forward, backward)


def test_sensitivities_are_the_variational_equation():
    """Forward mode is RK4 of x' = f(x), S' = (df/dx) S, integrated together."""
    state, rates = ODE

    def slope(s):
        x, m = s[:, 0], s[:, 1:]
        bend = tj.jacfwd(predators)(x, rates)
        return np.concatenate([predators(x, rates)[:, None], bend @ m], axis=1)

    s = np.concatenate([state[:, None], np.eye(2)], axis=1)
    for _ in range(25):
        k1 = slope(s)
        k2 = slope(s + 0.05 * k1)
        k3 = slope(s + 0.05 * k2)
        k4 = slope(s + 0.1 * k3)
        s = s + 0.1 / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    (of_state, _), _ = tj.jit(sensitivities)(state, rates)
    assert_close(of_state, s[:, 1:])


# --- a variational autoencoder ------------------------------------------------------


def negative_evidence(params, x, noise):
    """Mean bound on -log p(x), by one sample per example: mean + deviation · noise."""
    h = np.tanh(x @ params["in"])
    mean, log_var = np.split(h @ params["code"], 2, axis=1)
    z = mean + np.exp(0.5 * log_var) * noise
    logits = np.tanh(z @ params["decode"]) @ params["out"]
    loss = np.logaddexp(0, logits) - x * logits  # Bernoulli
    gap = 0.5 * (np.exp(log_var) + mean**2 - 1 - log_var)
    return np.mean(loss.sum(axis=1) + gap.sum(axis=1))


def vae_arguments():
    shapes = {"in": (6, 8), "code": (8, 4), "decode": (2, 8), "out": (8, 6)}
    params = {k: RNG.normal(size=s) / 2 for k, s in shapes.items()}
    x = np.array([[1, 1, 1, 0, 0, 0], [0, 0, 0, 1, 1, 1]])[np.arange(7) % 2]
    return params, x.astype(np.float64), RNG.normal(size=(7, 2))


VAE = vae_arguments()


def test_vae():
    check_model(negative_evidence, VAE)


def test_vae_learns():
    @tj.jit
    def step(params, x, noise):
        slopes = tj.grad(negative_evidence)(params, x, noise)
        return {k: params[k] - 0.1 * slopes[k] for k in params}

    params, x, noise = VAE
    before = negative_evidence(params, x, noise)
    for _ in range(300):
        params = step(params, x, RNG.normal(size=noise.shape))
    assert negative_evidence(params, x, noise) < 0.5 * before


# --- message passing ----------------------------------------------------------------


def energy_of_graph(params, nodes, senders, receivers):
    """Three rounds of messages along the edges, then a sum over the nodes."""
    degree = np.zeros(len(nodes))
    np.add.at(degree, receivers, 1.0)
    for _ in range(3):
        ends = np.concatenate([nodes[senders], nodes[receivers]], axis=1)
        messages = np.tanh(ends @ params["message"])
        total = np.zeros((len(nodes), messages.shape[1]))
        np.add.at(total, receivers, messages)
        mean = total / np.maximum(degree, 1)[:, None]
        nodes = nodes + np.tanh(np.concatenate([nodes, mean], 1) @ params["update"])
    return np.sum((nodes @ params["read"]) ** 2)


def graph_arguments(nodes=6, edges=11):
    shapes = {"message": (6, 4), "update": (7, 3), "read": (3,)}
    params = {k: RNG.normal(size=s) / 2 for k, s in shapes.items()}
    ends = RNG.integers(nodes - 1, size=(2, edges))  # the last node stands alone
    return params, RNG.normal(size=(nodes, 3)), *ends


GRAPH = graph_arguments()


def test_message_passing():
    check_model(energy_of_graph, GRAPH)


def test_message_passing_second_order():
    check_model(energy_of_graph, GRAPH, order=2, modes=("rev",))


def test_order_of_nodes_is_nothing():
    """New names for the nodes: the same energy, and gradients in the new order."""
    params, nodes, senders, receivers = GRAPH
    order = RNG.permutation(len(nodes))
    names = np.argsort(order)
    slopes = tj.jit(tj.value_and_grad(energy_of_graph, argnums=(0, 1)))
    value, (of_params, of_nodes) = slopes(*GRAPH)
    again = slopes(params, nodes[order], names[senders], names[receivers])
    assert_close(again, (value, (of_params, of_nodes[order])))


# --- Sinkhorn -----------------------------------------------------------------------


def transport(cost, rows, columns, width=0.3):
    """Return the entropic plan between two distributions, by potentials."""

    def soft_min(m, axis):
        top = m.max(axis=axis, keepdims=True)
        total = np.sum(np.exp((m - top) / width), axis=axis)
        return -width * np.log(total) - np.squeeze(top, axis)

    def plan(f, g):
        return np.exp((f[:, None] + g[None, :] - cost) / width)

    def off(state):
        f, g, turns = state
        gap = np.max(np.abs(np.sum(plan(f, g), axis=1) - rows))
        return (gap > 1e-10) & (turns < 500)

    def turn(state):
        _, g, turns = state
        f = width * np.log(rows) + soft_min(g[None, :] - cost, 1)
        g = width * np.log(columns) + soft_min(f[:, None] - cost, 0)
        return f, g, turns + 1

    f, g, _ = tj.while_loop(off, turn, (np.zeros_like(rows), np.zeros_like(columns), 0))
    return plan(f, g)


def transport_cost(cost, rows, columns):
    return np.sum(transport(cost, rows, columns) * cost)


SINKHORN = (
    RNG.uniform(size=(4, 5)),
    np.array([0.1, 0.2, 0.3, 0.4]),
    np.array([0.3, 0.1, 0.2, 0.2, 0.2]),
)


def test_sinkhorn():
    _, rows, columns = SINKHORN
    plan = check_compiled(transport, SINKHORN)
    np.testing.assert_allclose(plan.sum(axis=0), columns, atol=1e-9)
    np.testing.assert_allclose(plan.sum(axis=1), rows, atol=1e-9)


def test_sinkhorn_forward():
    check_model(transport_cost, SINKHORN, modes=("fwd",))


def test_sinkhorn_slope_of_the_bound():
    """The derivative of the regularised value by the costs is the plan itself."""
    cost, rows, columns = SINKHORN

    def value(cost, rows, columns):
        p = transport(cost, rows, columns)
        return np.sum(p * cost) + 0.3 * np.sum(p * np.log(p))

    got = tj.jit(tj.jacfwd(value))(cost, rows, columns)
    np.testing.assert_allclose(got, transport(cost, rows, columns), atol=1e-7)


# --- beside JAX ---------------------------------------------------------------------


def sinkhorn_forward(cost, rows, columns):
    return tj.jacfwd(transport_cost)(cost, rows, columns)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fn", "args", "gradient"),
    [
        (trajectory_energy, ODE, True),
        (sensitivities, ODE, False),
        (negative_evidence, VAE, True),
        (transport, SINKHORN, False),
        (sinkhorn_forward, SINKHORN, False),
    ],
)
def test_beside_jax(fn, args, gradient):
    compare_with_jax(fn, args, gradient)
