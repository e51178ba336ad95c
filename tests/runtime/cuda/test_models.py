"""Whole models with their gradients on a device."""

import warnings

import numpy as np
import pytest

import tracejit as tj
from tests.models import test_flows as flows
from tests.models import test_gaussian_process as process
from tests.models import test_inner_derivatives as inner
from tests.models import test_sequences as sequences
from tests.models import test_transformer as transformer
from tests.models.checks import inexact
from tests.sampling import sampled
from tracejit.errors import HostFallbackWarning
from tracejit.tracing.tree import flatten

MODELS = {
    "GPT-2": (transformer.loss, transformer.arguments()),
    "VAE": (flows.negative_evidence, flows.VAE),
    "message passing": (flows.energy_of_graph, flows.GRAPH),
    "Sinkhorn": (flows.transport_cost, flows.SINKHORN),
    "Gaussian process": (process.negative_log_likelihood, process.arguments()),
    "MAML": (inner.maml_loss, inner.MAML),
    "LSTM": (sequences.lstm_loss, sequences.lstm_arguments()),
    "Kalman filter": (sequences.kalman_likelihood, sequences.kalman_arguments(3)),
}


def check(name, device):
    """Compare a model and its gradient on a device with the CPU."""
    model, args = MODELS[name]
    functions = [model]
    if name != "Sinkhorn":  # a while loop, which has no gradient in reverse
        functions.append(tj.value_and_grad(model, argnums=inexact(args)))
    for fn in functions:
        want = flatten(tj.jit(fn)(*args))[0]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", HostFallbackWarning)
            got = flatten(tj.jit(fn, device=device)(*args))[0]
        for x, y in zip(got, want, strict=True):
            x, y = np.asarray(x), np.asarray(y)
            assert (x.shape, x.dtype) == (y.shape, y.dtype)
            scale = float(np.max(np.abs(y), initial=1e-3))
            np.testing.assert_allclose(x, y, rtol=1e-9, atol=1e-9 * scale)


@pytest.mark.parametrize("name", sampled(MODELS, 5))
def test_models_and_their_gradients(name, device):
    check(name, device)
