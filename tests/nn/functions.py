"""Every function of `tracejit.nn` beside its written-out definition in float64.

`DEFINITIONS` has the functions of one array that compute element by element; the
definitions overflow where they may, the functions must not.
"""

import math

import numpy as np

from tracejit import nn

SELU = 1.0507009873554805, 1.6732632423543772


def erf(x):
    return np.vectorize(math.erf)(x)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


DEFINITIONS = {
    "relu": lambda x: np.maximum(x, 0),
    "relu6": lambda x: np.clip(x, 0, 6),
    "leaky_relu": lambda x: np.where(x > 0, x, 0.01 * x),
    "hard_tanh": lambda x: np.clip(x, -1, 1),
    "hard_sigmoid": lambda x: np.clip(x + 3, 0, 6) / 6,
    "hard_silu": lambda x: x * np.clip(x + 3, 0, 6) / 6,
    "elu": lambda x: np.where(x > 0, x, np.exp(x) - 1),
    "selu": lambda x: SELU[0] * np.where(x > 0, x, SELU[1] * (np.exp(x) - 1)),
    "celu": lambda x: np.where(x > 0, x, np.exp(x) - 1),
    "sigmoid": sigmoid,
    "log_sigmoid": lambda x: np.log(sigmoid(x)),
    "tanh": np.tanh,
    "softplus": lambda x: np.log(1 + np.exp(x)),
    "softsign": lambda x: x / (1 + np.abs(x)),
    "silu": lambda x: x * sigmoid(x),
    "gelu": lambda x: 0.5 * x * (1 + erf(x / math.sqrt(2))),
    "mish": lambda x: x * np.tanh(np.log(1 + np.exp(x))),
}
# Where a derivative jumps, and what it is there.
CORNERS = {
    "relu": {0: 0},
    "relu6": {0: 0, 6: 0},
    "leaky_relu": {0: 0.01},
    "hard_tanh": {-1: 0, 1: 0},
    "hard_sigmoid": {-3: 0, 3: 0},
    "hard_silu": {-3: 0, 3: 1},
    "elu": {0: 1},
    "selu": {0: SELU[0] * SELU[1]},
    "celu": {0: 1},
}
# Values and slopes far out, to the left and to the right.
FAR = {
    "relu": ((0, 0), (1000, 1)),
    "relu6": ((0, 0), (6, 0)),
    "leaky_relu": ((-10, 0.01), (1000, 1)),
    "hard_tanh": ((-1, 0), (1, 0)),
    "hard_sigmoid": ((0, 0), (1, 0)),
    "hard_silu": ((0, 0), (1000, 1)),
    "elu": ((-1, 0), (1000, 1)),
    "selu": ((-SELU[0] * SELU[1], 0), (1000 * SELU[0], SELU[0])),
    "celu": ((-1, 0), (1000, 1)),
    "sigmoid": ((0, 0), (1, 0)),
    "log_sigmoid": ((-1000, 1), (0, 0)),
    "tanh": ((-1, 0), (1, 0)),
    "softplus": ((0, 0), (1000, 1)),
    "softsign": ((-1000 / 1001, 1001**-2), (1000 / 1001, 1001**-2)),
    "silu": ((0, 0), (1000, 1)),
    "gelu": ((0, 0), (1000, 1)),
    "mish": ((0, 0), (1000, 1)),
}


def function(name):
    return getattr(nn, name)
