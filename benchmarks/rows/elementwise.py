"""Chains of elementwise operations: one pass over memory when fused."""

import math

import numpy as np

from ..row import Row
from .half import in_float32
from .inputs import normal, uniform

SIZE = 4 * 2**20
SQRT_2_OVER_PI = math.sqrt(2 / math.pi)
RATE, SIGMA = 0.03, 0.2
F32 = np.float32


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


def gelu_chain_numba(numba):
    a, b, c, d = F32(1.3), F32(0.2), F32(SQRT_2_OVER_PI), F32(0.044715)
    half, one, e = F32(0.5), F32(1), F32(0.7)

    @numba.njit(parallel=True, fastmath=True)
    def gelu_chain(x):
        out = np.empty_like(x)
        for i in numba.prange(x.size):
            y = a * x[i] + b
            out[i] = half * y * (one + math.tanh(c * (y + d * y * y * y))) * e
        return out

    return gelu_chain


def gelu_chain_drjit(dr):
    def gelu_chain(x):
        y = 1.3 * x + 0.2
        inner = SQRT_2_OVER_PI * (y + 0.044715 * y * y * y)
        return 0.5 * y * (1 + dr.tanh(inner)) * 0.7

    return gelu_chain


def gelu_row(size: int, dtype: str = "float32", name: str = "gelu_chain") -> Row:
    """The chain over `size` elements."""
    return Row(
        name=name,
        make_inputs=lambda rng: (normal(rng, size),),
        numpy_fn=gelu_chain if dtype == "float32" else in_float32(gelu_chain),
        jax_fn=gelu_chain_jax,
        torch_fn=gelu_chain_torch,
        numba_fn=gelu_chain_numba,
        drjit_fn=gelu_chain_drjit,
        dtype=dtype,
        flops=30 * size,
        bytes=2 * np.dtype(dtype).itemsize * size,
        rtol=1e-5 if dtype == "float32" else 3e-2,
    )


def black_scholes(spot, strike, time):
    """Prices of European calls and puts."""
    from scipy.special import erf  # noqa: PLC0415 - machines with a GPU may not have it

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


def black_scholes_drjit(dr):
    return _black_scholes_twin(dr.sqrt, dr.log, dr.exp, dr.erf)


def black_scholes_numba(numba):
    sigma, drift, rate = F32(SIGMA), F32(RATE + 0.5 * SIGMA**2), F32(-RATE)
    half, one, root_half = F32(0.5), F32(1), F32(math.sqrt(0.5))

    @numba.njit(parallel=True, fastmath=True)
    def black_scholes(spot, strike, time):
        calls, puts = np.empty_like(spot), np.empty_like(spot)
        for i in numba.prange(spot.size):
            s, k, t = spot[i], strike[i], time[i]
            root = sigma * math.sqrt(t)
            d1 = (math.log(s / k) + drift * t) / root
            cdf1 = half * (one + math.erf(d1 * root_half))
            cdf2 = half * (one + math.erf((d1 - root) * root_half))
            discounted = k * math.exp(rate * t)
            calls[i] = s * cdf1 - discounted * cdf2
            puts[i] = calls[i] - s + discounted
        return calls, puts

    return black_scholes


def black_scholes_row(size: int, name: str) -> Row:
    """Prices of `size` options."""

    def make_inputs(rng):
        spot, strike = (uniform(rng, 80, 120, size) for _ in range(2))
        return spot, strike, uniform(rng, 0.25, 2, size)

    return Row(
        name=name,
        make_inputs=make_inputs,
        numpy_fn=black_scholes,
        jax_fn=black_scholes_jax,
        torch_fn=black_scholes_torch,
        numba_fn=black_scholes_numba,
        drjit_fn=black_scholes_drjit,
        flops=100 * size,
        bytes=20 * size,
    )


ROWS = [
    gelu_row(SIZE, name="gelu_chain_4M"),
    black_scholes_row(SIZE, "black_scholes_4M"),
]
