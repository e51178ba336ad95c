"""Fit the polynomials of the vector math and write them as a table.

    python tools/fit_coefficients.py > tracejit/codegen/llvm/vmath/coefficients.py

Needs mpmath (a development tool, not a dependency of the package). Each fit is a
minimax polynomial by Remez exchange, in 60-digit arithmetic, of a smooth ``target``
under a ``weight`` that turns its error into the relative error of the function that
uses it. Coefficients are rounded to the working format one by one, lowest first, and
the rest is fitted again after each, so that later ones make up for earlier roundings.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass

import mpmath as mp

mp.mp.dps = 60
Function = Callable[[mp.mpf], mp.mpf]

HALF_LN2 = mp.log(2) / 2 * mp.mpf("1.01")
QUARTER_PI = mp.pi / 4 * mp.mpf("1.02")
ROOT = mp.sqrt(2)


@dataclass(frozen=True)
class Fit:
    """A polynomial to fit: name, target, weight, interval, degree by precision."""

    name: str
    target: Function
    weight: Function
    low: mp.mpf
    high: mp.mpf
    degrees: dict[str, int]


def _sin_tail(u: mp.mpf) -> mp.mpf:
    r = mp.sqrt(u)
    return (mp.sin(r) / r - 1) / u


def _cos_tail(u: mp.mpf) -> mp.mpf:
    return (mp.cos(mp.sqrt(u)) - 1 + u / 2) / u**2


def _log_tail(f: mp.mpf) -> mp.mpf:
    return (mp.log1p(f) - f + f * f / 2) / f**3


def _odd_tail(function: Function) -> Function:
    """Return t with function(r) = r + r^3 t(r^2)."""

    def tail(u: mp.mpf) -> mp.mpf:
        r = mp.sqrt(u)
        return (function(r) / r - 1) / u

    return tail


def _odd_weight(function: Function) -> Function:
    return lambda u: u * mp.sqrt(u) / function(mp.sqrt(u))


def _erf_tail(u: mp.mpf) -> mp.mpf:
    r = mp.sqrt(u)
    return mp.erf(r) / r - 1


def _erfcx(x: mp.mpf) -> mp.mpf:
    return mp.exp(x * x) * mp.erfc(x)


def _erfcx_mapped(t: mp.mpf) -> mp.mpf:
    """(1 + 2x) erfcx(x) with x = 2 (1 + t) / (1 - t)."""
    x = 2 * (1 + t) / (1 - t)
    return (1 + 2 * x) * _erfcx(x)


def _erfcx_tail(u: mp.mpf) -> mp.mpf:
    """Return q with erfcx(x) = (1 - u) (1 + u q(u)), x = 2u / (1 - u)."""
    return (_erfcx(2 * u / (1 - u)) / (1 - u) - 1) / u


# Fits start a little away from a removable singularity.
TINY = mp.mpf(10) ** -12
FITS = (
    # e^r = 1 + r + r^2 q(r); relative to e^r - 1, which serves expm1 too.
    Fit(
        "expm1",
        lambda r: (mp.expm1(r) - r) / r**2,
        lambda r: abs(r**2 / mp.expm1(r)),
        -HALF_LN2,
        HALF_LN2,
        {"f32": 5, "f64": 10},
    ),
    Fit(
        "exp",
        lambda r: (mp.expm1(r) - r) / r**2,
        lambda r: r**2 / mp.exp(r),
        -HALF_LN2,
        HALF_LN2,
        {"f32": 4, "f64": 10},
    ),
    # 2^f = p(f), f from the nearest integer and from the one below.
    Fit(
        "exp2",
        lambda f: mp.power(2, f),
        lambda f: mp.power(2, -f),
        mp.mpf("-0.5001"),
        mp.mpf("0.5001"),
        {"mid": 6},
    ),
    Fit(
        "exp2 above",
        lambda f: mp.power(2, f),
        lambda f: mp.power(2, -f),
        mp.mpf(0),
        mp.mpf(1),
        {"mid": 6},
    ),
    # log(1 + f) = f - f^2/2 + f^3 q(f).
    Fit(
        "log",
        _log_tail,
        lambda f: abs(f**3 / mp.log1p(f)),
        1 / ROOT - 1 - mp.mpf("1e-4"),
        ROOT - 1 + mp.mpf("1e-4"),
        {"f32": 7, "mid": 12, "f64": 19},
    ),
    # sin(r) = r + r^3 s(r^2), cos(r) = 1 - r^2/2 + r^4 c(r^2).
    Fit(
        "sin",
        _sin_tail,
        _odd_weight(mp.sin),
        TINY,
        QUARTER_PI**2,
        {"f32": 3, "f64": 5},
    ),
    Fit(
        "cos",
        _cos_tail,
        lambda u: u**2 / mp.cos(mp.sqrt(u)),
        mp.mpf(10) ** -8,
        QUARTER_PI**2,
        {"f32": 2, "f64": 5},
    ),
    # erf(x) = x + x p(x^2) for |x| <= 1.
    Fit(
        "erf",
        _erf_tail,
        lambda u: mp.sqrt(u) / mp.erf(mp.sqrt(u)),
        TINY,
        mp.mpf("1.001"),
        {"f32": 6, "f64": 12},
    ),
    # erfc(x) = e^-p(x) for 1 <= x <= 4 or 6, where 1 - erfc matters.
    Fit(
        "log erfc",
        lambda x: -mp.log(mp.erfc(x)),
        lambda x: mp.erfc(x),
        mp.mpf("0.999"),
        mp.mpf(4),
        {"f32": 6},
    ),
    Fit(
        "log erfc",
        lambda x: -mp.log(mp.erfc(x)),
        lambda x: mp.erfc(x),
        mp.mpf("0.999"),
        mp.mpf("5.95"),
        {"f64": 18},
    ),
    # tanh(r) = r + r^3 t(r^2) for |r| <= 0.56.
    Fit(
        "tanh",
        _odd_tail(mp.tanh),
        _odd_weight(mp.tanh),
        TINY,
        mp.mpf("0.56") ** 2,
        {"f32": 4, "f64": 11},
    ),
    # (1 + 2x) e^(x^2) erfc(x) = p(t), t = (x - 2) / (x + 2), for 0 <= x <= 30.
    Fit(
        "erfcx",
        _erfcx_mapped,
        lambda t: 1 / _erfcx_mapped(t),
        mp.mpf(-1),
        mp.mpf(28) / 32,
        {"f64": 24},
    ),
    # e^(x^2) erfc(x) = t (1 + u q(u)), t = 1 / (1 + x/2) = 1 - u, for 0 <= x <= 10.3.
    Fit(
        "erfc",
        _erfcx_tail,
        lambda u: u * (1 - u) / _erfcx(2 * u / (1 - u)),
        TINY,
        mp.mpf("5.15") / mp.mpf("6.15"),
        {"f32": 9},
    ),
    # 2 atanh(s) = 2s + 2 s^3 p(s^2) = log((1 + s) / (1 - s)), for pow.
    Fit(
        "atanh",
        lambda u: (mp.atanh(mp.sqrt(u)) / mp.sqrt(u) - 1 - u / 3) / u**2,
        lambda u: u**2,
        mp.mpf(10) ** -8,
        mp.mpf("0.02945"),
        {"f64": 8},
    ),
    # log(1 + e) = 2s + 2 s^3 p(s^2), s = e / (2 + e), for 0 <= e <= 1.
    Fit(
        "log1p",
        _odd_tail(mp.atanh),
        _odd_weight(mp.atanh),
        TINY,
        mp.mpf(1) / 9,
        {"f32": 4},
    ),
    Fit(
        "atan",
        _odd_tail(mp.atan),
        _odd_weight(mp.atan),
        TINY,
        (ROOT - 1) ** 2 * mp.mpf("1.001"),
        {"f32": 4, "f64": 11},
    ),
    Fit(
        "asin",
        _odd_tail(mp.asin),
        _odd_weight(mp.asin),
        TINY,
        mp.mpf("0.2501"),
        {"f32": 4, "f64": 11},
    ),
    # arctan(t) = t + t^3 p(t^2) for 0 <= t <= 1.
    Fit(
        "atan whole",
        _odd_tail(mp.atan),
        _odd_weight(mp.atan),
        TINY,
        mp.mpf("1.0001"),
        {"f32": 10},
    ),
    # sinh(r) = r + r^3 s(r^2), cosh(r) = 1 + r^2 c(r^2).
    Fit(
        "sinh",
        _odd_tail(mp.sinh),
        _odd_weight(mp.sinh),
        TINY,
        HALF_LN2**2,
        {"f32": 2},
    ),
    Fit(
        "cosh",
        lambda u: (mp.cosh(mp.sqrt(u)) - 1) / u,
        lambda u: u / mp.cosh(mp.sqrt(u)),
        TINY,
        HALF_LN2**2,
        {"f32": 2},
    ),
    # 1 / cbrt(m) for a start of Newton's method.
    Fit(
        "inverse cbrt",
        lambda m: 1 / mp.cbrt(m),
        mp.cbrt,
        1 / ROOT - mp.mpf("1e-4"),
        ROOT + mp.mpf("1e-4"),
        {"f32": 7, "f64": 7},
    ),
)


def round_to(value: mp.mpf, precision: str) -> mp.mpf:
    """Round to the nearest number of 24 bits (f32) or 53 bits."""
    with mp.workprec(24 if precision == "f32" else 53):
        return +value


class Remez:
    """Minimax fit of a target by polynomials whose first coefficients are given."""

    def __init__(self, fit: Fit, degree: int) -> None:
        count = 24 * (degree + 2)
        middle, half = (fit.low + fit.high) / 2, (fit.high - fit.low) / 2
        self.x = [middle - half * mp.cos(mp.pi * k / (count - 1)) for k in range(count)]
        self.y = [fit.target(x) for x in self.x]
        self.w = [fit.weight(x) for x in self.x]
        self.degree = degree

    def errors(self, coefficients: list[mp.mpf]) -> list[mp.mpf]:
        """Return the weighted error at each grid point."""
        descending = coefficients[::-1]
        return [
            w * (mp.polyval(descending, x) - y)
            for x, y, w in zip(self.x, self.y, self.w, strict=True)
        ]

    def solve(self, fixed: list[mp.mpf]) -> list[mp.mpf]:
        """Return all coefficients: ``fixed``, then the best rest."""
        free = self.degree + 1 - len(fixed)
        count = len(self.x)
        nodes = [round(k * (count - 1) / free) for k in range(free + 1)]
        coefficients: list[mp.mpf] = []
        for _ in range(12):
            coefficients = fixed + self._interpolate(fixed, nodes)
            found = self._extrema(self.errors(coefficients), free + 1)
            if found == nodes:
                break
            nodes = found
        return coefficients

    def _interpolate(self, fixed: list[mp.mpf], nodes: list[int]) -> list[mp.mpf]:
        """Solve for an error that alternates, of one size, at the nodes."""
        size, k = len(nodes), len(fixed)
        matrix, right = mp.matrix(size, size), mp.matrix(size, 1)
        for row, node in enumerate(nodes):
            x, w = self.x[node], self.w[node]
            for column in range(size - 1):
                matrix[row, column] = w * x ** (k + column)
            matrix[row, size - 1] = (-1) ** row
            known = mp.polyval(fixed[::-1], x) if fixed else mp.mpf(0)
            right[row] = w * (self.y[node] - known)
        return list(mp.lu_solve(matrix, right))[: size - 1]

    @staticmethod
    def _extrema(errors: list[mp.mpf], wanted: int) -> list[int]:
        """Return alternating extrema: the largest of each run of one sign."""
        runs: list[int] = []
        for k, error in enumerate(errors):
            if runs and (errors[runs[-1]] > 0) == (error > 0):
                if abs(error) > abs(errors[runs[-1]]):
                    runs[-1] = k
            else:
                runs.append(k)
        while len(runs) > wanted:
            at_front = abs(errors[runs[0]]) < abs(errors[runs[-1]])
            runs.pop(0 if at_front else -1)
        if len(runs) < wanted:
            raise ArithmeticError(f"{len(runs)} extrema, wanted {wanted}")
        return runs


def fit_rounded(fit: Fit, precision: str) -> tuple[list[float], mp.mpf]:
    """Return rounded coefficients, lowest first, and their largest weighted error."""
    remez = Remez(fit, fit.degrees[precision])
    best = remez.solve([])
    error = max(map(abs, remez.errors(best)))
    fixed: list[mp.mpf] = []
    for k in range(remez.degree):
        fixed.append(round_to(best[k], precision))
        try:
            found = remez.solve(fixed)
        except ArithmeticError:
            break
        found_error = max(map(abs, remez.errors(found)))
        # Once roundings dominate, the exchange has no alternation to find: stop there.
        if found_error > 1.3 * error:
            break
        best, error = found, found_error
    rounded = [round_to(c, precision) for c in best]
    return [float(c) for c in rounded], max(map(abs, remez.errors(rounded)))


HEADER = '''"""Polynomial coefficients of the vector math, lowest degree first.

Written by ``python tools/fit_coefficients.py``, which says what each one fits; do not
edit. The comment before each is the largest relative error that the rounded
polynomial itself adds to the function, as a power of two.
"""

# 2/pi, the bits after the binary point.
TWO_OVER_PI = int(
    "{two_over_pi}",
    16,
)
TWO_OVER_PI_BITS = {bits}

# Constants in parts that sum to them, largest first, by element type. All parts but
# the last are short, so that multiples of them by small integers are exact.
PARTS: dict[tuple[str, str], tuple[float, ...]] = {{
{parts}}}

COEFFICIENTS: dict[tuple[str, str], tuple[float, ...]] = {{
'''
TWO_OVER_PI_BITS = 1344

# Constant, bits of each part in float and in double.
PARTS = (
    ("one", mp.mpf(1), {"float": (24, 24), "double": (53, 53)}),
    ("ln2", mp.log(2), {"float": (15, 24), "double": (40, 53)}),
    ("ln2 long", mp.log(2), {"double": (40, 40, 53)}),
    ("pi/2", mp.pi / 2, {"float": (24, 24, 24), "double": (33, 33, 33, 53)}),
    ("pi/2 full", mp.pi / 2, {"double": (53, 53, 53)}),
    ("1/ln2", 1 / mp.log(2), {"float": (24, 24), "double": (53, 53)}),
    ("1/ln10", 1 / mp.log(10), {"float": (24, 24), "double": (53, 53)}),
    ("log10 2", mp.log10(2), {"float": (15, 24), "double": (40, 53)}),
)


def parts_of(value: mp.mpf, bits: tuple[int, ...]) -> list[float]:
    """Return numbers of the given bits that sum to a value, each rounded to nearest."""
    parts = []
    for count in bits:
        with mp.workprec(count):
            part = +value
        parts.append(float(part))
        value -= part
    return parts


def parts_table() -> str:
    """Return the rows of the table of constants."""
    rows = []
    for name, value, by_element in PARTS:
        for element, bits in by_element.items():
            rows.append(f'    ("{name}", "{element}"): (\n')
            rows += [f"        {part!r},\n" for part in parts_of(value, bits)]
            rows.append("    ),\n")
    return "".join(rows)


def two_over_pi() -> str:
    """Return the first bits of 2/pi after the point, in hexadecimal."""
    with mp.workprec(TWO_OVER_PI_BITS + 64):
        digits = f"{int(mp.floor(2 / mp.pi * mp.mpf(2) ** TWO_OVER_PI_BITS)):x}"
    return '"\n    "'.join(digits[k : k + 64] for k in range(0, len(digits), 64))


def main() -> None:
    """Print the table."""
    text = [
        HEADER.format(
            two_over_pi=two_over_pi(), bits=TWO_OVER_PI_BITS, parts=parts_table()
        )
    ]
    for fit in FITS:
        for precision in fit.degrees:
            coefficients, worst = fit_rounded(fit, precision)
            text.append(f"    # 2**{float(mp.log(worst, 2)):.1f}\n")
            text.append(f'    ("{fit.name}", "{precision}"): (\n')
            text += [f"        {c!r},\n" for c in coefficients]
            text.append("    ),\n")
            print(fit.name, precision, mp.nstr(mp.log(worst, 2), 4), file=sys.stderr)
    text.append("}\n")
    sys.stdout.write("".join(text))


if __name__ == "__main__":
    main()
