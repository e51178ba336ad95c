"""The two float8 formats in numbers, for whoever writes their conversions in integers.

Both are storage formats: arithmetic on them is done in float32 and rounded, as in
ml_dtypes. See `Float8` for what distinguishes them.
"""

import numpy as np

from ..records import dataclass
from .dtypes import FLOAT8_E4M3FN, FLOAT8_E5M2

FLOAT32_MANTISSA = 23
FLOAT32_BIAS = 127


@dataclass(frozen=True)
class Float8:
    """A format of 8 bits; what is said in bits of float32 is said of magnitudes.

    Parameters
    ----------
    mantissa : int
        Bits of the mantissa.
    bias : int
        Of the exponent.
    largest : int
        The largest finite number, as its 8 bits.
    nan : int
        The NaN that conversions give, as its 8 bits.
    has_infinity : bool
        Whether what is too large becomes an infinity (the bits after `largest`)
        rather than NaN.
    """

    mantissa: int
    bias: int
    largest: int
    nan: int
    has_infinity: bool

    @property
    def shift(self) -> int:
        """How many more bits float32 has in its mantissa."""
        return FLOAT32_MANTISSA - self.mantissa

    @property
    def rebias(self) -> int:
        """What is added to shifted bits to make a normal number one of float32."""
        return (FLOAT32_BIAS - self.bias) << FLOAT32_MANTISSA

    @property
    def step(self) -> float:
        """The smallest subnormal number.

        Examples
        --------
        >>> FORMATS[FLOAT8_E4M3FN].step == 2.0**-9
        True
        """
        return 2.0 ** (1 - self.bias - self.mantissa)

    @property
    def smallest_normal(self) -> int:
        """The smallest normal number, in bits of float32."""
        return (1 << FLOAT32_MANTISSA) + self.rebias

    @property
    def largest_finite(self) -> int:
        """The largest finite number, in bits of float32."""
        return (self.largest << self.shift) + self.rebias

    @property
    def anchor(self) -> int:
        """The power of two whose last place in float32 is `step`, in bits of float32.

        Added to a subnormal number it makes the sum round to multiples of `step`.
        """
        return self.smallest_normal + (self.shift << FLOAT32_MANTISSA)


FORMATS: dict[np.dtype, Float8] = {
    FLOAT8_E4M3FN: Float8(3, 7, largest=0x7E, nan=0x7F, has_infinity=False),
    FLOAT8_E5M2: Float8(2, 15, largest=0x7B, nan=0x7E, has_infinity=True),
}
