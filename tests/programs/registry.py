"""All programs by name, gathered from the modules of this folder."""

from . import (
    finance,
    graphs,
    learning,
    matrices,
    networks,
    optimisers,
    physics,
    semantics,
    signals,
)
from .program import Program

MODULES = (
    learning,
    networks,
    optimisers,
    physics,
    signals,
    finance,
    matrices,
    graphs,
    semantics,
)


def gather() -> dict[str, Program]:
    """Programs keyed by name; two of one name are a mistake."""
    programs: dict[str, Program] = {}
    for module in MODULES:
        for program in module.PROGRAMS:
            if program.name in programs:
                raise ValueError(f"two programs are named {program.name!r}")
            programs[program.name] = program
    return programs


PROGRAMS: dict[str, Program] = gather()
