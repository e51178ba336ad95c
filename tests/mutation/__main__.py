"""Plants each bug and runs the tests: ``python -m tests.mutation``.

Results are kept as they come, and continued by the next call. Exit code 1 if a bug was
not found.
"""

import argparse
import importlib
import sys
from pathlib import Path

from .bisecting import Answer, ask
from .bugs import MUTANTS
from .mutant import ROOT, Mutant
from .reach import REACHED
from .report import answers_table, read, table, write
from .running import SLOW, STAGES, SURVIVED, Outcome, climb

HERE = ROOT / "tests" / "mutation"
RESULTS, ANSWERS = HERE / "results.json", HERE / "bisect.json"
# What tests import besides the package: once, before processes are forked.
PRELOADED = (
    *("numpy", "ml_dtypes", "llvmlite.binding", "click.testing", "filecheck.matcher"),
    *("hypothesis.strategies", "scipy.special", "scipy.linalg", "numpy.testing"),
)


def main() -> int:
    """Run what is asked for, keep results as they come, and print the table."""
    options = _options()
    for name in PRELOADED:
        importlib.import_module(name)
    mutants = [
        m for m in MUTANTS if any(t in f"{m.file} {m.name}" for t in options.only)
    ]
    if options.bisect:
        return bisect(mutants, options)
    known: dict[str, Outcome] = {}
    for mutant in mixed(mutants):
        known = read(options.results or RESULTS, Outcome, MUTANTS)
        before = None if options.again else known.get(mutant.name)
        if before is not None and before.status not in (SURVIVED, SLOW):
            continue
        for outcome in climb(mutant, before, options.upto, options.map):
            known[mutant.name] = outcome
            write(options.results or RESULTS, known.values())
            print(
                f"{outcome.status:9} {outcome.stage:6} {outcome.seconds:6.1f} s  "
                f"{outcome.name}  {outcome.test}",
                flush=True,
            )
    report(table(mutants, known), options)
    return int(any(m.name in known and not known[m.name].is_found for m in mutants))


def bisect(mutants: list[Mutant], options: argparse.Namespace) -> int:
    """Ask `bisect` for each bug of a rule or pass; exit code 1 if one is not named."""
    known: dict[str, Answer] = {}
    mutants = [m for m in mutants if m.culprit]
    for mutant in mutants:
        known = read(options.results or ANSWERS, Answer, MUTANTS)
        if mutant.name in known and not options.again:
            continue
        answer = known[mutant.name] = ask(mutant)
        write(options.results or ANSWERS, known.values())
        verdict = "right" if answer.is_right else "wrong" if answer.seen else "unseen"
        print(
            f"{verdict:6} {answer.seconds:6.1f} s  {answer.name}  {answer.named}",
            flush=True,
        )
    report(answers_table(mutants, known), options)
    return int(any(a.seen and not a.is_right for a in known.values()))


def report(text: str, options: argparse.Namespace) -> None:
    """Print a table, and write it where it is wanted."""
    print(text)
    if options.report:
        options.report.write_text(text, "utf-8")


def mixed(mutants: list[Mutant]) -> list[Mutant]:
    """Return bugs of all parts in turn, so that half of a run says something of all."""
    areas: dict[str, list[Mutant]] = {}
    for mutant in mutants:
        areas.setdefault(mutant.area, []).append(mutant)
    placed = [(k / len(a), m) for a in areas.values() for k, m in enumerate(a)]
    return [m for _, m in sorted(placed, key=lambda p: p[0])]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.mutation", description=__doc__
    )
    add = parser.add_argument
    add("only", nargs="*", default=[""], help="texts in the name or file of a bug")
    add("--upto", choices=STAGES, default="near", help="the last stage of tests to run")
    add("--map", type=Path, default=REACHED, help="which tests reach which bugs")
    add("--bisect", action="store_true", help="ask `bisect` what is wrong instead")
    add("--again", action="store_true", help="run what has a result too")
    add("--report", type=Path, help="write the table, as Markdown")
    add("--results", type=Path, help="a file of results to continue")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
