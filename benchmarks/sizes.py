"""How much is installed for a package: itself and all that it needs.

Requirements of extras do not count, nor those that are not installed here because
their markers name other systems.
"""

import importlib.metadata
import re
import tomllib
from collections.abc import Iterable
from pathlib import Path

from .machine import ROOT

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def closure_bytes(package: str) -> int:
    """Bytes of all files of a package and of what it needs.

    Raises
    ------
    importlib.metadata.PackageNotFoundError
        If the package is not installed.
    """
    if package == ROOT_PACKAGE:
        own = folder_bytes(ROOT / ROOT_PACKAGE)
        return own + sum(map(distribution_bytes, closure(_own_requirements())))
    importlib.metadata.distribution(package)
    return sum(map(distribution_bytes, closure([package])))


ROOT_PACKAGE = "tracejit"


def closure(names: Iterable[str]) -> set[str]:
    """The installed distributions that `names` need, themselves among them."""
    found: set[str] = set()
    waiting = [*names]
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        if name in found or not _is_installed(name):
            continue
        found.add(name)
        waiting += _required(importlib.metadata.requires(name) or ())
    return found


def _required(requirements: Iterable[str]) -> list[str]:
    """Names of the requirements that are no extras."""
    plain = (text for text in requirements if "extra ==" not in text)
    matches = (NAME.match(text) for text in plain)
    return [match[0] for match in matches if match]


def _own_requirements() -> list[str]:
    """What the checkout asks for: it need not be installed."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return _required(project["dependencies"])


def _is_installed(name: str) -> bool:
    try:
        importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def distribution_bytes(name: str) -> int:
    """Bytes of a distribution's files, without compiled Python."""
    files = importlib.metadata.files(name) or []
    paths = (Path(str(file.locate())) for file in files if file.suffix != ".pyc")
    return sum(path.stat().st_size for path in paths if path.is_file())


def folder_bytes(folder: Path) -> int:
    """Bytes of a folder's files, without compiled Python."""
    files = (path for path in folder.rglob("*") if path.suffix != ".pyc")
    return sum(path.stat().st_size for path in files if path.is_file())
