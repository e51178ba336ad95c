"""A run as one HTML page that needs nothing else: plots, tables, the machine.

Needs the data that JSON holds (`report.document`), so that kept results make pages too.
"""

import math
from collections.abc import Mapping, Sequence
from html import escape

from . import svg
from .row import BEST, OURS

STYLE = """
body{font:14px/1.5 sans-serif;margin:2rem auto;max-width:60rem;color:#212529}
table{border-collapse:collapse;margin:1rem 0}
td,th{padding:.15rem .6rem;border-bottom:1px solid #e9ecef;text-align:right}
td:first-child,th:first-child{text-align:left}
.good{color:#2b8a3e}.bad{color:#c92a2a}
"""
Document = Mapping[str, object]


def page(document: Document) -> str:
    """The page of a run."""
    title = f"tracejit benchmarks: {document['suite']}"
    parts = [f"<h1>{escape(title)}</h1>", _machine(document)]
    if document["rows"]:
        parts += _rows(document)
    for numbers in document["tables"]:
        parts += _numbers(numbers)
    body = "\n".join(parts)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>"
        f"<body>{body}</body></html>\n"
    )


def _machine(document: Document) -> str:
    machine = document["machine"]
    versions = {k: v for k, v in machine["versions"].items() if v}
    words = [
        f"{machine['cpu']}, {machine['threads']} threads",
        f"{machine['system']}, Python {machine['python']}",
        ", ".join(f"{name} {version}" for name, version in versions.items()),
        f"commit {machine['commit']}, {machine['date']}",
    ]
    limits = document.get("limits")
    if limits:
        speeds = ", ".join(
            f"{rate:.0f} GF/s in {dtype}" for dtype, rate in limits["gflop_s"].items()
        )
        rates = ", ".join(
            f"{float(rate):.0f} GB/s at {int(size) / 2**20:g} MiB"
            for size, rate in limits["gb_s"].items()
        )
        words.append(f"limits: {speeds}; {rates}")
    return "".join(f"<p>{escape(line)}</p>" for line in words)


def medians(row: Document) -> dict[str, float]:
    """Seconds per call of each contender whose result was right."""
    found = {name: c["median_s"] for name, c in row["contenders"].items()}
    return {name: seconds for name, seconds in found.items() if seconds}


def _rows(document: Document) -> list[str]:
    rows = document["rows"]
    times = {name: medians(row) for name, row in rows.items()}
    relative = {
        name: {peer: s / found[OURS] for peer, s in found.items()}
        for name, found in times.items()
        if OURS in found
    }
    points = {
        name: (row["flops"] / row["bytes"], row["flops"] / times[name][OURS] / 1e9)
        for name, row in rows.items()
        if OURS in times[name] and row["flops"]
    }
    parts = ["<h2>Time per call, ours being 1</h2>", svg.bars(relative, "of our time")]
    limits = document.get("limits")
    if limits:
        memory = limits["gb_s"][max(limits["gb_s"], key=int)]
        parts.append("<h2>Rates below the limits of memory and arithmetic</h2>")
        parts.append(svg.roofline(points, max(limits["gflop_s"].values()), memory))
    return [*parts, _row_table(document, times)]


def _row_table(document: Document, times: Mapping[str, Mapping[str, float]]) -> str:
    names = [
        *dict.fromkeys(n for r in document["rows"].values() for n in r["contenders"])
    ]
    lines = []
    for name, row in document["rows"].items():
        cells = [microseconds(times[name].get(n)) for n in names]
        cells += [_judged(row["ratios"].get(BEST)), _percent(row.get("of_limit"))]
        mark = " *" if row.get("is_disturbed") else ""
        lines.append(_line([escape(name) + mark, *cells]))
    means = document["means"]
    last = ["geometric mean of the ratio to ours"]
    last += [_judged(means.get(n)) for n in names] + [_judged(means.get(BEST)), ""]
    head = _line(["µs per call", *names, "best / ours", "of limit"], "th")
    note = "<p>* other processes ran meanwhile, in every round</p>"
    return f"<table>{head}{''.join(lines)}{_line(last)}</table>{note}"


def _line(cells: Sequence[str], kind: str = "td") -> str:
    inside = "".join(f"<{kind}>{cell}</{kind}>" for cell in cells)
    return f"<tr>{inside}</tr>"


def microseconds(seconds: float | None) -> str:
    """Four digits, with commas between thousands."""
    if not seconds:
        return "-"
    value = seconds * 1e6
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"


def _judged(ratio: float | None) -> str:
    if ratio is None or math.isnan(ratio):
        return "-"
    return f'<span class="{"good" if ratio >= 1 else "bad"}">{ratio:.2f}×</span>'


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.0f} %"


def _numbers(numbers: Document) -> list[str]:
    """A table of single numbers; chains of growing length as curves, too."""
    rows = numbers["rows"]
    names = [*next(iter(rows.values()), {})]
    head = _line([escape(numbers["unit"]), *names], "th")
    lines = [
        _line([escape(program), *(_number(values[n]) for n in names)])
        for program, values in rows.items()
    ]
    parts = [f"<h2>{escape(numbers['title'])}</h2>"]
    chains = [program for program in rows if program.startswith("chain_")]
    if len(chains) > 1:
        parts.append(_chain_curves(rows, chains, names))
    parts.append(f"<table>{head}{''.join(lines)}</table>")
    return parts + [f"<p>{escape(note)}</p>" for note in numbers["notes"]]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


def _chain_curves(
    rows: Mapping[str, Mapping[str, float | None]],
    chains: Sequence[str],
    names: Sequence[str],
) -> str:
    series = {
        name: [
            (float(program.removeprefix("chain_")), rows[program][name])
            for program in chains
            if rows[program][name]
        ]
        for name in names
    }
    known = {name: points for name, points in series.items() if points}
    return svg.curves(known, "operations", "seconds")
