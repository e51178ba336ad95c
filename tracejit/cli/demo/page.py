"""The report's `index.html`: one page, nothing loaded from anywhere else.

Figures are embedded, so the page can be sent on by itself; the full text of every
level lies beside it and is linked.
"""

import base64
from html import escape
from itertools import islice
from pathlib import Path

from .levels import Level
from .summary import GOAL, ConvSummary, Summary

PREVIEW_LINES = 60

STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8881; --accent: #2563eb; }
* { box-sizing: border-box; }
body { font: 16px/1.55 system-ui, sans-serif; max-width: 62rem; margin: 0 auto;
       padding: 2rem 1.25rem 4rem; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0; }
h2 { font-size: 1.25rem; margin: 2.75rem 0 .75rem; }
.lead { opacity: .75; margin: .5rem 0 1.75rem; max-width: 46rem; }
.cards { display: grid; gap: .75rem;
         grid-template-columns: repeat(auto-fit, minmax(12rem, 1fr)); }
.card { border: 1px solid var(--line); border-radius: .6rem; padding: .8rem 1rem; }
.card b { display: block; font-size: 1.6rem; font-variant-numeric: tabular-nums; }
.card span { opacity: .7; font-size: .9rem; }
.tables { display: grid; gap: 2rem; align-items: start;
          grid-template-columns: repeat(auto-fit, minmax(20rem, 1fr)); }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
caption { text-align: left; font-weight: 600; padding-bottom: .4rem; }
td { border-top: 1px solid var(--line); padding: .35rem .25rem; }
td:last-child { text-align: right; }
tr.total td { font-weight: 600; border-top-width: 2px; }
img { max-width: 100%; background: white; border-radius: .6rem;
      border: 1px solid var(--line); display: block; margin: 0 auto 1rem;
      padding: .9rem; }
img.square { max-width: 34rem; width: 100%; }
pre { font: 12.5px/1.5 ui-monospace, Menlo, Consolas, monospace; overflow-x: auto;
      background: var(--soft); border: 1px solid var(--line); border-radius: .6rem;
      padding: .8rem 1rem; margin: .5rem 0; tab-size: 4; }
details { border-top: 1px solid var(--line); padding: .45rem .25rem; }
details:last-of-type { border-bottom: 1px solid var(--line); }
summary { cursor: pointer; display: flex; gap: 1rem; align-items: baseline; }
summary::before { content: "\\25b8"; opacity: .6; }
details[open] summary::before { content: "\\25be"; }
summary .size { margin-left: auto; opacity: .65; font-size: .9rem; }
a { color: var(--accent); }
@media (prefers-color-scheme: dark) {
  body { background: #14161a; color: #e5e7eb; } :root { --accent: #7aa5ff; } }
"""


def write_page(
    summary: Summary,
    source: str,
    found: list[Level],
    second: ConvSummary,
    folder: Path,
) -> Path:
    """Write `index.html` into `folder`, which holds the figures; return its path.

    Parameters
    ----------
    source : str
        The Python text of the step, with the numbers of its lines.
    second : ConvSummary
        Of the convolutional network, whose files lie in `folder` too.
    """
    body = "\n".join(
        [
            heading(),
            cards(summary),
            tables(summary),
            "<h2>How it learned</h2>",
            image(folder / "curves.png", "loss and test accuracy over epochs"),
            image(folder / "confusion.png", "confusion matrix", "square"),
            "<h2>The function that was compiled</h2>",
            f"<pre>{escape(source)}</pre>",
            "<h2>What the compiler made of it</h2>",
            compilation_note(),
            *map(level_details, found),
            convolutional(second, folder),
        ]
    )
    path = folder / "index.html"
    path.write_text(document(body), "utf-8")
    return path


def convolutional(summary: ConvSummary, folder: Path) -> str:
    """The section on the convolutional network."""
    rows = "\n".join(
        "<tr>" + "".join(f"<td>{escape(c)}</td>" for c in k.cells()) + "</tr>"
        for k in summary.kernels
    )
    names = ("kernel", "what", "lines", "Mflop", "bytes moved")
    head = "".join(f"<td>{n}</td>" for n in names)
    return "\n".join(
        [
            "<h2>A convolutional network, the same way</h2>",
            "<p>Three convolutions of 3x3 with 16, 32 and 64 filters, two of them "
            "pooled, and a dense layer: <code>tj.nn.conv</code> and "
            "<code>tj.nn.max_pool</code> run in NumPy without the compiler, and are "
            "kernels with it.</p>",
            image(folder / "convnet-curves.png", "loss and test accuracy"),
            table("Results", summary.result_rows()),
            f"<pre>{escape(summary.source)}</pre>",
            "<table><caption>Kernels of the step</caption>",
            f'<tr class="total">{head}</tr>',
            rows,
            "</table>",
            *map(level_details, summary.levels),
        ]
    )


def document(body: str) -> str:
    """The whole page around its body."""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>tracejit demo</title>\n<style>{STYLE}</style>\n</head>\n"
        f"<body>\n{body}\n</body>\n</html>\n"
    )


def heading() -> str:
    """What the reader looks at."""
    return (
        "<h1>Handwritten digits, one compiled function</h1>\n"
        '<p class="lead">A network of 64-128-64-10 units learned the digits that '
        "scikit-learn ships. Its whole train step (loss, gradients and Adam) is plain "
        "NumPy under <code>tracejit.jit</code>.</p>"
    )


def compilation_note() -> str:
    """Which of the step's compilations the levels show."""
    return (
        "<p>These are the levels of the first compilation, in which the step counter "
        "is still the constant 1. At its second value it becomes an input, and the "
        "step compiles once more. A comment after an equation names its line above."
        "</p>"
    )


def cards(summary: Summary) -> str:
    """The four numbers to see first."""
    ratio = summary.numpy_ms / summary.jitted_ms
    shown = [
        (f"{summary.accuracy:.2%}", f"test accuracy (goal {GOAL:.0%})"),
        (f"{summary.jitted_ms:.3f} ms", f"a step: {ratio:.2f}x as fast as NumPy"),
        (f"{1e3 * sum(summary.stages.values()):.0f} ms", "to compile the step"),
        (str(summary.kernels), f"kernels from {summary.equations} equations"),
    ]
    inner = "\n".join(
        f'<div class="card"><b>{escape(big)}</b><span>{escape(small)}</span></div>'
        for big, small in shown
    )
    return f'<div class="cards">\n{inner}\n</div>'


def tables(summary: Summary) -> str:
    """All numbers, in two tables side by side."""
    results = table("Results", summary.result_rows())
    stages = table("Compile time of the step", summary.compile_rows(), total=True)
    return f'<h2>Numbers</h2>\n<div class="tables">\n{results}\n{stages}\n</div>'


def table(caption: str, rows: list[tuple[str, str]], total: bool = False) -> str:
    """A table of names and values; with `total`, the last row stands out."""
    lines = [f"<tr><td>{escape(a)}</td><td>{escape(b)}</td></tr>" for a, b in rows]
    if total:
        lines[-1] = lines[-1].replace("<tr>", '<tr class="total">')
    return f"<table><caption>{caption}</caption>\n" + "\n".join(lines) + "\n</table>"


def image(path: Path, alt: str, css_class: str = "") -> str:
    """An embedded PNG that links to its file."""
    data = base64.b64encode(path.read_bytes()).decode("ascii")
    return (
        f'<a href="{path.name}"><img class="{css_class}" alt="{alt}" '
        f'src="data:image/png;base64,{data}"></a>'
    )


def level_details(level: Level) -> str:
    """A line that opens on the first lines of a level's text, and links it all."""
    lines = level.text.splitlines()
    shown = "\n".join(islice(lines, PREVIEW_LINES))
    rest = len(lines) - PREVIEW_LINES
    more = f"\n... {rest:,} lines more in {level.name}" if rest > 0 else ""
    return (
        f"<details><summary><span>{escape(level.title)}</span>"
        f'<a href="{level.name}">{level.name}</a>'
        f'<span class="size">{len(lines):,} lines</span></summary>\n'
        f"<pre>{escape(shown + more)}</pre></details>"
    )
