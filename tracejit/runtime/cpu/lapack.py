"""Routines of SciPy's LAPACK, by address.

SciPy gives compiled code the addresses of its routines in capsules, whose names are
their C signatures. Where there is no SciPy, or its integers are of another size, no
routine is found and callers go through Python.
"""

import ctypes
from functools import cache
from importlib import import_module

import numpy as np

from ...codegen.llvm.steps.factor import LapackRoutine

_LETTERS = {"f4": "s", "f8": "d", "c8": "c", "c16": "z"}
_GETRF = b"void (int *, int *, "  # what comes next names the type of elements

_name_of = ctypes.PYFUNCTYPE(ctypes.c_char_p, ctypes.py_object)(
    ("PyCapsule_GetName", ctypes.pythonapi)
)
_pointer_of = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)(
    ("PyCapsule_GetPointer", ctypes.pythonapi)
)


@cache
def find_getrf(dtype: np.dtype) -> LapackRoutine | None:
    """Return the routine that factorises matrices of a dtype; None if there is none.

    Examples
    --------
    >>> find_getrf(np.dtype(np.int64)) is None
    True
    """
    letter = _LETTERS.get(dtype.str[1:])
    if letter is None:
        return None
    try:
        capsules = import_module("scipy.linalg.cython_lapack").__pyx_capi__
    except (ImportError, AttributeError):
        return None
    capsule = capsules.get(f"{letter}getrf")
    name = None if capsule is None else _name_of(capsule)
    if name is None or not name.startswith(_GETRF):
        return None
    address = _pointer_of(capsule, name)
    return LapackRoutine(f"scipy.{letter}getrf", address) if address else None
