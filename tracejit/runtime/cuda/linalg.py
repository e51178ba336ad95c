"""Linear algebra of a device: calls of cuSOLVER and cuBLAS, and kernels beside them.

These libraries take matrices column by column, where NumPy's are row by row: to them, a
matrix in memory is its transpose. So a routine is asked for what the transpose gives
(the other triangle, Aᵀ x = b, U and V exchanged), and copies are those that a routine
needs anyway, as it works in place; only vectors by columns (of ``eigh`` and ``qr``, and
several right-hand sides) are turned. Stacks of small matrices are one call of a batched
routine, which wants a list of addresses; others are loops in machine code over
matrices. Which matrix a routine failed for is seen by a kernel, which stores an error
word.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from math import prod

import numpy as np

from ...codegen.llvm.copies import copy_kernel
from ...codegen.llvm.launch import (
    Argument,
    At,
    Call,
    HostInt,
    Launch,
    Launches,
    Number,
)
from ...codegen.triton.code import TritonCode, TritonKernel
from ...codegen.triton.emit import emit_kernel
from ...codegen.triton.externs import matrices
from ...kernels.kernel import Buffer, dense_strides
from ...program.program import Extern, Program
from .device import Device
from .libraries import Libraries
from .loading import bytes_of, loaded

_SMALL = 128  # rows of matrices that batched routines are made for
_FLOATS = (np.dtype(np.float32), np.dtype(np.float64))
_INT = np.dtype(np.int32)
_LOWER, _UPPER = 0, 1  # cublasFillMode_t
_PLAIN, _TRANSPOSED = 0, 1  # cublasOperation_t
_RIGHT = 1  # cublasSideMode_t
_VECTORS = 1  # cusolverEigMode_t


def library_step(device: Device, program: Program, step: Extern) -> Launches | None:
    """Return what computes a step by libraries; None where they or it are missing.

    Operands are called ``in0``, ``in1``, ... and results ``out0``, ...
    """
    if not has_library_step(device, program, step):
        return None
    assert device.libraries is not None
    plan = _Plan(device, device.libraries, program, step)
    _WRITERS[step.primitive.name](plan)
    return plan.done()


def has_library_step(device: Device, program: Program, step: Extern) -> bool:
    """Tell whether libraries compute a step, and are there."""
    ends = [program.by_name[name] for name in (*step.inputs, *step.outputs)]
    floats = [b for b in ends if b.dtype.kind in "fc"]
    fits = all(b.dtype in _FLOATS for b in floats) and all(prod(b.shape) for b in ends)
    is_known = step.primitive.name in _WRITERS
    return is_known and fits and device.libraries is not None


class _Plan:
    """What is launched for one step, as it is put together.

    Attributes
    ----------
    ins, outs : list of Buffer
        Operands, and results: places of their own where these are not contiguous.
    dtype : numpy.dtype
        Of the first operand.
    count : int
        How many matrices it has.
    """

    def __init__(
        self, device: Device, libraries: Libraries, program: Program, step: Extern
    ) -> None:
        self._device, self._libraries = device, libraries
        self.params = step.params
        self._launches: list[Launch | Call] = []
        self._workspace: dict[str, Buffer] = {}
        self.ins = [
            program.by_name[name].as_parameter(f"in{k}")
            for k, name in enumerate(step.inputs)
        ]
        self._results = [
            program.by_name[name].as_parameter(f"out{k}")
            for k, name in enumerate(step.outputs)
        ]
        self.outs = [
            b if b.strides == dense_strides(b.shape) else self.place(b.dtype, b.shape)
            for b in self._results
        ]
        self.dtype = self.ins[0].dtype
        self.lead = self.ins[0].shape[:-2]
        self.count = prod(self.lead)

    def done(self) -> Launches:
        """Return everything."""
        for result, out in zip(self._results, self.outs, strict=True):
            if out.name != result.name:
                self.copy(out, result)
        sizes = {name: bytes_of(b) for name, b in self._workspace.items()}
        return Launches(tuple(self._launches), sizes)

    # Memory

    def place(
        self,
        dtype: np.dtype,
        shape: tuple[int, ...],
        strides: tuple[int, ...] | None = None,
    ) -> Buffer:
        """Return memory of the step's own."""
        name = f"place{len(self._workspace)}"
        found = Buffer(name, dtype, shape, strides or dense_strides(shape))
        self._workspace[name] = found
        return found

    def by_columns(self, shape: tuple[int, ...], dtype: np.dtype) -> Buffer:
        """Return memory for matrices that are stored column by column."""
        *lead, m, n = shape
        outer = (s * m * n for s in dense_strides(tuple(lead)))
        return self.place(dtype, shape, (*outer, 1, m))

    def numbers(self) -> Buffer:
        """Return memory for what a routine says of each matrix."""
        return self.place(_INT, (self.count,))

    def own_copy(self, x: Buffer) -> tuple[Buffer, bool]:
        """Return a copy of matrices, and whether it is by columns, as they are."""
        turned = _is_turned(x)
        if turned:
            to = self.by_columns(x.shape, x.dtype)
        else:
            to = self.place(x.dtype, x.shape)
        self.copy(x, to)
        return to, turned

    # What is launched

    def kernel(self, code: TritonCode, names: Mapping[str, str] | None = None) -> None:
        """Launch a kernel; `names` are those of its buffers here, where they differ."""
        self._launch(TritonKernel(code.name, (code,)), names or {})

    def copy(self, source: Buffer, to: Buffer) -> None:
        """Copy an array to another of any strides."""
        kernel = emit_kernel(*copy_kernel(source, to))
        self._launch(kernel, {"source": source.name, "to": to.name})

    def _launch(self, source: TritonKernel, names: Mapping[str, str]) -> None:
        used = {b.name for code in source.codes for b in code.buffers}
        odd = [n for n in used if names.get(n, n) not in self._workspace]
        found = loaded(self._device, source, odd)
        for launch in found.kernels:
            arguments = tuple(names.get(n, n) for n in launch.arguments)
            self._launches.append(replace(launch, arguments=arguments))

    def work(self, routine: str, *arguments: int | None) -> tuple[At, int]:
        """Return the memory a routine of cuSOLVER works in, and its size."""
        size = self._libraries.work_size(routine, self.dtype, *arguments)
        return At(self.place(self.dtype, (max(size, 1),)).name), size

    def solve(self, routine: str, *arguments: Argument) -> None:
        """Call a routine of cuSOLVER, for each matrix unless it takes them all."""
        call = self._libraries.solver(
            routine, self.dtype, arguments, self._turns(routine)
        )
        self._launches.append(call)

    def multiply(self, routine: str, *arguments: Argument) -> None:
        """Call a routine of cuBLAS, likewise."""
        call = self._libraries.blas(
            routine, self.dtype, arguments, self._turns(routine)
        )
        self._launches.append(call)

    def _turns(self, routine: str) -> int:
        return 1 if routine.endswith("Batched") else self.count

    @property
    def is_batched(self) -> bool:
        """Whether there are many small matrices."""
        return self.count > 1 and self.ins[0].shape[-1] <= _SMALL

    def listed(self, x: Buffer) -> At:
        """Return a list of the addresses of contiguous matrices."""
        step = _each(x).step
        to = self.place(np.dtype(np.int64), (self.count,))
        self.kernel(matrices.addresses_code(x, to, step))
        return At(to.name)


def _is_turned(x: Buffer) -> bool:
    """Tell whether matrices lie one after another, each column by column."""
    *lead, m, n = x.shape
    outer = tuple(s * m * n for s in dense_strides(tuple(lead)))
    return x.strides == (*outer, 1, m) and min(m, n) > 1


def _each(buffer: Buffer, rank: int = 2) -> At:
    """Return the address of each matrix, vector or number of contiguous ones."""
    per = prod(buffer.shape[len(buffer.shape) - rank :])
    return At(buffer.name, per * buffer.dtype.itemsize)


# --- factors ----------------------------------------------------------------------


def _write_cholesky(plan: _Plan) -> None:
    (x,), (out,) = plan.ins, plan.outs
    n, info = x.shape[-1], plan.numbers()
    if plan.is_batched:  # the routine leaves anything in the other triangles
        own = plan.place(x.dtype, x.shape)
        plan.copy(x, own)
        arguments = (_UPPER, n, plan.listed(own), n, At(info.name), plan.count)
        plan.solve("potrfBatched", *arguments)
        plan.kernel(matrices.failed_code(info))
        plan.kernel(matrices.lower_code(own, out))
        return
    plan.kernel(matrices.lower_code(x, out))
    work = plan.work("potrf", _UPPER, n, None, n)
    plan.solve("potrf", _UPPER, n, _each(out), n, *work, _each(info, 0))
    plan.kernel(matrices.failed_code(info))


def _factorised(plan: _Plan) -> tuple[Buffer, bool, Buffer, Buffer]:
    """Return LU factors, whether of Aᵀ or A to the library, pivots, and status."""
    x = plan.ins[0]
    factors, turned = plan.own_copy(x)
    n, info = x.shape[-1], plan.numbers()
    pivots = plan.place(_INT, (plan.count, n))
    if plan.is_batched:
        places = At(pivots.name), At(info.name)
        plan.multiply("getrfBatched", n, plan.listed(factors), n, *places, plan.count)
        return factors, turned, pivots, info
    at, _ = plan.work("getrf", n, n, None, n)
    plan.solve("getrf", n, n, _each(factors), n, at, _each(pivots, 1), _each(info, 0))
    return factors, turned, pivots, info


def _solved(
    plan: _Plan, factors: Buffer, pivots: Buffer, operation: int, to: Buffer
) -> None:
    """Solve for right-hand sides that are stored column by column."""
    n, k = to.shape[-2:]
    if plan.is_batched:
        left = operation, n, k, plan.listed(factors), n, At(pivots.name)
        right = plan.listed(to), n, HostInt(), plan.count
        plan.multiply("getrsBatched", *left, *right)
        return
    arguments = (operation, n, k, _each(factors), n, _each(pivots, 1), _each(to), n)
    plan.solve("getrs", *arguments, _each(plan.numbers(), 0))


def _write_solve(plan: _Plan) -> None:
    factors, turned, pivots, info = _factorised(plan)
    plan.kernel(matrices.failed_code(info))
    y, out = plan.ins[1], plan.outs[0]
    is_vector = y.shape[-1] == 1
    rhs = out if is_vector else plan.by_columns(y.shape, y.dtype)
    plan.copy(y, rhs)
    _solved(plan, factors, pivots, _PLAIN if turned else _TRANSPOSED, rhs)
    if not is_vector:
        plan.copy(rhs, out)


def _inverted(plan: _Plan) -> Buffer:
    """Write inverses; return the status.

    The library solves Aᵀ Z = 1 (or A Z = 1, transposed): Z by columns is A⁻¹ by rows.
    """
    factors, turned, pivots, info = _factorised(plan)
    (out,) = plan.outs
    plan.kernel(matrices.identity_code(out))
    _solved(plan, factors, pivots, _TRANSPOSED if turned else _PLAIN, out)
    return info


def _write_inv(plan: _Plan) -> None:
    plan.kernel(matrices.failed_code(_inverted(plan)))


def _write_inv_or_nan(plan: _Plan) -> None:
    plan.kernel(matrices.nan_code(_inverted(plan), plan.outs[0]))


def _write_determinant(plan: _Plan) -> None:
    factors, _, pivots, info = _factorised(plan)
    *sign, out = plan.outs
    code = matrices.determinant_code(
        factors, pivots, info, sign[0] if sign else None, out
    )
    plan.kernel(code)


def _write_triangular(plan: _Plan) -> None:
    """X T = B of the transposes: Tᵀ and Bᵀ are what lies in memory."""
    (a, y), (out,) = plan.ins, plan.outs
    n, k = y.shape[-2:]
    plan.kernel(matrices.singular_code(a))
    turned = _is_turned(a)
    if not turned and a.strides != dense_strides(a.shape):
        a, _ = plan.own_copy(a)
    plan.copy(y, out)
    lower = bool(plan.params["lower"])
    half = _LOWER if lower == turned else _UPPER
    operation = _TRANSPOSED if turned else _PLAIN
    one = Number(1.0, plan.dtype)
    options = (_RIGHT, half, operation, 0)
    if plan.is_batched:
        places = (one, plan.listed(a), n, plan.listed(out), k, plan.count)
        plan.multiply("trsmBatched", *options, k, n, *places)
        return
    plan.multiply("trsm", *options, k, n, one, _each(a), n, _each(out), k)


# --- orthogonal factors -----------------------------------------------------------


def _write_reflectors(plan: _Plan) -> None:
    (x,), (h, tau) = plan.ins, plan.outs
    m, n = x.shape[-2:]
    own = plan.by_columns(x.shape, x.dtype)
    plan.copy(x, own)
    work = plan.work("geqrf", m, n, None, m)
    info = _each(plan.numbers(), 0)
    plan.solve("geqrf", m, n, _each(own), m, _each(tau, 1), *work, info)
    plan.copy(own, h)


def _write_product(plan: _Plan) -> None:
    (h, tau), (out,) = plan.ins, plan.outs
    m, n = out.shape[-2:]
    k = tau.shape[-1]
    own = plan.by_columns(out.shape, out.dtype)
    plan.copy(_columns(h, k), _columns(own, k))
    if tau.strides != dense_strides(tau.shape):
        factors = plan.place(tau.dtype, tau.shape)
        plan.copy(tau, factors)
        tau = factors
    work = plan.work("orgqr", m, n, k, None, m, None)
    info = _each(plan.numbers(), 0)
    plan.solve("orgqr", m, n, k, _each(own), m, _each(tau, 1), *work, info)
    plan.copy(own, out)


def _columns(x: Buffer, k: int) -> Buffer:
    """Return the first columns of matrices."""
    return Buffer(x.name, x.dtype, (*x.shape[:-1], k), x.strides)


# --- spectra ----------------------------------------------------------------------


def _write_eigh(plan: _Plan) -> None:
    values, vectors = plan.outs
    own, turned = plan.own_copy(plan.ins[0])
    n, info = own.shape[-1], plan.numbers()
    half = _LOWER if turned else _UPPER
    work = plan.work("syevd", _VECTORS, half, n, None, n, None)
    arguments = (_VECTORS, half, n, _each(own), n, _each(values, 1))
    plan.solve("syevd", *arguments, *work, _each(info, 0))
    plan.kernel(matrices.failed_code(info))
    outer = own.strides[:-2]
    plan.copy(Buffer(own.name, own.dtype, own.shape, (*outer, 1, n)), vectors)


def _write_svd(plan: _Plan) -> None:
    """The library takes no more columns than rows.

    To it, A by rows is Aᵀ = V S Uᵀ: V by columns is Vᵀ by rows, and Uᵀ is U.
    """
    (x,), (u, s, vh) = plan.ins, plan.outs
    m, n = x.shape[-2:]
    if m <= n:
        own = plan.place(x.dtype, x.shape)
        plan.copy(x, own)
        _decompose(plan, own, (n, m), s, vh, u)
        return
    own, left, right = (plan.by_columns(b.shape, b.dtype) for b in (x, u, vh))
    plan.copy(x, own)
    _decompose(plan, own, (m, n), s, left, right)
    plan.copy(left, u)
    plan.copy(right, vh)


def _write_svdvals(plan: _Plan) -> None:
    (x,), (s,) = plan.ins, plan.outs
    m, n = x.shape[-2:]
    own = plan.place(x.dtype, x.shape) if m <= n else plan.by_columns(x.shape, x.dtype)
    plan.copy(x, own)
    _decompose(plan, own, (max(m, n), min(m, n)), s, None, None)


def _decompose(
    plan: _Plan,
    own: Buffer,
    size: tuple[int, int],
    s: Buffer,
    left: Buffer | None,
    right: Buffer | None,
) -> None:
    """Call ``gesvd`` for matrices that are `size` to the library.

    Parameters
    ----------
    left, right : Buffer, optional
        Where singular vectors go; to the library, they are the columns of the one and
        the rows of the other.
    """
    m, n = size
    info = plan.numbers()
    jobs = [ord("N")] * 2
    places: tuple[At | int | None, ...] = (None, m, None, n)
    if left is not None and right is not None:
        full = prod(left.shape[-2:]) == m * m
        jobs = [ord("A" if full else "S")] * 2
        places = _each(left), m, _each(right), n
    at, length = plan.work("gesvd", m, n)
    arguments = (*jobs, m, n, _each(own), m, _each(s, 1), *places, at, length)
    plan.solve("gesvd", *arguments, None, _each(info, 0))
    plan.kernel(matrices.failed_code(info))


_WRITERS: Mapping[str, Callable[[_Plan], None]] = {
    "cholesky": _write_cholesky,
    "solve": _write_solve,
    "inv": _write_inv,
    "inv_or_nan": _write_inv_or_nan,
    "det": _write_determinant,
    "slogdet": _write_determinant,
    "triangular_solve": _write_triangular,
    "geqrf": _write_reflectors,
    "householder_product": _write_product,
    "eigh": _write_eigh,
    "svd": _write_svd,
    "svdvals": _write_svdvals,
}
