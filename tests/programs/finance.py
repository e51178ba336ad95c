"""Finance: option prices, drawdowns, trees, simulated paths, portfolios."""

import math

import numpy as np
from scipy.special import erf

from .program import Program, arguments, normal, uniform


def normal_cdf(x):
    """Abramowitz and Stegun 26.2.17."""
    k = 1 / (1 + 0.2316419 * np.abs(x))
    poly = k * (
        0.319381530
        + k * (-0.356563782 + k * (1.781477937 + k * (-1.821255978 + k * 1.330274429)))
    )
    tail = np.exp(-0.5 * x * x) / math.sqrt(2 * math.pi) * poly
    return np.where(x >= 0, 1 - tail, tail)


def black_scholes(spot, strike, time, rate, sigma, cdf=normal_cdf):
    """Prices of European calls and puts."""
    root = sigma * np.sqrt(time)
    d1 = (np.log(spot / strike) + (rate + 0.5 * sigma**2) * time) / root
    d2 = d1 - root
    discounted = strike * np.exp(-rate * time)
    call = spot * cdf(d1) - discounted * cdf(d2)
    return call, call - spot + discounted


def black_scholes_erf(spot, strike, time, rate, sigma):
    """The same with SciPy's error function, and the delta."""
    root = sigma * np.sqrt(time)
    d1 = (np.log(spot / strike) + (rate + 0.5 * sigma**2) * time) / root
    cdf = [0.5 * (1 + erf(d / math.sqrt(2))) for d in (d1, d1 - root)]
    return spot * cdf[0] - strike * np.exp(-rate * time) * cdf[1], cdf[0]


def black_scholes_args(rng, dtype):
    return arguments(
        uniform(rng, dtype, 65, low=80, high=120),
        uniform(rng, dtype, 65, low=80, high=120),
        uniform(rng, dtype, 65, low=0.25, high=2),
        0.03,
        uniform(rng, dtype, 65, low=0.1, high=0.4),
    )


def max_drawdown(returns):
    """Equity curve, running drawdown, its depth and where it ends."""
    equity = np.exp(np.cumsum(np.log1p(returns), axis=0))
    peak = np.maximum.accumulate(equity, axis=0)
    drawdown = equity / peak - 1
    return equity, drawdown, drawdown.min(axis=0), drawdown.argmin(axis=0)


def max_drawdown_args(rng, dtype):
    return arguments(normal(rng, dtype, 60, 3) / 50)


def american_put_tree(spot, strike, rate, sigma, maturity, steps=24):
    """Binomial tree rolled back through one array written in place."""
    dt = maturity / steps
    up = np.exp(sigma * np.sqrt(dt))
    p = (np.exp(rate * dt) - 1 / up) / (up - 1 / up)
    discount = np.exp(-rate * dt)
    prices = spot * up ** np.arange(-steps, steps + 1, 2)
    value = np.maximum(strike - prices, 0)
    for i in range(steps, 0, -1):
        value[:i] = discount * (p * value[1 : i + 1] + (1 - p) * value[:i])
        exercise = strike - prices[:i] * up ** (steps - i + 1)
        np.maximum(value[:i], exercise, out=value[:i])
    return value[0]


def american_put_args(rng, dtype):
    return arguments(*(dtype.type(v) for v in (100, 105, 0.04, 0.3, 0.75)))


def asian_option_paths(shocks, spot, strike, rate, sigma, dt):
    """Average-price call over given shocks, with its standard error."""
    drift = (rate - 0.5 * sigma**2) * dt
    log_path = (drift + sigma * math.sqrt(dt) * shocks).cumsum(axis=1)
    mean_price = (spot * np.exp(log_path)).mean(axis=1)
    payoff = np.maximum(mean_price - strike, 0)
    payoff *= math.exp(-rate * dt * shocks.shape[1])
    return payoff.mean(), payoff.std(ddof=1) / math.sqrt(len(payoff))


def asian_option_args(rng, dtype):
    return arguments(normal(rng, dtype, 64, 12), 100.0, 99.0, 0.02, 0.25, 1 / 12)


def minimum_variance_portfolio(returns, periods=252):
    """Weights by a linear solve, annual return, volatility and Sharpe ratio."""
    mean = returns.mean(axis=0) * periods
    cov = np.cov(returns, rowvar=False) * periods
    weights = np.linalg.solve(cov, np.ones(cov.shape[0], cov.dtype))
    weights /= weights.sum()
    volatility = np.sqrt(weights @ cov @ weights)
    return weights, volatility, (weights @ mean) / volatility


def portfolio_args(rng, dtype):
    scale = np.array([1, 2, 0.7, 1.5], dtype) / 100
    return arguments(normal(rng, dtype, 90, 4) * scale)


PROGRAMS = (
    Program("black_scholes", black_scholes, black_scholes_args),
    Program("black_scholes_erf", black_scholes_erf, black_scholes_args),
    Program("max_drawdown", max_drawdown, max_drawdown_args),
    Program("american_put_tree", american_put_tree, american_put_args),
    Program("asian_option_paths", asian_option_paths, asian_option_args),
    Program("minimum_variance_portfolio", minimum_variance_portfolio, portfolio_args),
)
