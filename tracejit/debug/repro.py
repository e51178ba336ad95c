"""Repros: what an internal error leaves behind, and how it is run again.

Needs the graph that was being compiled, and how. Establishes one readable file of .tir
text whose first lines, comments, say what failed, with which pipeline, switches and
versions; `internal_error`, which writes it and makes the error name it; and `rerun`,
which `tracejit repro FILE` prints.

Files are written to the folder that the switch `repro_dir` names: by default
``tracejit-repro`` in the folder for temporary files. Their name has a digest of what is
in them, so that one fault leaves one file.
"""

import hashlib
import json
import platform
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

import numpy as np

from .. import config
from .._version import __version__
from ..codegen.llvm.target import host_target
from ..codegen.triton.limits import TRITON
from ..errors import InternalError, ParseError, TracejitError, VerifyError
from ..ir.aval import Shape
from ..ir.graph import Graph
from ..ir.parser import parse_graph
from ..ir.printer import format_graph
from ..lowering import host_limits
from ..passes.limits import Limits
from ..passes.manager import Pass, parse_pipeline
from ..passes.pipelines import pipeline
from .bisect import bisect
from .culprit import Culprit, said
from .levels import Setting, outcomes

HEAD = "; repro of tracejit"
# What is not a fault of the compiler, though it may come up while it works.
NOT_OURS = (MemoryError, OSError, ImportError, Warning, np.linalg.LinAlgError)


@dataclass(frozen=True)
class Repro:
    """A graph, how it is compiled, and what is wrong then.

    Parameters
    ----------
    graph : Graph
        As traced.
    error : str
        What failed.
    kind : str
        ``error`` if compiling it raises, ``results`` if they are wrong.
    passes : str
        The pipeline, as of `tracejit opt`.
    target : str
        ``cpu`` or ``cuda``.
    strides : sequence of (tuple of int or None)
        Of the inputs, in elements; None for C-contiguous.
    switches : mapping of str to value
        That are not as they are by default.
    seed : int
        Of sample inputs.
    """

    graph: Graph
    error: str
    kind: str = "error"
    passes: str = ""
    target: str = "cpu"
    strides: Sequence[Shape | None] = ()
    switches: Mapping[str, config.Value] = field(default_factory=dict)
    seed: int = 0

    def as_text(self) -> str:
        """Return the text of the file."""
        first, *rest = self.error.splitlines() or [""]
        about = {
            "versions": versions(),
            "fails": self.kind,
            "error": first,
            "pipeline": self.passes,
            "target": self.target,
            "strides": json.dumps([s and list(s) for s in self.strides]),
            "switches": json.dumps(dict(self.switches)),
            "seed": str(self.seed),
        }
        rows = [HEAD, *(f"; {k}: {v}" for k, v in about.items())]
        rows += [f";   {line}" for line in rest]
        return "\n".join([*rows, format_graph(self.graph), ""])

    @property
    def setting(self) -> Setting:
        """How the graph is lowered."""
        limits = TRITON if self.target == "cuda" else host_limits()
        known = {p.name: p for p in pipeline(limits)}
        return Setting(
            parse_pipeline(self.passes, known),
            tuple(self.strides),
            complex_views=limits.splits_complex,
            is_native=self.target == "cpu",
        )


def versions() -> str:
    """Return what a fault may depend on: versions, and the machine's instructions."""
    return (
        f"tracejit {__version__}, Python {platform.python_version()}, "
        f"NumPy {np.__version__}, llvmlite {version('llvmlite')}, "
        f"{platform.machine()} {host_target('auto').name}"
    )


def case_of(
    graph: Graph,
    passes: Sequence[Pass],
    strides: Sequence[Shape | None],
    limits: Limits,
    error: str,
    kind: str = "error",
) -> Repro:
    """Return a repro with the switches that are in force here."""
    target = "cuda" if limits is TRITON else "cpu"
    names = ",".join(p.name for p in passes)
    return Repro(graph, error, kind, names, target, strides, switches())


def switches() -> dict[str, config.Value]:
    """Return the switches that change code and are not as they are by default."""
    return {
        name: value
        for name, switch in config.SWITCHES.items()
        if switch.in_cache_key and (value := config.get(name)) != switch.default
    }


# --- writing ----------------------------------------------------------------------


def folder() -> Path:
    """Return the folder that repros are written to."""
    named = config.get("repro_dir")
    return Path(named) if named else Path(tempfile.gettempdir()) / "tracejit-repro"


def write(repro: Repro) -> Path:
    """Write a repro and return where it is.

    Raises
    ------
    OSError
        The folder cannot be written to.
    """
    text = repro.as_text()
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    name = re.sub(r"\W+", "_", repro.graph.name) or "graph"
    path = folder() / f"{name}-{digest}.tir"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
    return path


def internal_error(
    error: Exception,
    graph: Graph,
    passes: Sequence[Pass],
    strides: Sequence[Shape | None],
    limits: Limits,
) -> Exception:
    """Return the error to raise for what a pass, lowering or an emitter raised.

    Parameters
    ----------
    error : Exception
    graph : Graph
        That was being compiled, as traced.
    passes : sequence of Pass
    strides : sequence of (tuple of int or None)
        Of its inputs.
    limits : Limits
        Of the target.

    Returns
    -------
    Exception
        The error itself where it is the user's or the machine's. Else an
        `InternalError` or `VerifyError` that names a repro.
    """
    if not is_fault(error):
        return error
    if isinstance(error, InternalError | VerifyError):
        found: TracejitError = error
    else:
        found = InternalError(f"the compiler failed: {said(error)}")
    repro = case_of(graph, passes, strides, limits, found.message)
    found.hint = found.hint or _hint(repro)
    return found


def is_fault(error: Exception) -> bool:
    """Tell whether an error is the compiler's, not the user's or the machine's."""
    if isinstance(error, TracejitError):
        return isinstance(error, InternalError | VerifyError)
    return not isinstance(error, NOT_OURS)


def _hint(repro: Repro) -> str | None:
    """Write a repro; say how it is run, or nothing where it cannot be written."""
    try:
        return f"tracejit repro {write(repro)}"
    except OSError:
        return None


def wrong_results(repro: Repro, culprit: Culprit) -> InternalError:
    """Return the error for results that are wrong, and name a repro in it."""
    text = "\n  ".join(culprit.as_text().split("\n"))
    source = ", ".join(culprit.source) or None
    return InternalError(
        f"@{repro.graph.name} is compiled wrongly:\n  {text}",
        source=source,
        hint=_hint(repro),
    )


# --- running again ----------------------------------------------------------------

_FIELD = re.compile(r"^; (\w+): (.*)$", re.MULTILINE)


def read(text: str) -> Repro:
    """Return the repro that a text holds.

    Raises
    ------
    ParseError
        The text is none.
    """
    if not text.startswith(HEAD):
        raise ParseError(
            f"this is no repro: it does not begin with {HEAD!r}",
            hint="tracejit opt, run and bisect take any .tir file",
        )
    about = dict(_FIELD.findall(text.partition("\ngraph @")[0]))
    try:
        given = json.loads(about["switches"])
        strides = json.loads(about["strides"])
        return Repro(
            parse_graph(text),
            about["error"],
            about["fails"],
            about["pipeline"],
            about["target"],
            [s if s is None else tuple(s) for s in strides],
            {k: tuple(v) if isinstance(v, list) else v for k, v in given.items()},
            int(about["seed"]),
        )
    except (KeyError, ValueError) as error:
        if isinstance(error, ParseError):
            raise
        raise ParseError(
            f"the first lines of the repro are damaged: {error}"
        ) from error


@dataclass(frozen=True)
class Again:
    """What came of running a repro again.

    Parameters
    ----------
    wrong : str
        What failed; empty if nothing did.
    culprit : Culprit, optional
        What is at fault, where that was found.
    """

    wrong: str
    culprit: Culprit | None = None

    def as_text(self) -> str:
        """Return it as text."""
        if not self.wrong:
            return "nothing failed"
        if self.culprit is None:
            return f"it fails again: {self.wrong}"
        is_said = self.wrong == self.culprit.reason
        first = "it fails again" + ("" if is_said else f": {self.wrong}")
        return f"{first}\n{self.culprit.as_text()}"

    def as_json(self) -> dict[str, object]:
        """Return it as a document."""
        culprit = self.culprit.as_json() if self.culprit else None
        return {"fails": bool(self.wrong), "wrong": self.wrong, "culprit": culprit}


def rerun(repro: Repro) -> Again:
    """Compile the graph of a repro as it was compiled, and look for what is wrong."""
    known = {k: v for k, v in repro.switches.items() if k in config.SWITCHES}
    with config.override(**known):
        setting = repro.setting
        wrong = ""
        try:
            list(outcomes(repro.graph, setting, []))  # built, not run
        except Exception as error:  # whatever the compiler may raise
            wrong = said(error)
        culprit = bisect(repro.graph, setting, seed=repro.seed)
    if culprit is not None:
        wrong = wrong or culprit.reason
    return Again(wrong, culprit)
