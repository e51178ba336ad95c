"""Cases and a direct reference for convolution: loops over taps, in float64."""

from dataclasses import dataclass, field
from itertools import product

import numpy as np

Options = dict[str, object]


@dataclass(frozen=True)
class Case:
    """Shapes and arguments of one convolution."""

    x: tuple[int, ...]
    w: tuple[int, ...]
    options: Options = field(default_factory=dict)

    def __str__(self) -> str:
        rest = ",".join(f"{k}={v}" for k, v in self.options.items())
        return f"{self.x}*{self.w} {rest}".replace(" ", "")


def both(value: object, rank: int) -> tuple[int, ...]:
    return value if isinstance(value, tuple) else (value,) * rank  # type: ignore[return-value]


def direct(x: np.ndarray, w: np.ndarray, options: Options) -> np.ndarray:
    """Channels first, numeric padding; one product for each tap."""
    rank = x.ndim - 2
    strides = both(options.get("stride", 1), rank)
    steps = both(options.get("dilation", 1), rank)
    groups = options.get("groups", 1)
    padding = both(options.get("padding", 0), rank)
    pairs = [p if isinstance(p, tuple) else (p, p) for p in padding]
    full = np.pad(x.astype(np.float64), [(0, 0), (0, 0), *pairs])
    taps = w.shape[2:]
    places = [
        (n - (k - 1) * d - 1) // s + 1
        for n, k, d, s in zip(full.shape[2:], taps, steps, strides, strict=True)
    ]
    out = np.zeros((x.shape[0], w.shape[0], *places))
    per, filters = w.shape[1], w.shape[0] // groups
    for g in range(groups):
        mine = slice(g * per, (g + 1) * per)
        ours = slice(g * filters, (g + 1) * filters)
        for at in product(*map(range, taps)):
            rows = [
                slice(t * d, t * d + (n - 1) * s + 1, s)
                for t, d, n, s in zip(at, steps, places, strides, strict=True)
            ]
            seen = full[(slice(None), mine, *rows)]
            filters_at = w[(ours, slice(None), *at)].astype(np.float64)
            out[:, ours] += np.einsum("nc...,oc->no...", seen, filters_at)
    return out


CASES = [
    Case((2, 3, 8, 8), (4, 3, 3, 3), {"padding": 1}),
    Case((1, 1, 5, 7), (1, 1, 2, 3)),
    Case((3, 5, 9, 11), (7, 5, 3, 2), {"stride": 2, "padding": (1, 2)}),
    Case((2, 4, 13, 10), (6, 2, 3, 3), {"groups": 2, "padding": 1, "stride": (1, 3)}),
    Case((2, 6, 10, 9), (6, 1, 3, 3), {"groups": 6, "padding": 1}),
    Case((2, 4, 9, 12), (8, 1, 5, 5), {"groups": 4, "padding": 2, "stride": 2}),
    Case((1, 3, 12, 12), (2, 3, 3, 3), {"dilation": 2, "padding": 2}),
    Case((1, 3, 12, 13), (5, 3, 3, 3), {"dilation": (2, 3), "stride": (3, 2)}),
    Case((2, 16, 7, 7), (33, 16, 1, 1)),
    Case((2, 16, 7, 7), (20, 16, 1, 1), {"stride": 2}),
    Case((4, 3, 8, 8), (5, 3, 8, 8)),
    Case((2, 3, 20, 40), (20, 3, 3, 3), {"padding": ((0, 2), (3, 1))}),
    Case((2, 40, 6, 6), (9, 40, 3, 3), {"padding": 1}),
    Case((2, 3, 37), (5, 3, 4), {"stride": 3, "padding": 2}),
    Case((1, 2, 70), (3, 2, 7), {"dilation": 3, "padding": 9}),
    Case((1, 2, 5, 6, 7), (3, 2, 2, 3, 3), {"padding": 1, "stride": (1, 2, 1)}),
    Case((2, 2, 4, 4, 5), (4, 1, 2, 2, 2), {"groups": 2}),
    Case((2, 3, 6, 6), (4, 3, 3, 3), {"stride": 5}),
    Case((0, 3, 6, 6), (4, 3, 3, 3), {"padding": 1}),
    Case((1, 1, 3, 3), (1, 1, 3, 3), {"padding": 2, "stride": 4}),
]
