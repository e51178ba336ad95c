"""Machine code of traces on disk: what a process needs that did not compile it.

A trace names its code by what it says: the graph, the strides of its inputs, what its
results may be, the switches. Where that code is on disk (`runtime.cpu.kept`), a call
needs neither passes nor emitters nor LLVM. Whoever asks for more than calls (kernels,
text, the meaning of an error word) has the trace lowered and compiled as ever, to the
same code.

Not kept: what calls NumPy's loops or Python, whose addresses are another process's;
code with clocks, which notes in this process, or with names for perf; graphs that hold
objects of Python or primitives of the user's own.
"""

import time
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from . import config
from .codegen.llvm.sharing import JOB_SYMBOL, WAKE_SYMBOL
from .ir.dtypes import DTYPE_TO_NAME, NAME_TO_DTYPE
from .ir.graph import Graph
from .ir.primitive import HostObject
from .runtime.cpu import kept
from .runtime.cpu.arena import aligned_empty
from .runtime.cpu.image import Image, LoadedImage
from .runtime.cpu.native import Interface, NativeProgram
from .runtime.cpu.threads import pool_symbols, usable_cores
from .tracing.primitives import is_users
from .tracing.record import OutputLeaf, Recording, ViewLeaf

if TYPE_CHECKING:
    from .runtime.cpu.executable import CpuExecutable

Strides: TypeAlias = tuple[tuple[int, ...] | None, ...]
_MOST_CONSTANT_BYTES = 1 << 24


class StoredProgram(NativeProgram):
    """A Program whose machine code was found on disk.

    Parameters
    ----------
    interface : Interface
    image : Image
    constants : mapping of str to numpy.ndarray
        By symbol.
    compiled : callable
        Gives the executable with all that is not on disk.

    Attributes
    ----------
    timings : mapping of str to float
        Seconds for ``find``: reading and loading.
    """

    def __init__(
        self,
        interface: Interface,
        image: Image,
        constants: Mapping[str, np.ndarray],
        compiled: "Callable[[], CpuExecutable]",
    ) -> None:
        imports = {symbol: x.ctypes.data for symbol, x in constants.items()}
        if needs_pool(image):
            imports.update(pool_symbols())
        super().__init__(interface, LoadedImage(image, imports))
        self._constants = constants  # alive as long as the code
        self._compiled = compiled
        self.timings: Mapping[str, float] = {}

    def _error(self, word: int, arena: int) -> BaseException:
        return self._compiled().error_of(word, arena)

    def memory_error(self) -> MemoryError:
        """Return the exception for a call that gets no memory."""
        return self._compiled().memory_error()

    def as_text(self) -> str:
        """Return the LLVM module, written anew."""
        return self._compiled().as_text()

    @property
    def kernels(self) -> Mapping[str, str]:
        """LLVM text of each kernel, by name, written anew."""
        return self._compiled().kernels


def needs_pool(image: Image) -> bool:
    """Tell whether code shares work with threads."""
    return bool(_own_imports(image))


def _own_imports(image: Image) -> set[str]:
    """Return what code imports of this package."""
    return {name for name in image.imports if name.startswith("tracejit_")}


def source_of(
    recording: Recording, strides: Strides, donated: Collection[int] = ()
) -> str | None:
    """Return what a trace's code depends on, as text; None if it cannot be said.

    Parameters
    ----------
    recording : Recording
    strides : tuple
        Element strides of each input.
    donated : collection of int
        Argument leaves that calls give away.
    """
    graph = recording.graph
    if not kept.is_on() or _is_looked_into() or not _is_plain(graph):
        return None
    feeds = [x if isinstance(x, int) else "captured" for x in recording.inputs]
    results = [
        r if isinstance(r, OutputLeaf | ViewLeaf) else "static"
        for r in recording.results
    ]
    found = (
        graph.key,
        strides,
        feeds,
        recording.writes,
        results,
        sorted(recording.orders.items()),
        sorted(donated),
        config.cache_key(),
        usable_cores(),
    )
    return repr(found)


def _is_looked_into() -> bool:
    """Tell whether a switch asks for what compiling alone gives."""
    asked = any(map(config.get, ("log", "profile", "perf_map", "dump")))
    return asked or config.get("validate") != "off"


def _is_plain(graph: Graph) -> bool:
    """Tell whether a graph's key says all there is to know of it."""
    return all(
        not is_users(eqn.primitive.name)
        and (not eqn.params or all(map(_is_plain_param, eqn.params.values())))
        for eqn in graph.eqns
    )


def _is_plain_param(value: object) -> bool:
    if isinstance(value, tuple):
        return all(map(_is_plain_param, value))
    if isinstance(value, Graph):
        return _is_plain(value)
    return not isinstance(value, HostObject)


def find(source: str, compiled: "Callable[[], CpuExecutable]") -> StoredProgram | None:
    """Return the program that was kept for a source, if there is one.

    Parameters
    ----------
    source : str
    compiled : callable
        As `StoredProgram` takes it.
    """
    start = time.perf_counter()
    found = kept.find(source)
    if found is None:
        return None
    image, about, data = found
    constants = {
        symbol: _array(NAME_TO_DTYPE[name], tuple(shape), data[symbol])
        for symbol, (name, shape) in about["constants"].items()
    }
    program = StoredProgram(_interface_from(about), image, constants, compiled)
    program.timings = {"find": time.perf_counter() - start}
    return program


def keep(source: str, executable: "CpuExecutable") -> None:
    """Keep a program's code, where another process can use it."""
    image, code = executable.image, executable.code
    constants = code.constants
    size = sum(x.nbytes for x in constants.values())
    if image is None or size > _MOST_CONSTANT_BYTES:
        return
    known = {*constants, JOB_SYMBOL, WAKE_SYMBOL}
    if not {*code.imports, *_own_imports(image)} <= known:
        return
    about = _interface_data(executable.interface)
    about["constants"] = {
        symbol: [DTYPE_TO_NAME[x.dtype], list(x.shape)]
        for symbol, x in constants.items()
    }
    data = {symbol: x.tobytes() for symbol, x in constants.items()}
    kept.keep(source, image, about, data)


def _array(dtype: np.dtype, shape: tuple[int, ...], content: bytes) -> np.ndarray:
    """Return an array of some bytes, aligned as code expects constants."""
    out = aligned_empty(shape, dtype)
    out[...] = np.frombuffer(content, dtype).reshape(shape)
    return out


def _interface_data(interface: Interface) -> dict[str, Any]:
    """Return an interface as what JSON can hold."""
    return {
        "name": interface.name,
        "symbol": interface.symbol,
        "inputs": [[DTYPE_TO_NAME[d], n, s] for d, n, s in interface.inputs],
        "outputs": [[DTYPE_TO_NAME[d], n, s] for d, n, s in interface.outputs],
        "donors": [*interface.donors.items()],
        "arena_bytes": interface.arena_bytes,
        "error_offset": interface.error_offset,
        "is_short": interface.is_short,
    }


def _interface_from(about: Mapping[str, Any]) -> Interface:
    """Return the interface of such data."""
    return Interface(
        about["name"],
        about["symbol"],
        tuple((NAME_TO_DTYPE[d], tuple(n), tuple(s)) for d, n, s in about["inputs"]),
        tuple((NAME_TO_DTYPE[d], tuple(n), tuple(s)) for d, n, s in about["outputs"]),
        dict(about["donors"]),
        about["arena_bytes"],
        about["error_offset"],
        about["is_short"],
    )
