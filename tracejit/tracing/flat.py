"""``x.flat`` of a traced array."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from .storage import own

if TYPE_CHECKING:
    from .tracer import Tracer


class FlatView:
    """``x.flat``: reading and writing in row-major order."""

    def __init__(self, x: "Tracer") -> None:
        self.x = x

    def __getitem__(self, index: Any) -> Any:
        return self.x.reshape(-1)[index]

    def __setitem__(self, index: Any, value: object) -> None:
        flat = self.x.reshape(-1).copy()
        selected = flat[index]
        count = selected.size
        new = self.x.home.lift(value).reshape(-1)
        if new.size != count and new.size:
            new = new[own(np.arange(count) % new.size)]
        flat[index] = new.reshape(selected.shape) if selected.ndim else new[0]
        self.x.assign(flat.reshape(self.x.shape))

    def __iter__(self) -> Iterator[Any]:
        return iter(self.x.reshape(-1))

    def __len__(self) -> int:
        return self.x.size
