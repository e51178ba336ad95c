"""Arguments of convolution and pooling: checked, and spelled out for each axis.

Needs the shapes; establishes one int for each spatial axis, paddings (before, after),
and where the channels are.
"""

from collections.abc import Sequence
from operator import index

from ..errors import ShapeError
from ..ir.aval import Shape
from ..ir.ops.conv import dilated
from ..tracing.source import user_line

PerAxis = int | Sequence[int]
Padding = int | str | Sequence[int | Sequence[int]]
CHANNELS_FIRST = ("NCHW", "NCW", "NCDHW")
CHANNELS_LAST = ("NHWC", "NWC", "NDHWC")


def mistake(message: str, hint: str = "") -> ShapeError:
    """Return the error for arguments that do not fit, at the user's line."""
    return ShapeError(message, source=user_line(), hint=hint)


def is_channels_last(name: str, layout: str, rank: int) -> bool:
    """Tell where the channels are; ``NCHW`` and ``NHWC`` stand for any rank.

    Raises
    ------
    ShapeError
    """
    known = (*CHANNELS_FIRST, *CHANNELS_LAST)
    if layout not in known:
        names = ", ".join(known)
        raise mistake(
            f"{name}: layout {layout!r} is not known; expected one of {names}"
        )
    if layout not in ("NCHW", "NHWC") and len(layout) != rank + 2:
        raise mistake(
            f"{name}: layout {layout!r} has {len(layout)} axes, the operand {rank + 2}"
        )
    return layout in CHANNELS_LAST


def per_axis(name: str, what: str, value: PerAxis, rank: int) -> tuple[int, ...]:
    """Return one positive int for each spatial axis.

    Raises
    ------
    ShapeError
    """
    values = tuple(value) if isinstance(value, Sequence) else (value,) * rank
    out = tuple(index(v) for v in values)
    if len(out) != rank or min((1, *out)) < 1:
        raise mistake(
            f"{name}: {what} is {value!r}; expected a positive int, or {rank} of them"
        )
    return out


def paddings(
    name: str,
    padding: Padding,
    extents: Shape,
    window: Shape,
    strides: Shape,
    dilation: Shape,
) -> tuple[Shape, Shape]:
    """Return the padding before and after each spatial axis.

    ``"same"`` gives ``ceil(extent / stride)`` places, with the odd one after.

    Raises
    ------
    ShapeError
    """
    rank = len(extents)
    if isinstance(padding, str):
        if padding not in ("same", "valid"):
            raise mistake(
                f"{name}: padding is {padding!r}; expected 'same', 'valid' or numbers"
            )
        pairs = [(0, 0)] * rank
        if padding == "same":
            rows = zip(extents, window, strides, dilation, strict=True)
            pairs = [_same(*row) for row in rows]
    elif isinstance(padding, Sequence):
        pairs = [_pair(name, p) for p in padding if not isinstance(p, str)]
    else:
        pairs = [_pair(name, padding)] * rank
    if len(pairs) != rank:
        raise mistake(f"{name}: padding is {padding!r}, for {rank} spatial axes")
    return tuple(a for a, _ in pairs), tuple(z for _, z in pairs)


def _same(extent: int, window: int, stride: int, dilation: int) -> tuple[int, int]:
    places = -(-extent // stride)
    total = max(0, (places - 1) * stride + dilated(window, dilation) - extent)
    return total // 2, total - total // 2


def _pair(name: str, padding: int | Sequence[int]) -> tuple[int, int]:
    values = tuple(padding) if isinstance(padding, Sequence) else (padding, padding)
    out = tuple(index(v) for v in values)
    if len(out) != 2 or min(out) < 0:
        raise mistake(
            f"{name}: padding of one axis is {padding!r}; expected an int that is not "
            "negative, or (before, after)"
        )
    return out[0], out[1]
