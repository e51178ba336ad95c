"""Arrays on the machine's device; see `tests.runtime.cuda.test_arrays`."""

from tests.runtime.cuda.test_arrays import (  # noqa: F401
    test_arrays_say_what_they_are,
    test_dtypes,
    test_expressions_are_numpys,
    test_the_cuda_array_interface,
    test_writes_are_numpys,
    x,
)
