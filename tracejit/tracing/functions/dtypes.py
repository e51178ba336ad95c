"""Rules for NumPy's questions about dtypes: the answers are Python's."""

from typing import Any

import numpy as np

from ..storage import Kind
from ..tracer import Tracer
from .registry import implements


def type_of(x: Any) -> Any:
    """Return what decides about a traced value: a dtype, or a weak Python number."""
    if not isinstance(x, Tracer):
        return x
    weak = {"i": 0, "f": 0.0, "c": 0j}.get(x.dtype.kind)
    return weak if x.kind is Kind.PYTHON and weak is not None else x.dtype


@implements(np.result_type)
def result_type(*arrays_and_dtypes: Any) -> np.dtype:
    return np.result_type(*map(type_of, arrays_and_dtypes))


@implements(np.can_cast)
def can_cast(from_: Any, to: Any, casting: Any = "safe") -> bool:
    return np.can_cast(type_of(from_), to, casting)
