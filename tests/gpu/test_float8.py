"""float8 on the machine's device; see `tests.runtime.cuda.test_float8`."""

from tests.runtime.cuda.test_float8 import (  # noqa: F401
    test_casts_are_part_of_products,
    test_every_number_comes_through,
    test_floats_are_rounded_as_by_ml_dtypes,
    test_gradients,
    test_moves_and_choices,
)
