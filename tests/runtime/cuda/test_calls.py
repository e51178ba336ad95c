"""Functions on a device: what they give, and what is asked of the driver."""

import numpy as np

import tracejit as tj


def test_one_kernel_for_one_softmax(fake, device):
    @tj.jit(device=device)
    def softmax(x):
        e = np.exp(x - x.max(axis=1, keepdims=True))
        return e / e.sum(axis=1, keepdims=True)

    x = np.random.default_rng(0).standard_normal((4, 33)).astype(np.float32)
    y = softmax(x)
    assert isinstance(y, tj.Array)
    assert len(fake.launches) == 1
    np.testing.assert_allclose(y.numpy(), softmax.__wrapped__(x), rtol=1e-6)
