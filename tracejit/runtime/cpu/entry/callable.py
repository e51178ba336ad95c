"""The type of objects that machine code can be called through.

Made with `PyType_FromSpec`, since Python code cannot give a type a place for a
``vectorcallfunc``. `NativeCallable` has two words: the function, NULL until there is
one, so that Python's ``__call__`` of the subclass is called; and ``_chain``, the tuple
of lists of steps that the function goes through. `let_call` marks a subclass as one
whose instances are called that way: not every Python lets subclasses inherit the mark.
"""

import ctypes

from .support import FLAGS_OFFSET, LAYOUT, why_not

_HAVE_VECTORCALL = 1 << 11
_METHOD_DESCRIPTOR = 1 << 17  # ``object.f(x)`` calls f(object, x), without `__get__`
_BASE_TYPE = 1 << 10
_DEFAULT = 1 << 18
_SLOT_CALL, _SLOT_MEMBERS = 50, 72
_MEMBER_SSIZE, _READ_ONLY = 19, 1


class _Slot(ctypes.Structure):
    _fields_ = [("slot", ctypes.c_int), ("function", ctypes.c_void_p)]


class _Spec(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_char_p),
        ("basicsize", ctypes.c_int),
        ("itemsize", ctypes.c_int),
        ("flags", ctypes.c_uint),
        ("slots", ctypes.POINTER(_Slot)),
    ]


class _Member(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_char_p),
        ("type", ctypes.c_int),
        ("offset", ctypes.c_ssize_t),
        ("flags", ctypes.c_int),
        ("doc", ctypes.c_char_p),
    ]


def _address(function: object) -> int:
    return ctypes.cast(function, ctypes.c_void_p).value or 0  # type: ignore[arg-type]


_MEMBERS = (_Member * 2)(
    _Member(
        b"__vectorcalloffset__", _MEMBER_SSIZE, LAYOUT.vectorcall, _READ_ONLY, None
    ),
    _Member(None, 0, 0, 0, None),
)


def _native_base() -> type:
    """Return the type with a place for a ``vectorcallfunc`` after the object's head."""
    api = ctypes.pythonapi
    slots = (_Slot * 3)(
        _Slot(_SLOT_CALL, _address(api.PyVectorcall_Call)),
        _Slot(_SLOT_MEMBERS, ctypes.addressof(_MEMBERS)),
        _Slot(0, None),
    )
    flags = _DEFAULT | _BASE_TYPE | _HAVE_VECTORCALL
    size = LAYOUT.vectorcall + 8
    spec = _Spec(b"tracejit.NativeCallableBase", size, 0, flags, slots)
    make = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p)(
        ("PyType_FromSpec", api)
    )
    base: type = make(ctypes.addressof(spec))
    return base


_Base: type = object if why_not() else _native_base()


class NativeCallable(_Base):
    """Has a place for a ``vectorcallfunc``, where Python allows that, and its data."""

    __slots__ = ("_chain",)


def let_call(cls: type) -> None:
    """Let instances of `cls`, a subclass of `NativeCallable`, be called natively."""
    if why_not():
        return
    flags = ctypes.c_ulong.from_address(id(cls) + FLAGS_OFFSET)
    flags.value |= _HAVE_VECTORCALL | _METHOD_DESCRIPTOR
    ctypes.pythonapi.PyType_Modified(ctypes.py_object(cls))


def set_function(instance: NativeCallable, address: int) -> None:
    """Have calls of `instance` go to machine code, to ``__call__`` if it is 0."""
    ctypes.c_size_t.from_address(id(instance) + LAYOUT.vectorcall).value = address
