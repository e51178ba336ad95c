"""The machine code of the native call entry, compiled once in a process."""

import ctypes
from collections.abc import Callable, Collection, Mapping
from functools import cache

import numpy as np
from numpy._core import _multiarray_umath  # type: ignore[attr-defined]

from ....codegen.llvm.entry.module import (
    ADD_FRAME_SYMBOL,
    CALL_SYMBOL,
    STEPS,
    emit_entry,
)
from ....codegen.llvm.entry.writer import step_symbol
from .. import kept
from ..image import LoadedImage
from ..native import Loaded
from .support import LAYOUT

# Places in the table of NumPy's C API, which keeps them (numpy/__multiarray_api.h).
_NUMPY_API = {
    "PyArray_Type": 2,
    "PyArray_CopyInto": 50,
    "PyArray_Scalar": 60,
    "PyArray_NewFromDescr": 94,
    "PyArray_Transpose": 123,
    "PyArray_EquivTypes": 182,
    "PyArray_SetBaseObject": 282,
}


class Machine:
    """The loaded code.

    Parameters
    ----------
    objects : mapping of str to int
        Addresses of the module's imported data, but NumPy's.

    Attributes
    ----------
    call : int
        Address of the ``vectorcallfunc``.
    steps : dict of str to int
        Address of each step.
    add_frame : callable
        ``(address of a head, address of a frame)``.
    """

    def __init__(self, objects: Mapping[str, int]) -> None:
        self._library = _loaded(objects)
        self.call = self._library.address(CALL_SYMBOL)
        self.steps = {name: self._library.address(step_symbol(name)) for name in STEPS}
        prototype = ctypes.PYFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)
        self.add_frame: Callable[[int, int], None] = prototype(
            self._library.address(ADD_FRAME_SYMBOL)
        )


def _loaded(objects: Mapping[str, int]) -> Loaded:
    """Return the loaded code, from disk if it is there."""
    source = f"native entry {LAYOUT}"
    found = kept.find(source)
    if found is not None:
        image, _, _ = found
        return LoadedImage(image, _symbols(image.imports, objects))
    # The compiler, which code from disk does without.
    from ....codegen.llvm.target import host_target  # noqa: PLC0415
    from ..engine import engine_for  # noqa: PLC0415

    target = host_target()
    engine, code = engine_for(target), emit_entry(target, LAYOUT)
    compiled = engine.compile(code.text)
    linked = engine.image([compiled])
    if linked is None:
        names = {*code.functions, *code.objects}
        return engine.load(compiled, _symbols(names, objects))
    kept.keep(source, linked, {}, {})
    return LoadedImage(linked, _symbols(linked.imports, objects))


def _symbols(names: Collection[str], objects: Mapping[str, int]) -> dict[str, int]:
    """Return the addresses of what the code imports."""
    numpy_api = _numpy_table()
    symbols = {name: numpy_api[name] for name in _NUMPY_API if name in names}
    symbols.update(objects)
    for name in names:
        if name.startswith("Py") and name not in symbols:
            symbols[name] = _python_function(name)
    return symbols


def _python_function(name: str) -> int:
    return ctypes.cast(getattr(ctypes.pythonapi, name), ctypes.c_void_p).value or 0


@cache
def _numpy_table() -> dict[str, int]:
    """Return the addresses of what the module imports from NumPy."""
    pointer = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)(
        ("PyCapsule_GetPointer", ctypes.pythonapi)
    )
    table = pointer(_multiarray_umath._ARRAY_API, None)
    words = (ctypes.c_size_t * (1 + max(_NUMPY_API.values()))).from_address(table)
    found = {name: words[place] for name, place in _NUMPY_API.items()}
    assert found["PyArray_Type"] == id(np.ndarray)
    return found
