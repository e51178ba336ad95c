"""The page of what traces, made by trying it on the NumPy that is installed."""

from collections.abc import Iterator, Mapping

import numpy as np

from . import samples, ufuncs
from .measure import problem_of, problem_of_ufunc

HEAD = """\
# What of NumPy traces

Made by `python -m tests.coverage`, which calls every public function of the installed
NumPy ({version}) under `jit` and compares values, dtypes, shapes and kinds of results
with NumPy's own. `pytest tests/coverage` runs the same calls. {traced} of {total}
functions, ufuncs and methods trace; the others say why they do not.

Warnings are not given (`np.errstate` has no effect in compiled code): what NumPy warns
of, division by zero or invalid values, gives the same infinities and NaN in silence.
"""
PARTS = (
    ("Functions", "numpy.", samples.NUMPY, np),
    ("numpy.linalg", "numpy.linalg.", samples.LINALG, np.linalg),
    ("numpy.fft", "numpy.fft.", samples.FFT, np.fft),
)


def page() -> str:
    """The whole page."""
    arguments = samples.arguments()
    parts = []
    for title, _, text, module in PARTS:
        rows = _rows(samples.table(text), samples.REASONS, arguments)
        named = {n: rows.get(n, ("no", "")) for n in sorted(samples.public(module))}
        parts.append((title, named))
    methods = _rows(samples.table(samples.METHODS), samples.METHOD_REASONS, arguments)
    parts.append(("Methods and attributes of arrays", dict(sorted(methods.items()))))
    loops, counts = _ufuncs()
    total = sum(len(rows) for _, rows in parts) + counts[1]
    traced = sum(s == "yes" for _, rows in parts for s, _ in rows.values()) + counts[0]
    head = HEAD.format(version=np.__version__, traced=traced, total=total)
    tables = [f"## {title}\n\n{_table(rows)}" for title, rows in parts]
    forms = _rows(samples.table(samples.INDEXING), {}, arguments)
    tables.append(f"## Indexing\n\n{_table(forms, 'form')}")
    return "\n".join([head, *tables, loops])


Rows = dict[str, tuple[str, str]]


def _rows(
    table: samples.Table,
    reasons: Mapping[str, str],
    arguments: Mapping[str, np.ndarray],
) -> Rows:
    rows = {name: ("no", reason) for name, reason in reasons.items()}
    for name, expressions in table.items():
        problems = [p for e in expressions if (p := problem_of(e, arguments))]
        note = samples.NOTES.get(name, "")
        rows[name] = ("no", problems[0].splitlines()[0]) if problems else ("yes", note)
    return rows


def _table(rows: Rows, what: str = "name") -> str:
    lines = [f"| {what} | traces | |", "|---|---|---|"]
    lines += [
        f"| `{name}` | {status} | {note} |" for name, (status, note) in rows.items()
    ]
    return "\n".join(lines) + "\n"


def _ufuncs() -> tuple[str, tuple[int, int]]:
    """The table of ufuncs, how many trace wholly, and how many there are."""
    lines = [
        "## Ufuncs\n",
        "Dtypes of the calls that trace, of those that NumPy has; then keywords and "
        "methods, on floats, integers and truths: `–` where NumPy has none.\n",
        *(f"* {why}: {of}.\n" for why, of in _faults().items()),
        "| ufunc | dtypes | " + " | ".join(f"`{m}`" for m in ufuncs.METHODS) + " |",
        "|---|---|" + "---|" * len(ufuncs.METHODS),
    ]
    whole = 0
    for name in ufuncs.names():
        cells = list(_cells(name))
        whole += not any("no" in cell for cell in cells)
        lines.append(f"| `{name}` | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n", (whole, len(ufuncs.names()))


def _faults() -> dict[str, str]:
    """What is not compared, by the reason."""
    found: dict[str, list[str]] = {}
    for (name, form), why in ufuncs.FAULTS.items():
        if hasattr(np, name):
            found.setdefault(why, []).append(f"`{name}.{form}`")
    return {f"Not compared, as {why}": ", ".join(of) for why, of in found.items()}


def _cells(name: str) -> Iterator[str]:
    problems = [problem_of_ufunc(case) for case in ufuncs.calls(name)]
    good = sum(p == "" for p in problems)
    yield str(good) if good == len(problems) else f"{good} of {len(problems)}: no"
    found: dict[str, list[str | None]] = {}
    for case in ufuncs.methods(name):
        if (name, case.form) not in ufuncs.FAULTS:
            form = case.form.partition("(")[0]
            found.setdefault(form, []).append(problem_of_ufunc(case))
    for method in ufuncs.METHODS:
        tried = [p for p in found.get(method, []) if p is not None]
        yield "–" if not tried else "no" if any(tried) else "yes"
