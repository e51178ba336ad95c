"""Tables, ratios and JSON of a run.

A ratio is peer time over our time (above 1: we are faster) and exists only where
both results were right. Geometric means are over the rows that have the ratio.
"""

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.table import Table

from .contenders import OURS
from .row import Measurement, Row, Status

RESULTS = Path(__file__).parent / "results"
BEST = "best"


@dataclass(frozen=True, slots=True)
class RowResult:
    """A row with its measurements, by contender."""

    row: Row
    measurements: dict[str, Measurement]

    def ratios(self) -> dict[str, float]:
        """Peer time over ours, for each peer and for the best; NaN where unknown."""
        ours = self.measurements[OURS].median_s if OURS in self.measurements else None
        times = {n: m.median_s for n, m in self.measurements.items() if n != OURS}
        known = [time for time in times.values() if not math.isnan(time)]
        times[BEST] = min(known, default=math.nan)
        return {n: time / ours if ours else math.nan for n, time in times.items()}


def geometric_mean(values: Iterable[float]) -> float:
    """Of the values that are not NaN; NaN if there is none."""
    logs = [math.log(value) for value in values if not math.isnan(value)]
    return math.exp(sum(logs) / len(logs)) if logs else math.nan


def geometric_means(results: Sequence[RowResult]) -> dict[str, float]:
    """Per peer, and for the best peer, over all rows that have the ratio."""
    ratios = [result.ratios() for result in results]
    return {name: geometric_mean(r[name] for r in ratios) for name in ratios[0]}


def _time(measurement: Measurement, per_second: float) -> str:
    if measurement.status is Status.OK:
        return f"{measurement.median_s * per_second:.3g}"
    bad = measurement.status is not Status.MISSING
    return f"[red]{measurement.status}[/red]" if bad else "missing"


def _ratio(value: float) -> str:
    if math.isnan(value):
        return "-"
    color = "green" if value >= 1 else "yellow"
    return f"[{color}]{value:.2f}x[/{color}]"


def _rate(result: RowResult) -> str:
    """Our memory traffic in GB/s, and arithmetic in GF/s."""
    ours = result.measurements.get(OURS)
    if ours is None or math.isnan(ours.median_s):
        return "-"
    scale = ours.median_s * 1e9
    return f"{result.row.bytes / scale:.3g} / {result.row.flops / scale:.3g}"


def table(results: Sequence[RowResult], title: str, unit: str) -> Table:
    """Time per call of every contender, ratios, and geometric means below.

    Parameters
    ----------
    unit : str
        ``"ms"`` or ``"µs"``.
    """
    per_second = {"ms": 1e3, "µs": 1e6}[unit]
    means = geometric_means(results)
    names = [*results[0].measurements]
    shown = Table(title=f"{title}: {unit} per call, median", show_footer=True)
    shown.add_column("row", "geometric mean")
    for name in names:
        shown.add_column(name, justify="right")
    for peer, mean in means.items() if OURS in names else ():
        shown.add_column(f"{peer}/ours", _ratio(mean), justify="right")
    shown.add_column("ours GB/s / GF/s", justify="right")
    for result in results:
        times = [_time(result.measurements[name], per_second) for name in names]
        ratios = map(_ratio, result.ratios().values()) if OURS in names else ()
        shown.add_row(result.row.name, *times, *ratios, _rate(result))
    return shown


def notes(results: Sequence[RowResult]) -> list[str]:
    """Why contenders have no number: one line for each reason, with its rows."""
    rows: dict[tuple[str, Status, str], list[str]] = {}
    for result in results:
        for m in result.measurements.values():
            if m.status is not Status.OK:
                reason = (m.contender, m.status, m.note)
                rows.setdefault(reason, []).append(result.row.name)
    return [
        f"{contender} {status} ({', '.join(names)}): {note}"
        for (contender, status, note), names in rows.items()
    ]


def is_clean(results: Sequence[RowResult]) -> bool:
    """No contender was wrong or failed; a missing package is no fault."""
    bad = {Status.WRONG, Status.FAILED}
    return not any(m.status in bad for r in results for m in r.measurements.values())


def _finite(value: object) -> object:
    """NaN and infinities as None: JSON has neither."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def as_json(
    suite: str, results: Sequence[RowResult], machine: dict[str, object]
) -> str:
    """The whole run as JSON text: seconds, every round kept."""
    rows = {
        result.row.name: {
            "flops": result.row.flops,
            "bytes": result.row.bytes,
            "rtol": result.row.rtol,
            "ratios": result.ratios(),
            "contenders": {
                name: asdict(measurement) | {"median_s": measurement.median_s}
                for name, measurement in result.measurements.items()
            },
        }
        for result in results
    }
    means = geometric_means(results)
    document = {"suite": suite, "machine": machine, "means": means, "rows": rows}
    return json.dumps(_finite(document), indent=1, ensure_ascii=False)


def save(text: str, name: str) -> Path:
    """Write ``benchmarks/results/NAME.json``; the path written."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(text + "\n", encoding="utf-8")
    return path
