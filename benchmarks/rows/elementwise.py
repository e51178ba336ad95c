"""Chains of elementwise operations: one pass over memory when fused."""

import math

import numpy as np
from scipy.special import erf

from ..row import Row
from .inputs import normal, uniform

SIZE = 4 * 2**20
SQRT_2_OVER_PI = math.sqrt(2 / math.pi)
RATE, SIGMA = 0.03, 0.2


def gelu_chain(x):
    """tanh-GELU of 1.3 x + 0.2, times 0.7."""
    y = 1.3 * x + 0.2
    inner = SQRT_2_OVER_PI * (y + 0.044715 * y * y * y)
    return 0.5 * y * (1 + np.tanh(inner)) * 0.7


def gelu_chain_jax(jax):
    return lambda x: jax.nn.gelu(1.3 * x + 0.2, approximate=True) * 0.7


def gelu_chain_torch(torch):
    gelu = torch.nn.functional.gelu
    return lambda x: gelu(1.3 * x + 0.2, approximate="tanh") * 0.7


def black_scholes(spot, strike, time):
    """Prices of European calls and puts."""
    root = SIGMA * np.sqrt(time)
    d1 = (np.log(spot / strike) + (RATE + 0.5 * SIGMA**2) * time) / root
    cdf1 = 0.5 * (1 + erf(d1 / math.sqrt(2)))
    cdf2 = 0.5 * (1 + erf((d1 - root) / math.sqrt(2)))
    discounted = strike * np.exp(-RATE * time)
    call = spot * cdf1 - discounted * cdf2
    return call, call - spot + discounted


def _black_scholes_twin(sqrt, log, exp, erf):
    def black_scholes(spot, strike, time):
        root = SIGMA * sqrt(time)
        d1 = (log(spot / strike) + (RATE + 0.5 * SIGMA**2) * time) / root
        cdf1 = 0.5 * (1 + erf(d1 / math.sqrt(2)))
        cdf2 = 0.5 * (1 + erf((d1 - root) / math.sqrt(2)))
        discounted = strike * exp(-RATE * time)
        call = spot * cdf1 - discounted * cdf2
        return call, call - spot + discounted

    return black_scholes


def black_scholes_jax(jax):
    jnp = jax.numpy
    return _black_scholes_twin(jnp.sqrt, jnp.log, jnp.exp, jax.scipy.special.erf)


def black_scholes_torch(torch):
    return _black_scholes_twin(torch.sqrt, torch.log, torch.exp, torch.special.erf)


def black_scholes_inputs(rng):
    spot, strike = (uniform(rng, 80, 120, SIZE) for _ in range(2))
    return spot, strike, uniform(rng, 0.25, 2, SIZE)


ROWS = [
    Row(
        name="gelu_chain_4M",
        make_inputs=lambda rng: (normal(rng, SIZE),),
        numpy_fn=gelu_chain,
        jax_fn=gelu_chain_jax,
        torch_fn=gelu_chain_torch,
        flops=30 * SIZE,
        bytes=8 * SIZE,
    ),
    Row(
        name="black_scholes_4M",
        make_inputs=black_scholes_inputs,
        numpy_fn=black_scholes,
        jax_fn=black_scholes_jax,
        torch_fn=black_scholes_torch,
        flops=100 * SIZE,
        bytes=20 * SIZE,
    ),
]
