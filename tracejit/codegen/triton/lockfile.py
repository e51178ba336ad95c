"""Measured choices in a file that can be read, compared and committed.

    {"format": 1,
     "sites": {
       "1e93c7ee134ed4e9": {
         "kernel": "layer_k0",
         "targets": {
           "sm_90, 132 processors": {
             "triton": "3.9.0",
             "choice": {"blocks": {"BLOCK_K": 64, ...}, "num_warps": 8, ...},
             "default_us": 14.1,
             "times_us": {"BLOCK_K=64 ... num_warps=8 num_stages=3": 11.3, ...}}}}}}

The name of a site is a hash of what it computes and of its sizes (`choice.Site`), so
that it does not change when functions are renamed. An entry counts only for its target
and the version of Triton that it was measured with. What is damaged or out of date is
said in a `TuningFileWarning`, which names the file and the entry; the default is used.
"""

import json
import os
import tempfile
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from ...errors import TracejitError, TuningFileWarning
from .choice import Choice, Site, choice_from
from .ranking import is_possible

FORMAT = 1
_READABLE = 0o644  # by everybody, as files that are committed are
Data: TypeAlias = dict[str, "Data"] | str | int | float


@dataclass(frozen=True)
class Measured:
    """A choice and its time.

    Parameters
    ----------
    choice : Choice
    time_us : float
        Of one run, in microseconds.
    """

    choice: Choice
    time_us: float


class LockFile:
    """Choices by site and target.

    Parameters
    ----------
    path : Path, optional
        Read if it exists. Without one, what is recorded lives as long as this object.
    triton : str
        The version of Triton.

    Examples
    --------
    >>> print(LockFile(None, "3.9.0").text())
    {
     "format": 1,
     "sites": {}
    }
    <BLANKLINE>
    """

    def __init__(self, path: Path | None, triton: str) -> None:
        self.path, self.triton = path, triton
        self._sites: dict[str, Data] = {} if path is None else _sites_in(path)

    def choice(self, site: Site) -> Choice | None:
        """Return what was chosen for a site, if that is known and possible."""
        entry = _below(_below(_below(self._sites, site.key), "targets"), site.target)
        if not entry:
            return None
        if entry.get("triton") != self.triton:
            self._warn(site, f"is of Triton {entry.get('triton')}, not {self.triton}")
            return None
        try:
            choice = choice_from(entry.get("choice"))
        except TracejitError as error:
            self._warn(site, f"is damaged: {error.message}")
            return None
        if not is_possible(site, choice):
            self._warn(site, f"does not fit its kernel: {choice}")
            return None
        return choice

    def choices(self, sites: Iterable[Site]) -> dict[str, Choice]:
        """Return what was chosen for sites, by their keys; not all may be known."""
        found = {site.key: self.choice(site) for site in sites}
        return {key: choice for key, choice in found.items() if choice is not None}

    def record(self, site: Site, best: Choice, measured: Sequence[Measured]) -> None:
        """Keep what was measured for a site, the default first."""
        ordered = sorted(measured, key=lambda m: m.time_us)
        entry: dict[str, Data] = {
            "triton": self.triton,
            "choice": best.as_data(),  # type: ignore[dict-item]  # plain data
            "default_us": round(measured[0].time_us, 3),
            "times_us": {str(m.choice): round(m.time_us, 3) for m in ordered},
        }
        here = _below(self._sites, site.key)
        targets = {**_below(here, "targets"), site.target: entry}
        kept: dict[str, Data] = {name: targets[name] for name in sorted(targets)}
        self._sites[site.key] = {"kernel": site.name, "targets": kept}

    def text(self) -> str:
        """Return the file's text: the same for the same entries."""
        sites = {key: self._sites[key] for key in sorted(self._sites)}
        return json.dumps({"format": FORMAT, "sites": sites}, indent=1) + "\n"

    def write(self) -> None:
        """Write the file, with what others have added to it meanwhile.

        Raises
        ------
        TracejitError
            If it cannot be written.
        """
        if self.path is None:
            return
        self._sites = {**_sites_in(self.path), **self._sites}
        try:
            handle, name = tempfile.mkstemp(dir=self.path.parent, suffix=".json")
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(self.text())
            os.chmod(name, _READABLE)
            os.replace(name, self.path)
        except OSError as error:
            raise TracejitError(
                f"measured choices cannot be written to {self.path}: {error}",
                hint="set tuning_file to a file in a folder that can be written",
            ) from error

    def _warn(self, site: Site, what: str) -> None:
        _warn(f"entry {site.key} ({site.name}, {site.target}) of {self.path} {what}")


def _below(data: Mapping[str, Data], name: str) -> dict[str, Data]:
    found = data.get(name)
    return found if isinstance(found, dict) else {}


def _sites_in(path: Path) -> dict[str, Data]:
    """Return the sites of a file; none, with a warning, if it is none of ours."""
    try:
        data = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        _warn(f"{path} cannot be read: {error}")
        return {}
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        _warn(f"{path} is no tuning file of format {FORMAT}")
        return {}
    return _below(data, "sites")


def _warn(what: str) -> None:
    warnings.warn(
        f"{what}: the default is used; tune again (tune='on') or remove it",
        TuningFileWarning,
        stacklevel=2,
    )
