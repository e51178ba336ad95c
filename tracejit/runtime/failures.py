"""The exceptions that error words of kernels stand for, with the user's lines."""

import numpy as np

from ..codegen.error_word import index_place
from ..errors import CallMemoryError, IndexRangeError
from ..kernels.kernel import Load
from ..program.memory import in_bytes, own_buffers
from ..program.program import Extern, Program, Run, Step

_BUFFERS_SHOWN = 5
_LINALG_MESSAGES = {
    "cholesky": "Matrix is not positive definite",
    "eigh": "Eigenvalues did not converge",
    "svd": "SVD did not converge",
    "svdvals": "SVD did not converge",
    "lstsq": "SVD did not converge in Linear Least Squares",
}


def index_error(program: Program, step: Step, word: int, index: int) -> IndexRangeError:
    """Return the error of an index, known at run time only, that is out of range.

    Parameters
    ----------
    program : Program
    step : Step
        Whose kernel reported it; a scatter may be a step of its own.
    word : int
        Which load, and which of its axes.
    index : int
    """
    number, dimension = index_place(word)
    if isinstance(step, Run):
        op = step.kernel.body[number]
        assert isinstance(op, Load)
        extent = step.kernel.buffer(op.buffer).shape[dimension]
    else:
        assert isinstance(step, Extern)
        extent = program.by_name[step.inputs[0]].shape[dimension]
    return IndexRangeError(
        f"index {index} is out of bounds for axis {dimension} with size {extent}",
        source=step.source[0] if step.source else None,
    )


def linalg_error(step: Step) -> np.linalg.LinAlgError:
    """Return NumPy's error of a matrix that a step cannot take."""
    assert isinstance(step, Extern)
    message = _LINALG_MESSAGES.get(step.primitive.name, "Singular matrix")
    where = f"\n  at {step.source[0]}" if step.source else ""
    return np.linalg.LinAlgError(message + where)


def memory_error(program: Program, arena_bytes: int) -> CallMemoryError:
    """Return the error of a call that gets no memory: how much, for what, which lines.

    Parameters
    ----------
    program : Program
    arena_bytes : int
        What a call takes besides its results.
    """
    made = [b for b in own_buffers(program) if b.kind in ("output", "arena")]
    results = sum(b.bytes for b in made if b.kind == "output")
    largest = sorted(made, key=lambda b: -b.bytes)[:_BUFFERS_SHOWN]
    shown = "".join(f"\n    {b}" for b in largest)
    return CallMemoryError(
        f"no memory for a call of {program.name}, which takes "
        f"{in_bytes(results + arena_bytes)}: {in_bytes(results)} for results, "
        f"{in_bytes(arena_bytes)} for temporaries; the largest are{shown}",
        hint="work on fewer rows at a time, e.g. by tj.scan; "
        "tj.checkpoint keeps less for gradients",
    )
