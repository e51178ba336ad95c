"""Tables, ratios and JSON of a run.

A ratio is peer time over our time (above 1: we are faster) and exists only where
both results were right. Geometric means are over the rows that have the ratio. The
share of the limit is the least time that the machine's measured rates allow, over ours.
"""

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table as Shown

from tracejit.debug.machine import Limits

from .cold import Table
from .limits import least_seconds
from .load import CALM
from .row import BEST, Measurement, RowResult, Status

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Run:
    """All that one command measured.

    Parameters
    ----------
    suite : str
    machine : dict
        From `machine.describe`.
    limits : Limits, optional
        None where the suite has no rows.
    results : list of RowResult
    tables : list of Table
    """

    suite: str
    machine: dict[str, object]
    limits: Limits | None = None
    results: list[RowResult] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)


def geometric_mean(values: Iterable[float]) -> float:
    """Of the values that are not NaN; NaN if there is none."""
    logs = [math.log(value) for value in values if not math.isnan(value)]
    return math.exp(sum(logs) / len(logs)) if logs else math.nan


def geometric_means(results: Sequence[RowResult]) -> dict[str, float]:
    """Per peer, and for the best peer, over all rows that have the ratio."""
    ratios = [result.ratios() for result in results]
    names = dict.fromkeys(name for row in ratios for name in row if name != BEST)
    return {
        name: geometric_mean(row.get(name, math.nan) for row in ratios)
        for name in (*names, BEST)
    }


def share(result: RowResult, limits: Limits | None) -> float:
    """What part of the machine's limit our time reaches; NaN where unknown."""
    return least_seconds(limits, result.row) / result.ours_s if limits else math.nan


def _time(measurement: Measurement | None, per_second: float) -> str:
    if measurement is None:
        return ""
    if measurement.status is Status.OK:
        return f"{measurement.median_s * per_second:.3g}"
    if measurement.status is Status.NO_TWIN:
        return "-"
    bad = measurement.status is not Status.MISSING
    return f"[red]{measurement.status}[/red]" if bad else "missing"


def _ratio(value: float) -> str:
    if math.isnan(value):
        return "-"
    color = "green" if value >= 1 else "yellow"
    return f"[{color}]{value:.2f}x[/{color}]"


def _rate(result: RowResult) -> str:
    """Our memory traffic in GB/s, and arithmetic in GF/s."""
    if math.isnan(result.ours_s):
        return "-"
    scale = result.ours_s * 1e9
    return f"{result.row.bytes / scale:.3g} / {result.row.flops / scale:.3g}"


def _percent(value: float) -> str:
    return "-" if math.isnan(value) else f"{100 * value:.0f}%"


def table(
    results: Sequence[RowResult], title: str, unit: str, limits: Limits | None = None
) -> Shown:
    """Time per call of every contender, ratios, and geometric means below.

    Parameters
    ----------
    unit : str
        ``"ms"`` or ``"µs"``.
    """
    per_second = {"ms": 1e3, "µs": 1e6}[unit]
    means = geometric_means(results)
    names = [*dict.fromkeys(n for r in results for n in r.measurements)]
    shown = Shown(title=f"{title}: {unit} per call, median", show_footer=True)
    shown.add_column("row", "geometric mean")
    for name in names:
        shown.add_column(name, justify="right")
    for peer, mean in means.items():
        shown.add_column(f"{peer}/ours", _ratio(mean), justify="right")
    shown.add_column("ours GB/s / GF/s", justify="right")
    shown.add_column("of limit", justify="right")
    for result in results:
        times = [_time(result.measurements.get(n), per_second) for n in names]
        known = result.ratios()
        ratios = [_ratio(known.get(peer, math.nan)) for peer in means]
        reached = _percent(share(result, limits))
        shown.add_row(result.row.name, *times, *ratios, _rate(result), reached)
    return shown


def plain_table(numbers: Table) -> Shown:
    """A table of single numbers."""
    shown = Shown(title=f"{numbers.title}, {numbers.unit}")
    shown.add_column("")
    for name in next(iter(numbers.rows.values()), {}):
        shown.add_column(name, justify="right")
    for program, values in numbers.rows.items():
        cells = ["-" if v is None else f"{v:.3g}" for v in values.values()]
        shown.add_row(program, *cells)
    return shown


def notes(results: Sequence[RowResult]) -> list[str]:
    """Why contenders have no number: one line for each reason, with its rows."""
    rows: dict[tuple[str, Status, str], list[str]] = {}
    for result in results:
        for m in result.measurements.values():
            if m.status not in (Status.OK, Status.NO_TWIN):
                reason = (m.contender, m.status, m.note)
                rows.setdefault(reason, []).append(result.row.name)
    lines = [
        f"{contender} {status} ({', '.join(names)}): {note}"
        for (contender, status, note), names in rows.items()
    ]
    disturbed = [r.row.name for r in results if is_disturbed(r)]
    if disturbed:
        lines.append(f"no calm rounds, other processes ran: {', '.join(disturbed)}")
    return lines


def is_disturbed(result: RowResult) -> bool:
    """Whether the rounds that were kept are not calm, for want of calm ones."""
    return any(others > CALM for others in result.others)


def is_clean(results: Sequence[RowResult]) -> bool:
    """No contender was wrong or failed; a missing package is no fault."""
    bad = {Status.WRONG, Status.FAILED}
    return not any(m.status in bad for r in results for m in r.measurements.values())


def _finite(value: object) -> object:
    """NaN and infinities as None: JSON has neither."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _row_document(result: RowResult, limits: Limits | None) -> dict[str, object]:
    row = result.row
    return {
        "flops": row.flops,
        "bytes": row.bytes,
        "dtype": row.dtype,
        "rtol": row.rtol,
        "of_limit": share(result, limits),
        "ratios": result.ratios(),
        "others": result.others,
        "dropped_rounds": result.dropped,
        "is_disturbed": is_disturbed(result),
        "contenders": {
            name: asdict(measurement) | {"median_s": measurement.median_s}
            for name, measurement in result.measurements.items()
        },
    }


def document(run: Run) -> dict[str, object]:
    """The whole run as data for JSON: seconds, every round kept."""
    rows = {r.row.name: _row_document(r, run.limits) for r in run.results}
    found = {
        "suite": run.suite,
        "machine": run.machine,
        "limits": asdict(run.limits) if run.limits else None,
        "means": geometric_means(run.results),
        "rows": rows,
        "tables": [asdict(numbers) for numbers in run.tables],
    }
    finite = _finite(found)
    assert isinstance(finite, dict)
    return finite


def as_json(run: Run) -> str:
    """The whole run as text."""
    return json.dumps(document(run), indent=1, ensure_ascii=False) + "\n"


def show(run: Run, console: Console) -> None:
    """Print the tables and what there is to say about them."""
    for unit in ("ms", "µs"):
        part = [result for result in run.results if unit_of(result) == unit]
        if part:
            console.print(table(part, run.suite, unit, run.limits))
    for numbers in run.tables:
        console.print(plain_table(numbers))
    extra = [note for numbers in run.tables for note in numbers.notes]
    for line in [*notes(run.results), *extra]:
        console.print(line, markup=False, highlight=False)
    about = run.machine
    console.print(
        f"{about['cpu']}, {about['threads']} threads, commit {about['commit']}, "
        f"{about['date']}"
    )


def unit_of(result: RowResult) -> str:
    """The unit that a row is shown in: microseconds below a tenth of a millisecond."""
    times = [m.median_s for m in result.measurements.values() if m.seconds]
    return "µs" if times and min(times) < 1e-4 else "ms"
