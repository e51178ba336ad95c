"""Plots as SVG text: bars, points and curves on logarithmic axes, nothing else needed.

Every mark has a title that browsers show when pointed at.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

COLORS = {
    "tracejit": "#d6336c",
    "numpy": "#4c6ef5",
    "torch": "#f76707",
    "inductor": "#ae3ec9",
    "inductor-max": "#7048e8",
    "jax": "#0ca678",
    "numba": "#1098ad",
    "drjit": "#868e96",
}
GREY = "#adb5bd"


def color(name: str) -> str:
    """A contender's color, the same in every plot."""
    return COLORS.get(name, "#495057")


@dataclass(frozen=True)
class Axis:
    """Logarithmic, from values to pixels.

    Parameters
    ----------
    low, high : float
        Values at its ends.
    start, end : float
        Pixels at its ends; `end` may be the smaller.
    """

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        """Where a value is drawn; values beyond the ends at the ends."""
        inside = min(max(value, self.low), self.high)
        part = math.log(inside / self.low) / math.log(self.high / self.low)
        return self.start + part * (self.end - self.start)

    def ticks(self) -> list[float]:
        """Powers of ten, and 2 and 5 times them where there are few of those."""
        first, last = math.floor(math.log10(self.low)), math.ceil(math.log10(self.high))
        steps = (1,) if last - first > 3 else (1, 2, 5)
        values = [m * 10.0**e for e in range(first, last + 1) for m in steps]
        return [v for v in values if self.low <= v <= self.high]


def around(values: Sequence[float], room: float = 1.5) -> tuple[float, float]:
    """The ends of an axis that shows all values."""
    return min(values) / room, max(values) * room


def line(x1: float, y1: float, x2: float, y2: float, style: str = GREY) -> str:
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" '
        f'stroke="{style}"/>'
    )


def text(x: float, y: float, words: str, anchor: str = "middle") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'
    )


def dot(x: float, y: float, fill: str, title: str, radius: float = 4) -> str:
    return (
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}" fill="{fill}" '
        f'fill-opacity=".8"><title>{escape(title)}</title></circle>'
    )


def picture(width: float, height: float, marks: Sequence[str], label: str) -> str:
    """All marks as one SVG element."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} '
        f'{height:.0f}" width="{width:.0f}" role="img" aria-label="{escape(label)}" '
        f'font-family="sans-serif" font-size="11">{"".join(marks)}</svg>'
    )


def legend(names: Sequence[str], x: float, y: float) -> list[str]:
    """Names with their colors, side by side."""
    marks = []
    for name in names:
        marks.append(dot(x, y - 4, color(name), name))
        marks.append(text(x + 8, y, name, "start"))
        x += 24 + 7 * len(name)
    return marks


def _frame(x: Axis, y: Axis, x_label: str, y_label: str) -> list[str]:
    marks = [line(x.start, y.at(v), x.end, y.at(v), "#e9ecef") for v in y.ticks()]
    marks += [line(x.at(v), y.start, x.at(v), y.end, "#e9ecef") for v in x.ticks()]
    marks += [text(x.start - 6, y.at(v) + 4, f"{v:g}", "end") for v in y.ticks()]
    marks += [text(x.at(v), y.start + 16, f"{v:g}") for v in x.ticks()]
    marks.append(text((x.start + x.end) / 2, y.start + 34, x_label))
    marks.append(text(x.start - 40, y.end - 10, y_label, "start"))
    return marks


def bars(rows: Mapping[str, Mapping[str, float]], unit: str) -> str:
    """A group of bars per row, one per contender, shorter being better.

    Parameters
    ----------
    rows : mapping of str to mapping of str to float
        Values above 0 by row, then by contender; those that are NaN are left out.
    unit : str
    """
    known = [v for row in rows.values() for v in row.values() if not math.isnan(v)]
    if not known:
        return ""
    names = [*dict.fromkeys(name for row in rows.values() for name in row)]
    axis = Axis(*around(known), 230, 900)
    marks, y = legend(names, 240, 16), 40.0
    for row, values in rows.items():
        top = y
        for name, value in values.items():
            if math.isnan(value):
                continue
            title = f"{row}, {name}: {value:.4g} {unit}"
            marks.append(
                f'<rect x="{axis.start:.1f}" y="{y:.1f}" height="7" '
                f'width="{axis.at(value) - axis.start:.1f}" fill="{color(name)}">'
                f"<title>{escape(title)}</title></rect>"
            )
            y += 8
        marks.append(text(axis.start - 8, (top + y) / 2 + 4, row, "end"))
        y += 8
    grid = [line(axis.at(v), 28, axis.at(v), y, "#dee2e6") for v in axis.ticks()]
    grid += [text(axis.at(v), y + 14, f"{v:g}") for v in axis.ticks()]
    grid.append(text((axis.start + axis.end) / 2, y + 32, unit))
    return picture(920, y + 40, grid + marks, f"bars of {unit} per row")


def roofline(
    points: Mapping[str, tuple[float, float]], gflop_s: float, gb_s: float
) -> str:
    """Rows by their operations per byte and rate, below the machine's limits.

    Parameters
    ----------
    points : mapping of str to (float, float)
        Operations per byte and 1e9 operations a second, both above 0.
    gflop_s, gb_s : float
        What the machine can do; `gb_s` of memory, so that caches go above it.
    """
    if not points:
        return ""
    intensities = [*(p[0] for p in points.values()), gflop_s / gb_s]
    rates = [*(p[1] for p in points.values()), gflop_s]
    x, y = Axis(*around(intensities), 70, 880), Axis(*around(rates), 400, 30)
    ridge = gflop_s / gb_s
    marks = _frame(x, y, "operations per byte", "1e9 operations / s")
    low = max(x.low, y.low / gb_s)
    marks.append(line(x.at(low), y.at(low * gb_s), x.at(ridge), y.at(gflop_s), "#000"))
    marks.append(line(x.at(ridge), y.at(gflop_s), x.end, y.at(gflop_s), "#000"))
    for name, (intensity, rate) in points.items():
        title = f"{name}: {intensity:.3g} operations a byte, {rate:.4g}e9 / s"
        marks.append(dot(x.at(intensity), y.at(rate), color("tracejit"), title))
        marks.append(text(x.at(intensity) + 6, y.at(rate) - 5, name, "start"))
    return picture(920, 440, marks, "roofline")


def curves(
    series: Mapping[str, Sequence[tuple[float, float]]], x_label: str, y_label: str
) -> str:
    """Lines through the points of each contender."""
    points = [point for line in series.values() for point in line]
    if not points:
        return ""
    x = Axis(*around([p[0] for p in points]), 70, 700)
    y = Axis(*around([p[1] for p in points]), 360, 40)
    marks = legend([*series], 80, 16) + _frame(x, y, x_label, y_label)
    for name, values in series.items():
        path = " ".join(f"{x.at(a):.1f},{y.at(b):.1f}" for a, b in values)
        marks.append(
            f'<polyline points="{path}" fill="none" stroke="{color(name)}" '
            'stroke-width="2"/>'
        )
        marks += [
            dot(x.at(a), y.at(b), color(name), f"{name}: {a:g}, {b:.4g}")
            for a, b in values
        ]
    return picture(720, 400, marks, f"{y_label} by {x_label}")
