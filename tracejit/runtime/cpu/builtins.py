"""Helper functions that LLVM calls for half-precision conversions.

Where a CPU has no instruction for a conversion to or from float16 or bfloat16, LLVM
calls a function of a compiler's run-time library, which no Python process is sure to
have. This module writes them as LLVM text, in integer arithmetic, correctly rounded
(to nearest, ties to even) with subnormals, infinities and quieted NaNs. `engine`
compiles them when object code names one.
"""

from ...records import dataclass


@dataclass(frozen=True)
class _Format:
    """A binary floating-point format: LLVM's name, widths, exponent bias."""

    llvm: str
    bits: int
    mantissa: int
    bias: int

    @property
    def infinity(self) -> int:
        """The bits of +inf."""
        return ((1 << (self.bits - 1 - self.mantissa)) - 1) << self.mantissa

    def power(self, exponent: int) -> int:
        """The bits of 2**exponent."""
        return (exponent + self.bias) << self.mantissa


_HALF = _Format("half", 16, 10, 15)
_BFLOAT = _Format("bfloat", 16, 7, 127)
_FLOAT = _Format("float", 32, 23, 127)
_DOUBLE = _Format("double", 64, 52, 1023)

_TRUNCATIONS = {
    "__truncsfhf2": (_FLOAT, _HALF),
    "__truncdfhf2": (_DOUBLE, _HALF),
    "__truncsfbf2": (_FLOAT, _BFLOAT),
    "__truncdfbf2": (_DOUBLE, _BFLOAT),
}
_EXTENSION = "__extendhfsf2"
BUILTINS = (*_TRUNCATIONS, _EXTENSION)


def builtins_text() -> str:
    """Return the LLVM module that defines every name in `BUILTINS`."""
    parts = [_truncation(name, *formats) for name, formats in _TRUNCATIONS.items()]
    return "\n".join([*parts, _extension(_EXTENSION, _HALF, _FLOAT)])


def _truncation(name: str, wide: _Format, narrow: _Format) -> str:
    """Return a function that rounds a wide float to a narrow one.

    All cases are computed and the right one selected. Normal numbers: add half of the
    last kept place (less one if that place is even) to the bits, so that carries go
    into the exponent. Subnormal results: adding the power of two whose last place is
    the narrow format's smallest number makes the FPU round there.
    """
    i = f"i{wide.bits}"
    shift = wide.mantissa - narrow.mantissa
    smallest = 1 - narrow.bias  # exponent of the smallest normal number
    anchor = wide.power(smallest - narrow.mantissa + wide.mantissa)
    return f"""
define {narrow.llvm} @{name}({wide.llvm} %x) {{
  %bits = bitcast {wide.llvm} %x to {i}
  %abs = and {i} %bits, {(1 << (wide.bits - 1)) - 1}
  %last = lshr {i} %abs, {shift}
  %odd = and {i} %last, 1
  %biased = sub {i} %abs, {(wide.bias - narrow.bias) << wide.mantissa}
  %nearly = add {i} %biased, {(1 << (shift - 1)) - 1}
  %rounded = add {i} %nearly, %odd
  %normal = lshr {i} %rounded, {shift}
  %positive = bitcast {i} %abs to {wide.llvm}
  %anchor = bitcast {i} {anchor} to {wide.llvm}
  %anchored = fadd {wide.llvm} %positive, %anchor
  %anchored_bits = bitcast {wide.llvm} %anchored to {i}
  %subnormal = sub {i} %anchored_bits, {anchor}
  %small = icmp ult {i} %abs, {wide.power(smallest)}
  %finite = select i1 %small, {i} %subnormal, {i} %normal
  %large = icmp uge {i} %abs, {wide.power(narrow.bias + 1)}
  %number = select i1 %large, {i} {narrow.infinity}, {i} %finite
  %payload = and {i} %last, {(1 << narrow.mantissa) - 1}
  %quiet = or {i} %payload, {narrow.infinity | 1 << (narrow.mantissa - 1)}
  %is_nan = icmp ugt {i} %abs, {wide.infinity}
  %magnitude = select i1 %is_nan, {i} %quiet, {i} %number
  %sign_high = lshr {i} %bits, {wide.bits - narrow.bits}
  %sign = and {i} %sign_high, {1 << (narrow.bits - 1)}
  %all = or {i} %magnitude, %sign
  %low = trunc {i} %all to i{narrow.bits}
  %result = bitcast i{narrow.bits} %low to {narrow.llvm}
  ret {narrow.llvm} %result
}}
"""


def _extension(name: str, narrow: _Format, wide: _Format) -> str:
    """Return a function that converts a narrow float to a wide one, exactly."""
    i = f"i{wide.bits}"
    shift = wide.mantissa - narrow.mantissa
    rebias = (wide.bias - narrow.bias) << wide.mantissa
    step = wide.power(1 - narrow.bias - narrow.mantissa)
    return f"""
define {wide.llvm} @{name}({narrow.llvm} %x) {{
  %narrow = bitcast {narrow.llvm} %x to i{narrow.bits}
  %bits = zext i{narrow.bits} %narrow to {i}
  %abs = and {i} %bits, {(1 << (narrow.bits - 1)) - 1}
  %moved = shl {i} %abs, {shift}
  %normal = add {i} %moved, {rebias}
  %special = or {i} %moved, {wide.infinity}
  %quiet = or {i} %special, {1 << (wide.mantissa - 1)}
  %steps = uitofp {i} %abs to {wide.llvm}
  %step = bitcast {i} {step} to {wide.llvm}
  %small_value = fmul {wide.llvm} %steps, %step
  %subnormal = bitcast {wide.llvm} %small_value to {i}
  %is_small = icmp ult {i} %abs, {1 << narrow.mantissa}
  %finite = select i1 %is_small, {i} %subnormal, {i} %normal
  %is_special = icmp uge {i} %abs, {narrow.infinity}
  %number = select i1 %is_special, {i} %special, {i} %finite
  %is_nan = icmp ugt {i} %abs, {narrow.infinity}
  %magnitude = select i1 %is_nan, {i} %quiet, {i} %number
  %sign_low = and {i} %bits, {1 << (narrow.bits - 1)}
  %sign = shl {i} %sign_low, {wide.bits - narrow.bits}
  %all = or {i} %magnitude, %sign
  %result = bitcast {i} %all to {wide.llvm}
  ret {wide.llvm} %result
}}
"""
