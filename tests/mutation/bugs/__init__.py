"""The planted bugs, by the part of the package that they are in."""

from ..mutant import Mutant
from .llvm import LLVM
from .passes import PASSES
from .programs import PROGRAMS
from .rules import RULES
from .tracing import TRACING
from .transforms import TRANSFORMS
from .triton import TRITON

MUTANTS: tuple[Mutant, ...] = (
    *RULES,
    *PASSES,
    *TRANSFORMS,
    *PROGRAMS,
    *LLVM,
    *TRITON,
    *TRACING,
)
