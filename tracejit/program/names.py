"""Names of kernels that say what they hold.

    run @f_k0(%x) -> (%y)            →       run @f_k0_max_exp_sum(%x) -> (%y)

Products, reductions and functions that take many instructions, at most three, as they
come; where there are none, the first simple operations. They depend on nothing but what
is computed, so that equal kernels keep equal names.
"""

from collections.abc import Iterator
from dataclasses import replace

from ..ir import dtypes as dt
from ..ir.aval import ShapedArray
from ..kernels.kernel import Compute, Contract, Kernel, KernelOp, Reduce, with_inner
from ..kernels.schedule import Schedule
from .program import Program, with_kernels

MOST = 3  # operations in a name
FEW = 2  # simple ones, which say less
SIMPLE = 2.0  # operations of one element that are no function yet
REDUCED = {"add": "sum", "mul": "prod", "and": "all", "or": "any"}
COPY = "copy"


def with_names(program: Program) -> Program:
    """Return the program whose kernels are named by what they compute."""

    def named(kernel: Kernel, schedule: Schedule) -> tuple[Kernel, Schedule]:
        return replace(kernel, name=f"{kernel.name}_{content_of(kernel)}"), schedule

    return with_kernels(program, named)


def content_of(kernel: Kernel) -> str:
    """Return the main operations of a kernel.

    Examples
    --------
    >>> content_of(kernel)  # doctest: +SKIP
    'matmul_tanh'
    """
    ops = list(with_inner(kernel.body))
    main = list(dict.fromkeys(_main(ops)))[:MOST]
    simple = [op for op in ops if isinstance(op, Compute)]
    values = [op for op in simple if op.result.dtype != dt.BOOL]  # no masks
    names = dict.fromkeys(op.primitive.name for op in values or simple)
    return "_".join(main or list(names)[:FEW]) or COPY


def _main(ops: list[KernelOp]) -> Iterator[str]:
    for op in ops:
        if isinstance(op, Contract):
            yield "matmul"
        elif isinstance(op, Reduce):
            yield REDUCED.get(op.op, op.op)
        elif isinstance(op, Compute):
            one = ShapedArray((), op.result.dtype)
            if op.primitive.flops((one,), (one,), op.params) > SIMPLE:
                yield op.primitive.name
