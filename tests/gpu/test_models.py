"""Whole models with their gradients on the machine's device."""

import pytest

from tests.runtime.cuda.test_models import MODELS, check


@pytest.mark.parametrize("name", MODELS)
def test_models_and_their_gradients(name, device):
    check(name, device)
