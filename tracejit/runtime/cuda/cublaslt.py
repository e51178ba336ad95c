"""Products of matrices in memory by cuBLASLt, where that was measured to be faster.

The library thinks in columns: a row-major matrix is, to it, the transposed one. So it
is asked for ``outᵀ = rhsᵀ @ lhsᵀ``, with the operands exchanged, and nothing is copied.
Its heuristic gives a few algorithms, which are candidates of the tuner like other
choices; none is ever taken without measurement. Where the library is missing there is
no such candidate, and a file that names one falls back to the default.
"""

import ctypes
from collections.abc import Mapping, Sequence

import numpy as np

from ...codegen.llvm.launch import (
    Argument,
    At,
    Call,
    Handle,
    Host,
    HostInt,
    Launches,
    Number,
    Stream,
    Wide,
)
from ...codegen.triton.choice import LIBRARY, Choice, Site
from ...codegen.triton.products import LINE, Matrix, Plain, plain
from ...errors import DeviceError
from ...ir import dtypes as dt
from .cublaslt_library import MATMUL, SIGNATURES, Columns, CublasLt, Described
from .device import Device

_MOST = 3  # algorithms that are measured
_WORKSPACE = "workspace of cuBLASLt"


def library_choices(device: Device, site: Site) -> list[Choice]:
    """Return the library's algorithms for a site, if it is a plain product."""
    return [
        Choice({}, 0, 0, form=LIBRARY, algorithm=k)
        for k in range(len(_described(device, site)))
    ]


def library_product(device: Device, site: Site, choice: Choice) -> Launches | None:
    """Return the call for a site, if the choice is one of the library's algorithms.

    None where the library, or that algorithm, is missing.
    """
    if choice.form != LIBRARY:
        return None
    found, about = _described(device, site), plain(site.piece)
    if device.products is None or about is None or choice.algorithm >= len(found):
        return None
    return _launches(device.products, site, about, found[choice.algorithm])


def library_kernel(
    device: Device, sites: Sequence[Site], choices: Mapping[str, Choice]
) -> Launches | None:
    """Return the call for a kernel that is one site, if one was chosen for that."""
    if len(sites) != 1 or sites[0].key not in choices:
        return None
    return library_product(device, sites[0], choices[sites[0].key])


def _described(device: Device, site: Site) -> list[Described]:
    about = None if site.product is None else plain(site.piece)
    if device.products is None or about is None:
        return []
    dtype = _dtype(site)
    if dtype in dt.FLOAT8S:  # its products of float8 have scales, and other sums
        return []
    s, alignment = about.shape, _alignment(site)
    out = Columns(s.n, s.m, about.out.leading, s.batch, about.out.batch_step)
    try:
        return device.products.describe(
            dtype,
            _transposed(about.rhs, s.k, s.n, s.batch),
            _transposed(about.lhs, s.m, s.k, s.batch),
            out,
            alignment,
            _MOST,
            site.tuning.tf32,
        )
    except DeviceError:  # not supported
        return []


def _dtype(site: Site) -> np.dtype:
    assert site.product is not None
    return site.product.lhs.dtype


def _alignment(site: Site) -> int:
    """Return what the addresses of the operands are multiples of, in bytes."""
    about = plain(site.piece)
    assert about is not None
    size = _dtype(site).itemsize
    places = [
        place * size
        for x in (about.lhs, about.rhs, about.out)
        for place in (x.offset, x.batch_step)
    ]
    is_odd = site.odd_buffers or any(place % LINE for place in places)
    return size if is_odd else LINE


def _transposed(
    matrix: Matrix, rows: int, columns: int, batch: int
) -> tuple[Columns, bool]:
    """Return the transposed matrix in columns, and whether it lies there transposed."""
    is_turned = matrix.column_step != 1
    sides = (rows, columns) if is_turned else (columns, rows)
    return Columns(*sides, matrix.leading, batch, matrix.batch_step), is_turned


def _launches(
    library: CublasLt, site: Site, about: Plain, found: Described
) -> Launches:
    dtype = _dtype(site)
    scale = dt.FLOAT64 if dtype == dt.FLOAT64 else dt.FLOAT32
    size = dtype.itemsize
    layouts = {"a": found.a, "b": found.b, "d": found.d}
    a, b, d = (Host(f"layout.{k}.{x}", x) for k, x in layouts.items())
    arguments: tuple[Argument, ...] = (
        Host(f"product.{found.product}", found.product),
        Number(1.0, scale),
        At(about.rhs.buffer, offset=size * about.rhs.offset),
        a,
        At(about.lhs.buffer, offset=size * about.lhs.offset),
        b,
        Number(0.0, scale),
        At(about.out.buffer, offset=size * about.out.offset),
        d,
        At(about.out.buffer, offset=size * about.out.offset),
        d,
        Host(f"algorithm.{found.algorithm}", found.algorithm),
        At(_WORKSPACE) if found.workspace else None,
        Wide(found.workspace),
        Stream(),
    )
    handle = Handle("cublasLt", library.handle, "", 0, is_recorded=True)
    call = Call(MATMUL, library.addresses[MATMUL], handle, arguments)
    return Launches((call,), {_WORKSPACE: found.workspace})


def call_at(call: Call, places: Mapping[str, int], stream: int) -> None:
    """Call a product with buffers at some addresses.

    Raises
    ------
    DeviceError
        If the library refuses it.
    """
    kept: list[ctypes.c_float | ctypes.c_double] = []

    def value(argument: Argument) -> int | None:
        if isinstance(argument, Number):
            type_ = ctypes.c_float if argument.dtype.itemsize == 4 else ctypes.c_double
            kept.append(type_(argument.value))
            return ctypes.addressof(kept[-1])
        if isinstance(argument, At):
            return places[argument.buffer] + argument.offset
        if isinstance(argument, Stream):
            return stream
        if isinstance(argument, Wide):
            return argument.value
        assert not isinstance(argument, HostInt), "a product gives no ints"
        return argument.address if isinstance(argument, Host) else argument

    function = ctypes.CFUNCTYPE(ctypes.c_int, *SIGNATURES[MATMUL])(call.function)
    status = function(call.handle.address, *map(value, call.arguments))
    if status:
        raise DeviceError(f"{call.name} failed with status {status}", code=status)
