"""Fit the tables of the vector math: polynomials for sixteen parts of a range.

    python tools/fit_tables.py > tracejit/codegen/llvm/vmath/tables.py

Needs mpmath. Each part has a polynomial in the distance from its *center*, a number
near its middle that is chosen so that the function, and its slope, are almost float32
numbers there: then no rounding of the first coefficients counts. Fits are minimax in
relative error, rounded one by one (see `fit_coefficients`).

Logarithms have one polynomial for all parts, in r = m c - 1, and a table of c, about
1 / m, which are chosen so that their logarithms are almost short numbers.
"""

import math
import struct
import sys
from collections.abc import Callable
from dataclasses import dataclass

import mpmath as mp
from fit_coefficients import Fit, Remez, fit_rounded, round_to

PARTS = 16
TINY = mp.mpf(10) ** -8
SEARCHED = 40_000  # float32 numbers on either side of a middle
GOOD = mp.mpf(2) ** -30  # errors below this may grow when coefficients are rounded
GROWTH = mp.mpf("1.6")


@dataclass(frozen=True)
class Curve:
    """An odd function to tabulate on [0, top), by parts `step` long around multiples.

    Parameters
    ----------
    exact : callable
    value, slope : callable
        The function and its derivative in doubles, for the search of centers.
    near : tuple of float, Fit
        The first coefficients around 0, and what the others are fitted to.
    degree : int
    last : float, optional
        What the last center is to be near, if not a multiple of `step`: where numbers
        are far apart beside the distance of the function from 1.
    """

    name: str
    exact: Callable[[mp.mpf], mp.mpf]
    value: Callable[[float], float]
    slope: Callable[[float], float]
    near: tuple[tuple[float, ...], Fit]
    step: float
    top: float
    degree: int
    last: float | None = None


def float32_near(x: float, offset: int) -> float:
    """Return the number that is `offset` numbers after x."""
    (bits,) = struct.unpack("<i", struct.pack("<f", x))
    return float(struct.unpack("<f", struct.pack("<i", bits + offset))[0])


def rounding(x: float) -> float:
    """Return the relative error of rounding x to float32."""
    return abs(struct.unpack("<f", struct.pack("<f", x))[0] - x) / abs(x)


def center_near(curve: Curve, middle: float) -> float:
    """Return a number near `middle` at which value and slope are almost float32."""

    def badness(x: float) -> float:
        by_value = rounding(curve.value(x)) * 2.0**33
        return max(by_value, rounding(curve.slope(x)) * 2.0**28)

    numbers = (float32_near(middle, k) for k in range(-SEARCHED, SEARCHED))
    return min(numbers, key=badness)


def fit_part(
    curve: Curve, center: mp.mpf, low: mp.mpf, high: mp.mpf, first: mp.mpf
) -> list[mp.mpf]:
    """Return the rounded polynomial around a center whose value is given."""
    fit = Fit(
        curve.name,
        lambda t: curve.exact(center + t),
        lambda t: 1 / curve.exact(center + t),
        low,
        high,
        {},
    )
    remez, fixed = Remez(fit, curve.degree), [first]
    best = remez.solve(fixed)
    error = max(map(abs, remez.errors(best)))
    for k in range(1, curve.degree):
        fixed.append(round_to(best[k], "f32"))
        try:
            found = remez.solve(fixed)
        except ArithmeticError:
            break
        found_error = max(map(abs, remez.errors(found)))
        if found_error > max(GROWTH * error, GOOD):
            break
        best, error = found, found_error
    return [round_to(c, "f32") for c in best]


def tabulate(curve: Curve) -> tuple[list[float], list[list[float]]]:
    """Return the centers, and the coefficients of each part, lowest first."""
    first, near = curve.near
    rows = [[*first, *fit_rounded(near, "f32")[0]]]
    centers, half = [0.0], mp.mpf(curve.step) / 2
    for k in range(1, PARTS):
        middle = k * curve.step
        is_last = k == PARTS - 1
        at = curve.last if is_last and curve.last is not None else middle
        centers.append(center_near(curve, at))
        center = mp.mpf(centers[-1])
        end = mp.mpf(curve.top) if is_last else middle + half
        value = round_to(curve.exact(center), "f32")
        row = fit_part(curve, center, middle - half - center, end - center, value)
        rows.append([float(c) for c in row])
    return centers, [row + [0.0] * (curve.degree + 1 - len(row)) for row in rows]


CURVES = (
    Curve(
        "tanh",
        mp.tanh,
        math.tanh,
        lambda x: 1 / math.cosh(x) ** 2,
        # tanh t = t + t^2 p(t)
        (
            (0.0, 1.0),
            Fit(
                "tanh",
                lambda t: (mp.tanh(t) / t - 1) / t,
                lambda t: t * t / mp.tanh(t),
                TINY,
                mp.mpf("0.25"),
                {"f32": 5},
            ),
        ),
        0.5,
        9.02,
        7,
    ),
    Curve(
        "erf",
        mp.erf,
        math.erf,
        lambda x: 2 / math.sqrt(math.pi) * math.exp(-x * x),
        # erf t = t + t p(t)
        (
            (0.0,),
            Fit(
                "erf",
                lambda t: mp.erf(t) / t - 1,
                lambda t: t / mp.erf(t),
                TINY,
                mp.mpf("0.13"),
                {"f32": 5},
            ),
        ),
        0.26,
        3.95,
        6,
        3.8325,  # erf is 1 - 2**-24
    ),
)

# log m for m in [3/4, 3/2): by its first four bits, steps of 1/16 from 1 on, then steps
# of 1/32 below 1. Around 1 the inverse is 1, so that small results keep their bits.
LOG_PARTS = [(1 + k / 16, 1 + (k + 1) / 16) for k in range(8)]
LOG_PARTS += [(0.75 + k / 32, 0.75 + (k + 1) / 32) for k in range(8)]
# By those bits rounded, so that 1 is inside of a part: of m in [47/64, 94/64).
CENTERED_PARTS = [(1 + (2 * k - 1) / 32, 1 + (2 * k + 1) / 32) for k in range(8)]
CENTERED_PARTS += [(0.75 + (2 * k - 1) / 64, 0.75 + (2 * k + 1) / 64) for k in range(8)]
CENTERED_PARTS[0] = (1 - 1 / 64, 1 + 1 / 32)


FIXED_BITS = 160  # after the point, of integers that stand for numbers


@dataclass(frozen=True)
class Logarithm:
    """A table of logarithms: bits after the point, how many of such numbers to try.

    And of the polynomial its degree, its precision, and the power of its first term.
    """

    name: str
    element: str
    base: mp.mpf
    bits: int
    tried: int
    degree: int
    precision: str
    first: int = 2
    parts: tuple[tuple[float, float], ...] = tuple(LOG_PARTS)


LOGARITHMS = [
    Logarithm(name, element, base, *rest)
    for element, *rest in (
        ("float", 16, 300, 3, "f32"),
        ("double", 41, 10**5, 9, "f64"),
    )
    for name, base in (("log", mp.e), ("log2", mp.mpf(2)), ("log10", mp.mpf(10)))
]
# Good to 40 bits, of float32 arguments, and to 67.
LOGARITHMS += [
    Logarithm("pow", "float", mp.mpf(2), 24, 60_000, 5, "mid"),
    Logarithm(
        "pow", "double", mp.mpf(2), 41, 10**6, 8, "f64", 3, tuple(CENTERED_PARTS)
    ),
]


def inverse_near(middle: float, table: Logarithm) -> tuple[float, float]:
    """Return a number near the inverse of `middle`, and its logarithm, negated.

    The number, rounded, is the one whose logarithm is closest to a short one.
    """
    unit = mp.mpf(2) ** -table.bits
    middle_k = int(mp.nint(mp.log(middle, table.base) / unit))
    first = middle_k - table.tried
    # Numbers with the logarithms -k * unit one after the other, in integers.
    one = 1 << FIXED_BITS
    number = int(table.base ** (-first * unit) * one)
    factor = int(table.base**-unit * one)
    digits = {"float": 24, "double": 53}[table.element]
    best, best_k, inverse = one, 0, 0
    for k in range(first, middle_k + table.tried):
        last = 1 << number.bit_length() - digits  # the unit in the last place
        rounded = (number + last // 2) // last * last
        if abs(rounded - number) < best:
            best, best_k, inverse = abs(rounded - number), k, rounded
        number = number * factor >> FIXED_BITS
    return float(mp.mpf(inverse) / one), float(best_k * unit)


def log_tables(table: Logarithm) -> tuple[list[float], list[float], list[float]]:
    """Return inverses, their logarithms, and q: log(1 + r) less r^first q(r) is known.

    It is the beginning of the series of r.
    """
    pairs = [
        (1.0, 0.0) if low <= 1 <= high else inverse_near((low + high) / 2, table)
        for low, high in table.parts
    ]
    inverses, logs = map(list, zip(*pairs, strict=True))
    ends = [
        mp.mpf(end) * x - 1
        for part, x in zip(table.parts, inverses, strict=True)
        for end in part
    ]
    unit = mp.log(table.base)

    def known(r: mp.mpf) -> mp.mpf:
        return r - r * r / 2 if table.first == 3 else r

    fit = Fit(
        table.name,
        lambda r: (mp.log1p(r) - known(r)) / (r**table.first * unit),
        lambda r: abs(r**table.first * unit / mp.log1p(r)),
        min(ends) * mp.mpf("1.001"),
        max(ends) * mp.mpf("1.001"),
        {table.precision: table.degree},
    )
    polynomial, worst = fit_rounded(fit, table.precision)
    print(table.name, table.element, mp.nstr(mp.log(worst, 2), 4), file=sys.stderr)
    return inverses, logs, polynomial


def logarithms() -> str:
    """Return the lines of the tables of logarithms."""
    columns = zip(*map(log_tables, LOGARITHMS), strict=True)
    below = [1.0 if low < 1 else 0.0 for low, _ in LOG_PARTS]
    out = [f"\nLOG_BELOW_ONE = {numbers(below)}\n"]
    for title, tables in zip(("INVERSES", "VALUES", "SERIES"), columns, strict=True):
        out.append(f"LOG_{title} = {{\n")
        for of, table in zip(LOGARITHMS, tables, strict=True):
            key = f'("{of.name}", "{of.element}")'
            out.append(f"    {key}: {numbers(table, '    ')},\n")
        out.append("}\n")
    return "".join(out)


def powers() -> str:
    """Return the lines of 2^(k/16), of what they lack, and of p, 2^g = 1 + g p(g)."""
    exact = [mp.mpf(2) ** (mp.mpf(k) / PARTS) for k in range(PARTS)]
    values = [round_to(x, "f64") for x in exact]
    lacking = [float(mp.log(x / y, 2)) for x, y in zip(exact, values, strict=True)]
    half = mp.mpf("1.001") / (2 * PARTS)
    fit = Fit(
        "exp2",
        lambda g: (mp.power(2, g) - 1) / g,
        lambda g: abs(g) * mp.power(2, -g),
        -half,
        half,
        {"f64": 6},
    )
    series, worst = fit_rounded(fit, "f64")
    print("exp2", mp.nstr(mp.log(worst, 2), 4), file=sys.stderr)
    return (
        f"\nPOWERS_OF_TWO = {numbers([float(x) for x in values])}\n"
        f"POWERS_LACK = {numbers(lacking)}\n"
        f"POWERS_SERIES = {numbers(series)}\n"
    )


HEADER = '''"""Tables of the vector math: one entry for each sixteenth part of a range.

Written by ``python tools/fit_tables.py``, which says what they are; do not edit.
``..._COEFFICIENTS`` have one table for each degree, lowest first.
"""
'''


def numbers(values: list[float], indent: str = "") -> str:
    """Return lines of a tuple."""
    lines = "".join(f"{indent}    {x!r},\n" for x in values)
    return f"(\n{lines}{indent})"


def main() -> None:
    """Print the tables."""
    out = [HEADER]
    for curve in CURVES:
        centers, rows = tabulate(curve)
        name = curve.name.upper()
        out.append(f"\n{name}_STEP = {curve.step!r}\n{name}_TOP = {curve.top!r}\n")
        out.append(f"{name}_CENTERS = {numbers(centers)}\n")
        out.append(f"{name}_COEFFICIENTS = (\n")
        for column in zip(*rows, strict=True):
            out.append(f"    {numbers(list(column), '    ')},\n")
        out.append(")\n")
    out.append(logarithms())
    out.append(powers())
    sys.stdout.write("".join(out))


if __name__ == "__main__":
    main()
