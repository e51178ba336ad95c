"""A compiled Program for a CUDA device.

Building it compiles and loads the kernels, writes constants to the device, and emits
the native function that launches everything. A call allocates results and an arena,
hands their addresses to that function and returns: the device works on. Its arena and
whatever the caller lets go of may be used again at once, as all work is on one stream.
"""

import contextlib
import time
import warnings
from collections.abc import Collection, Mapping, Sequence

import numpy as np

from ... import config
from ...codegen.error_word import (
    CODE_SHIFT,
    HOST_ERROR,
    LIBRARY_ERROR,
    LINALG_ERROR,
    STEP_SHIFT,
)
from ...codegen.llvm.host import HOST_SYMBOL, MAIN_SYMBOL
from ...codegen.llvm.launch import (
    DRIVER_SYMBOLS,
    REGION_SYMBOL,
    LaunchCode,
    Launches,
    emit_launches,
    odd_buffers,
)
from ...codegen.llvm.target import host_target
from ...codegen.triton.code import TritonKernel
from ...codegen.triton.emit import NOTHING, emit_kernel, sites_of
from ...codegen.triton.externs import step_kernel
from ...errors import DeviceError, HostFallbackWarning
from ...ir.ops.callback import callback_p, check_p
from ...kernels.kernel import Kernel
from ...kernels.schedule import Schedule
from ...program.program import Extern, Program, ProgramBuffer, Run, nested
from ..cpu.call import NativeFunction
from ..cpu.engine import engine_for
from ..failures import index_error, linalg_error
from .conditions import Conditions
from .cublaslt import library_kernel
from .device import Device, aligned_pointers
from .externs import DeviceCalls
from .graphs import Graphs
from .linalg import library_step
from .loading import loaded
from .shadow import shadow_in, size_of
from .tuner import tuner_of

_RECORDED = range(2, 10_000)  # launches that are worth recording
_ERRORS = "errors"


class CudaExecutable:
    """A Program, compiled for one device.

    Parameters
    ----------
    program : Program
        With its arena planned.
    device : Device

    Attributes
    ----------
    timings : dict of str to float
        Seconds for each stage of building: ``emit``, ``build``, ``link``.
    sources : dict of str to TritonKernel
        What each kernel of the IR became.
    """

    def __init__(self, program: Program, device: Device) -> None:
        self.program, self.device = program, device
        self.sources: dict[str, TritonKernel] = {}
        self._called: dict[str, Launches] = {}  # kernels that a library computes
        device.enter()
        start = time.perf_counter()
        self._prepare()
        target = host_target("auto")
        code = emit_launches(program, target, self._load, self._load_extern, _ERRORS)
        emitted = time.perf_counter()
        engine = engine_for(target)
        image = engine.compile(code.text)
        built = time.perf_counter()
        self._code = code
        self._host = DeviceCalls(code.steps, program.by_name, device)
        self._words = device.host_words(2 * len(code.error_words))
        self._constants = {
            symbol: device.upload(data, f"constant of {program.name}")
            for symbol, data in code.constants.items()
        }
        device.settle([x.address for x in self._constants.values()])
        library = engine.load(image, self._imports(code))
        address = library.address(MAIN_SYMBOL)
        self._function = NativeFunction(address, argtypes=(), owner=library)
        self.timings = {
            "emit": emitted - start,
            "build": built - emitted,
            "link": time.perf_counter() - built,
        }
        self._graphs = self._recordings()
        self._outputs = _labelled_outputs(program)
        self._donors = program.donors
        self._tail = device.stream, device.context
        has_state = any(x.select for x in code.libraries)
        libraries = device.libraries if has_state else None
        self._turn = libraries.lock if libraries else contextlib.nullcontext()

    @property
    def donors(self) -> Mapping[int, int]:
        """The results in the memory of an input: result to input."""
        return self._donors

    def _recordings(self) -> Graphs | None:
        """Return what records and replays the program; None if that cannot be."""
        code, device = self._code, self.device
        is_alone = all(x.is_recorded for x in code.libraries) and not code.needs_host
        if code.launches not in _RECORDED or not is_alone:
            return None
        if not code.needs_bytes:
            return Graphs(device, self._function)
        if not device.driver.has_conditions:
            return None
        return Graphs(device, self._function, self._recorder)

    def _recorder(self) -> NativeFunction:
        """Return the function to be recorded, with its tests as parts of the graph."""
        target, conditions = host_target("auto"), Conditions(self.device)
        code = emit_launches(
            self.program, target, self._load, self._load_extern, _ERRORS, True
        )
        assert code.constants.keys() == self._constants.keys()
        engine = engine_for(target)
        imports = self._imports(code) | {REGION_SYMBOL: conditions.address}
        library = engine.load(engine.compile(code.text), imports)
        address = library.address(MAIN_SYMBOL)
        return NativeFunction(address, argtypes=(), owner=(library, conditions))

    def _imports(self, code: LaunchCode) -> dict[str, int]:
        driver = self.device.driver
        imports = {name: driver.addresses[name] for name in DRIVER_SYMBOLS}
        imports |= code.functions
        imports |= {name: x.address for name, x in self._constants.items()}
        imports[_ERRORS] = self._words.address
        imports[HOST_SYMBOL] = self._host.address
        return imports

    def _prepare(self) -> None:
        """Have all kernels of the program built, several at a time."""
        wanted, odd = [], odd_buffers(self.program)
        for step in nested(self.program.steps):
            if isinstance(step, Run) and step.kernel.name not in self.sources:
                names = odd[step.kernel.name]
                source = self._emitted(step.kernel, step.schedule, names)
                codes = () if source is None else source.codes
                wanted += [(c, aligned_pointers(c, names)) for c in codes]
        self.device.prepare(wanted)

    def _load(
        self, kernel: Kernel, schedule: Schedule, odd: Collection[str]
    ) -> Launches:
        source = self.sources.get(kernel.name)
        if source is None and kernel.name not in self._called:
            source = self._emitted(kernel, schedule, odd)
        if source is None:
            return self._called[kernel.name]
        return loaded(self.device, source, odd)

    def _emitted(
        self, kernel: Kernel, schedule: Schedule, odd: Collection[str]
    ) -> TritonKernel | None:
        """Return what a kernel becomes here; None if a library computes it."""
        tuning, tuner = self.device.tuning, tuner_of(self.device)
        choices = NOTHING
        if tuner.is_asked:
            sites = sites_of(kernel, schedule, tuning, odd)
            choices = tuner.choices(sites)
            called = library_kernel(self.device, sites, choices)
            if called is not None:
                self._called[kernel.name] = called
                return None
        source = emit_kernel(kernel, schedule, tuning, choices, odd)
        self.sources[kernel.name] = source
        return source

    def _load_extern(self, step: Extern) -> Launches | None:
        """Build and load what computes a step; say so if the host does."""
        if step.primitive in (callback_p, check_p):
            return None
        source = step_kernel(self.program, step, config.get("deterministic"))
        if source is None:
            calls = library_step(self.device, self.program, step)
            if calls is None:
                _warn_of_host(self.program, step)
            return calls
        self.sources[f"{source.name}.{len(self.sources)}"] = source
        names = [b.name for code in source.codes for b in code.buffers]
        own = {b.name for b in source.workspace}
        return loaded(self.device, source, [n for n in names if n not in own])

    @property
    def kernels(self) -> Mapping[str, str]:
        """Triton text of each kernel, by name."""
        return {
            code.name: code.source for k in self.sources.values() for code in k.codes
        }

    def as_text(self) -> str:
        """Return the LLVM module that launches the kernels."""
        return self._code.text

    def run_at(self, addresses: Sequence[int]) -> list[np.ndarray | None]:
        """Ask the device to run the program once.

        Parameters
        ----------
        addresses : sequence of int
            Of the first element of each input on the device.

        Returns
        -------
        list of numpy.ndarray
            Shadows of the results: C-contiguous, and there once the device is done.
            None for those in the memory of an input.

        Raises
        ------
        DeviceError
            If a launch fails.
        DeviceMemoryError
            If there is no room for results and temporaries.
        """
        device = self.device
        outputs = [
            None
            if k in self._donors
            else device.pool.allocate(size_of(shape, dtype), label)
            for k, (shape, dtype, label) in enumerate(self._outputs)
        ]
        arena = device.pool.allocate(
            self._code.arena_bytes, f"temporaries of {self.program.name}"
        )
        places = [0 if x is None else x.address for x in outputs]
        everything = (*addresses, *places, arena.address)
        device.settle(addresses)
        with self._turn:
            if self._graphs is not None:
                word = self._graphs.run(everything)
            else:
                word = self._function.at([*everything, *self._tail]) or 0
        mark = device.marks.make()
        for output in filter(None, outputs):
            output.mark = mark
        if self._code.error_words:
            device.watch(self, mark)
        if word:
            raise self._error(word)
        shadows = zip(outputs, self._outputs, strict=True)
        return [
            None if x is None else shadow_in(device, x, shape, dtype)
            for x, (shape, dtype, _) in shadows
        ]

    def check(self) -> None:
        """Raise what a kernel has found since the last check; the device is done.

        Raises
        ------
        IndexRangeError
        numpy.linalg.LinAlgError
            For a matrix that is singular or not positive definite.
        """
        words = self._words.values.reshape(-1, 2)
        for k in np.flatnonzero(words[:, 0]):
            word, index = (int(x) for x in words[k])
            words[...] = 0
            step = self._code.steps[self._code.error_words[k]]
            if word & 0xFF == LINALG_ERROR:
                raise linalg_error(step)
            raise index_error(self.program, step, word, index)

    def _error(self, word: int) -> BaseException:
        step = self._code.steps[(word >> STEP_SHIFT) & 0xFFFFFF]
        if word & 0xFF == HOST_ERROR:
            return self._host.take_error()
        code = (word >> CODE_SHIFT) & 0xFFFFFFFF
        if word & 0xFF == LIBRARY_ERROR:
            what = step.primitive.name if isinstance(step, Extern) else "product"
            failed = f"the library's {what} failed with status {code}"
            error = DeviceError(failed, code=code)
        else:
            error = self.device.driver.error("running a kernel", code)
        error.source = ", ".join(step.source) or None
        return error


def _labelled_outputs(
    program: Program,
) -> list[tuple[tuple[int, ...], np.dtype, str]]:
    """Return shape and dtype of each result, and what it is called in errors."""
    lines = {
        name: step.source
        for step in nested(program.steps)
        for name in getattr(step, "outputs", ())
    }
    out = []
    for k, name in enumerate(program.outputs):
        buffer: ProgramBuffer = program.by_name[name]
        where = f" at {lines[name][0]}" if lines.get(name) else ""
        label = f"result {k} of {program.name}{where}"
        out.append((buffer.shape, buffer.dtype, label))
    return out


def _warn_of_host(program: Program, step: Extern) -> None:
    """Say that the host computes a step."""
    line = f"\n  at {step.source[0]}" if step.source else ""
    warnings.warn(
        f"{step.primitive.name} in {program.name} runs on the host: its operands are "
        f"copied there, and its results back{line}",
        HostFallbackWarning,
        stacklevel=2,
    )
