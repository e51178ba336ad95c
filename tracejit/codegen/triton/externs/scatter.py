"""Scatter: updates added to, or stored at, places that are known at run time.

The result begins as a copy of the operand. Sums are made by atomic additions, in any
order: sums of floats may differ in their last bits from one run to the next. With
`deterministic`, and for what has no atomic operation (products, extrema of floats,
halves), updates are sorted by their places first (see `ordered`). Where
several updates are stored at one place the last one stays, as in NumPy: a first pass
notes for each place the largest number of an update there, and a second one stores the
updates that are noted. Updates with one index have no rivals and need one pass.
"""

from collections.abc import Sequence

import numpy as np

from ....ir import dtypes as dt
from ....ir.ops.shape import ints
from ....ir.primitive import Params
from ....kernels.kernel import Buffer, dense_strides
from ..code import TritonKernel
from .ordered import ordered_scatter
from .places import Places
from .text import WIDE, copy_code, fill_code, size_of

_ADDED = frozenset(dt.NAME_TO_DTYPE[n] for n in ("f32", "f64", "i32", "i64", "u32"))
_EXTREMA = frozenset(dt.NAME_TO_DTYPE[n] for n in ("i32", "i64", "u32"))
_ATOMICS = {
    "add": _ADDED,
    "max": _EXTREMA,
    "min": _EXTREMA,
    "mul": frozenset[np.dtype](),
}


def write_scatter(
    name: str,
    inputs: Sequence[Buffer],
    outputs: Sequence[Buffer],
    params: Params,
    deterministic: bool = False,
) -> TritonKernel | None:
    """Return the kernels of a scatter; see `extern_kernel`."""
    x, updates, *indices = inputs
    (out,) = outputs
    op = str(params["op"])
    if op != "set" and out.dtype.kind in "bc":
        return None
    if max(size_of(out), size_of(updates)) >= WIDE:
        return None
    batch = params["batch"]
    assert isinstance(batch, int)
    checked = params["mode"] == "raise"
    places = Places(updates, indices, out, ints(params, "axes"), batch, checked)
    codes = [copy_code("scatter_copy", x, out)]
    is_alike = out.dtype.kind != "f" or not deterministic  # in any order
    if op != "set" and not (out.dtype in _ATOMICS[op] and is_alike):
        ordered = ordered_scatter(op, places, checked)
        return TritonKernel(name, (*codes, *ordered.codes), ordered.workspace)
    if op != "set":
        codes.append(places.code(f"scatter_{op}", [_ATOMIC.format(op=op)], [], checked))
        return TritonKernel(name, tuple(codes))
    if int(np.prod(indices[0].shape[batch:], dtype=np.int64)) == 1:
        codes.append(places.code("scatter_set", [_STORE], [], checked))
        return TritonKernel(name, tuple(codes))
    last = Buffer("last", np.dtype(np.int32), out.shape, dense_strides(out.shape))
    codes += [
        fill_code("scatter_none", last, "-1"),
        places.code("scatter_last", [_NOTE], [last], checked),
        places.code("scatter_set", [_NOTED, _STORE], [last], checked),
    ]
    return TritonKernel(name, tuple(codes), (last,))


_ATOMIC = "tl.atomic_{op}({{out}}, x, mask=mask)"
_STORE = "tl.store({out}, x, mask=mask)"
_NOTE = "tl.atomic_max({last}, u.to(tl.int32), mask=mask)"
_NOTED = "mask = mask & (tl.load({last}, mask=mask, other=-1) == u)"
