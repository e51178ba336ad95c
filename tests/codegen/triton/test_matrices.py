"""The kernels beside a library's routines compile; what they give is tested there."""

import numpy as np
import pytest

from tracejit.codegen.triton.build import build
from tracejit.codegen.triton.externs import matrices
from tracejit.kernels.kernel import Buffer, dense_strides


def buffer(name, shape, dtype="f8"):
    return Buffer(name, np.dtype(dtype), shape, dense_strides(shape))


X, OUT = buffer("x", (3, 70, 70)), buffer("out", (3, 70, 70))
INFO, PIVOTS = buffer("info", (3,), "i4"), buffer("pivots", (3, 70), "i4")
SIGN, VALUE = buffer("sign", (3,)), buffer("value", (3,))
CODES = {
    "addresses": matrices.addresses_code(X, buffer("to", (3,), "i8"), 70 * 70 * 8),
    "lower": matrices.lower_code(X, OUT),
    "identity": matrices.identity_code(OUT),
    "failed": matrices.failed_code(INFO),
    "singular": matrices.singular_code(X),
    "nan": matrices.nan_code(INFO, OUT),
    "det": matrices.determinant_code(X, PIVOTS, INFO, None, VALUE),
    "slogdet": matrices.determinant_code(X, PIVOTS, INFO, SIGN, VALUE),
}


@pytest.mark.parametrize("name", CODES)
def test_they_compile_without_spills(name):
    assert build(CODES[name], "sm_90").facts.spilled in (0, None)
