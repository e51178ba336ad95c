"""What the namespace can do: ``__array_namespace_info__()``."""

from typing import Any

import numpy as np

from ..api import device_parts
from .placing import CPU

_KINDS: dict[str, tuple[str, ...]] = {
    "bool": ("bool",),
    "signed integer": ("int8", "int16", "int32", "int64"),
    "unsigned integer": ("uint8", "uint16", "uint32", "uint64"),
    "real floating": ("float32", "float64"),
    "complex floating": ("complex64", "complex128"),
}
_KINDS["integral"] = _KINDS["signed integer"] + _KINDS["unsigned integer"]
_KINDS["numeric"] = (
    _KINDS["integral"] + _KINDS["real floating"] + _KINDS["complex floating"]
)


class NamespaceInfo:
    """What ``__array_namespace_info__()`` returns.

    Examples
    --------
    >>> NamespaceInfo().default_dtypes()["integral"]
    dtype('int64')
    """

    def capabilities(self) -> dict[str, Any]:
        """Return which optional parts there are.

        Boolean masks and shapes that depend on values work outside of `jit`; under it
        they raise, and the helpers with ``size=`` take their place.
        """
        return {
            "boolean indexing": True,
            "data-dependent shapes": True,
            "max dimensions": 64,
        }

    def default_device(self) -> str:
        """Return the device of arrays that are made without ``device=``."""
        return CPU

    def default_dtypes(self, *, device: Any = None) -> dict[str, np.dtype]:
        """Return the dtypes of arrays that are made without ``dtype=``."""
        return {
            "real floating": np.dtype(np.float64),
            "complex floating": np.dtype(np.complex128),
            "integral": np.dtype(np.intp),
            "indexing": np.dtype(np.intp),
        }

    def devices(self) -> list[str]:
        """Return the names of the devices of this machine, ``"cpu"`` first."""
        found: list[str] = device_parts().devices()
        return found

    def dtypes(
        self, *, device: Any = None, kind: str | tuple[str, ...] | None = None
    ) -> dict[str, np.dtype]:
        """Return dtypes by name.

        Parameters
        ----------
        device : str or Device, optional
            All have the same dtypes.
        kind : str or tuple of str, optional
            As for `isdtype`; all, if None.

        Raises
        ------
        ValueError
            For a kind that there is not.
        """
        wanted = ("bool", "numeric") if kind is None else kind
        kinds = wanted if isinstance(wanted, tuple) else (wanted,)
        unknown = [k for k in kinds if k not in _KINDS]
        if unknown:
            raise ValueError(f"no kind of dtypes: {unknown[0]!r}; one of {[*_KINDS]}")
        names = [name for k in kinds for name in _KINDS[k]]
        return {name: np.dtype(name) for name in names}


def __array_namespace_info__() -> NamespaceInfo:
    """Return what the namespace can do."""
    return NamespaceInfo()
