"""From a `CallPlan` to the list of steps of the native entry.

Needs the plan and what runs it. Establishes a `NativeCall` that gives, for the calls
that the plan describes, what the portable guard gives; a call that it is not sure of it
leaves to Python. What it cannot do at all it refuses with a reason (`Refusal`), and
such calls go on through the portable guard.
"""

import dataclasses
import inspect
from collections.abc import Callable
from functools import cache
from types import MemberDescriptorType

import numpy as np

from . import config
from .call_plan import CallPlan, Compared, Layout, Leaf
from .codegen.llvm.entry.match import APART_WORDS, SCALAR_WIDTHS, SPECIAL_RANKS
from .codegen.llvm.entry.module import CONFIG, OVERRIDES, SLOW, TRACING
from .compiled import Compiled
from .ir.dtypes import OF_ML_DTYPES
from .records import dataclass
from .runtime.cpu.arena import ALIGNMENT, aligned_empty
from .runtime.cpu.entry.machine import Machine
from .runtime.cpu.entry.steps import NativeCall, StepList
from .runtime.cpu.entry.support import SCALAR_BYTES
from .runtime.cpu.memory.pool import room_for
from .tracing.capture import AttributeOf, CellOf, Constant, Getter, ItemOf, LengthOf
from .tracing.record import OutputLeaf, ResultLeaf, StaticLeaf, ViewLeaf
from .tracing.signature import Given
from .tracing.storage import Kind
from .tracing.trace import COUNT
from .tracing.tree import TreeSpec, maker_of

_C_CONTIGUOUS, _ALIGNED, _WRITEABLE = 0x001, 0x100, 0x400
_COMPARED_BY_VALUE = (int, str, bytes)
_MANY = 32  # such leaves from which on they are hashed
# Results up to so many bytes lie in one array's memory if there are so many of them:
# memory for each takes as long as the rest of a call, but any one of them keeps it all.
_SMALL = 512
_PARTS_FROM = 16
_PART_ALIGNMENT = 16
_BYTE = np.dtype(np.uint8)
_PYTHON_RESULTS = {
    np.dtype(np.int64): "python_int",
    np.dtype(np.bool_): "python_bool",
    np.dtype(np.float64): "python_float",
    np.dtype(np.complex128): "python_complex",
}


@dataclass(frozen=True)
class _Find:
    """The step that looks a value up."""

    step: str
    words: tuple[int, ...]

    def emit(self, steps: StepList) -> None:
        """Append it."""
        steps.add(self.step, *self.words)


class Refusal(Exception):
    """Why calls of a plan go through Python."""


@cache
def machine_for(slow: Callable[..., object]) -> Machine:
    """Return the machine code of the entry, made once.

    Parameters
    ----------
    slow : callable
        ``(self, *args, **kwargs)``, for calls that fit no list.
    """
    variable, _ = config.overrides()
    return Machine(
        {
            TRACING: COUNT.buffer_info()[0],
            CONFIG: config.STATE.buffer_info()[0],
            OVERRIDES: id(variable),
            SLOW: id(slow),
        }
    )


def native_call(plan: CallPlan, compiled: Compiled, machine: Machine) -> NativeCall:
    """Return the native form of a plan.

    Raises
    ------
    Refusal
    """
    return _Assembler(plan, compiled, machine).assemble()


class _Assembler:
    """Writes the steps of one plan."""

    def __init__(self, plan: CallPlan, compiled: Compiled, machine: Machine) -> None:
        self.plan, self.compiled = plan, compiled
        self.executable = compiled.executable
        self.recording = compiled.recording
        self.results = self.executable.results
        self.steps = StepList(machine, plan.form.count, plan.form.names)
        self.steps.hold(compiled)
        self.steps.hold(plan)
        # The frame: what inputs and results lie at, pairs of words for scalars and for
        # containers, then objects that the call holds references to.
        self.unused = self.steps.place()
        self.pointers = self.steps.place(len(plan.feeds) + len(self.results))
        self.fed = {f.leaf: k for k, f in enumerate(plan.feeds) if f.leaf >= 0}
        self.captured = self.steps.place(len(plan.captures))
        pairs = sum(map(_containers, (plan.args, plan.kwargs)))
        pairs += len(plan.feeds) + len(self.results)
        self.pairs = iter([self.steps.place(2) for _ in range(pairs)])
        self.leaves, self.order = self._place_leaves()
        self.outputs = self.steps.place(len(self.results))
        self.next_leaf = 0
        self.has_containers = False

    def _place_leaves(self) -> tuple[int, dict[int, int]]:
        """Return the place of the first leaf, and the order in which they lie there.

        First come those that must be different objects, then the others.
        """
        plan = self.plan
        different = [i for i in plan.first_of_each if plan.leaves[i].kind is np.ndarray]
        self.different = len(different)
        others = [i for i in range(len(plan.leaves)) if i not in {*different}]
        first = self.steps.place(len(plan.leaves))
        return first, {i: k for k, i in enumerate([*different, *others])}

    def assemble(self) -> NativeCall:
        self._match()
        in_frame = self._scalar_outputs() if self._makes_results() else {}
        self._allocate(in_frame)
        release = "run" if self.executable.is_short else "run_released"
        raising = self.steps.hold(self.executable.raise_error)
        self.steps.add(release, self.executable.address, self.pointers, raising)
        result = self._return(in_frame) if self._makes_results() else self._finish()
        self.steps.add("end", result)
        held = self.leaves if self.has_containers else self.outputs
        self.steps.clean(held, self.steps.frame_bytes)
        return self.steps.finish(self.executable.arenas)

    # Is it this call?

    def _match(self) -> None:
        form, plan = self.plan.form, self.plan
        named = zip(form.kwargs.values(), plan.kwargs.children, strict=True)
        for source, spec in (*zip(form.args, plan.args.children, strict=True), *named):
            self._tree(spec, self._find_parameter(source))
        for k, (capture, layout) in enumerate(
            zip(plan.captures, plan.captured, strict=True)
        ):
            find = _Find("constant", (self.steps.hold(capture.array),))
            leaf = Leaf(type(capture.array), layout)
            at = self._pointer_of_capture(k)
            self._array(leaf, layout, self.captured + 8 * k, at, find)
        self._distinct()
        self._apart()
        if self.has_containers:
            self.steps.add("hold", self.leaves, len(plan.leaves))
        for capture in plan.captures:
            found = self._look_again(capture.getter)
            self.steps.add("still", found, self.steps.hold(capture.owner), 0)
        for constant in plan.constants:
            self._still(constant.value, self._look_again(constant.getter))

    def _find_parameter(self, source: object) -> _Find:
        if type(source) is Given:
            return _Find("arg", (source.index,))
        return _Find("constant", (self.steps.hold(source),))

    def _tree(self, spec: TreeSpec, find: _Find) -> None:
        """Check one argument or what is in it, which `find` looks up."""
        if spec.kind is None:
            self._leaf(self.next_leaf, find)
            self.next_leaf += 1
            return
        find.emit(self.steps)
        if spec.kind is type(None):
            self.steps.add("same", self.unused, id(None))
        else:
            self.has_containers = True
            self._container(spec, spec.kind)

    def _container(self, spec: TreeSpec, kind: type) -> None:
        steps = self.steps
        place, count = next(self.pairs), len(spec.children)
        if kind is dict:
            steps.add("dict", place, id(dict), count)
        elif issubclass(kind, list | tuple) and kind.__iter__ in _PLAIN_ITERATION:
            steps.add("sequence", place, steps.hold(kind), count)
        elif _has_plain_fields(kind):
            steps.add("kind", place, steps.hold(kind))
        else:
            raise Refusal(f"what is in a {kind.__name__} is found by Python code")
        for k, (key, child) in enumerate(zip(spec.keys, spec.children, strict=True)):
            self._tree(child, self._find_item(kind, place, k, key))

    def _find_item(self, kind: type, place: int, k: int, key: object) -> _Find:
        hold = self.steps.hold
        if kind is dict:
            compared = id(type(key)) if type(key) in _COMPARED_BY_VALUE else 0
            return _Find("dict_item", (place, hold(key), compared))
        if kind is list:
            return _Find("list_item", (place, k))
        if issubclass(kind, tuple):
            return _Find("tuple_item", (place, k))
        return _Find("attribute", (place, hold(key)))

    def _leaf(self, i: int, find: _Find) -> None:
        leaf, aliases = self.plan.leaves[i], self.plan.aliases
        place = self._place(i)
        if aliases and aliases[i] != i:
            find.emit(self.steps)
            self.steps.add("same_leaf", place, self._place(aliases[i]))
        elif leaf.layout is not None:
            at = self.unused if i not in self.fed else self._pointer(self.fed[i])
            self._array(leaf, leaf.layout, place, at, find)
        else:
            find.emit(self.steps)
            self._value(leaf, place)
            if i in self.fed:
                self._feed_value(leaf.kind, place, self.fed[i])

    def _place(self, leaf: int) -> int:
        """Return the place of an argument leaf."""
        return self.leaves + 8 * self.order[leaf]

    def _array(
        self, leaf: Leaf, layout: Layout, place: int, at: int, find: _Find
    ) -> None:
        flags = _ALIGNED | (_WRITEABLE if leaf.is_written else 0)
        objects = self.steps.hold(leaf.kind), self.steps.hold(layout.dtype)
        rank, shape = len(layout.shape), layout.shape
        if not layout.is_contiguous:
            find.emit(self.steps)
            both = (*shape, *layout.strides)
            self.steps.add("strided", place, at, *objects, flags, rank, *both)
            return
        flags |= _C_CONTIGUOUS
        words = (place, at, *objects, flags, rank, *shape)
        if rank not in SPECIAL_RANKS:
            find.emit(self.steps)
            self.steps.add("array", *words)
        elif find.step == "arg":
            self.steps.add(f"argument_{rank}", *find.words)
            self.steps.add("array", *words)
        else:
            find.emit(self.steps)
            self.steps.add(f"array_{rank}", *words)

    def _value(self, leaf: Leaf, place: int) -> None:
        """Check type and value of a leaf that is no array."""
        steps, kind, value = self.steps, leaf.kind, leaf.value
        if leaf.compared is Compared.NOT:
            steps.add("kind", place, steps.hold(kind))
        elif leaf.compared is Compared.EQUAL and kind in _COMPARED_BY_VALUE:
            steps.add("equal", place, steps.hold(kind), steps.hold(value))
        elif leaf.compared is Compared.ALIKE and kind in SCALAR_BYTES:
            bits = np.array(value)
            steps.hold(bits)
            steps.add("bits", place, steps.hold(kind), bits.ctypes.data, bits.nbytes)
        else:
            steps.add("same", place, steps.hold(value))

    def _feed_value(self, kind: type, place: int, number: int) -> None:
        """Copy the value of a leaf that is no array to where the program reads it."""
        dtype, width = self.plan.feeds[number].dtype, SCALAR_BYTES.get(kind)
        step = "int" if kind is int else f"scalar_{width}"
        known = kind is int or (width in SCALAR_WIDTHS and dtype == np.dtype(kind))
        if not known or (kind is int and dtype != np.int64):
            raise Refusal(f"a {kind.__name__} is passed as {dtype} by NumPy alone")
        slot = next(self.pairs)
        self.steps.pointers[self._pointer(number)] = slot
        self.steps.add(step, place, self.steps.hold(kind), slot)

    def _pointer(self, number: int) -> int:
        """Return the place of the address of an input, or of a result after them."""
        return self.pointers + 8 * number

    def _pointer_of_capture(self, k: int) -> int:
        numbers = [n for n, f in enumerate(self.plan.feeds) if f.capture == k]
        return self._pointer(numbers[0])

    def _still(self, value: object, place: int) -> None:
        """Check that a value is where it was, or an equal one of some types."""
        compared = id(type(value)) if type(value) in _COMPARED_BY_VALUE else 0
        self.steps.add("still", place, self.steps.hold(value), compared)

    def _look_again(self, getter: Getter) -> int:
        """Find what is where a captured array was; return its place."""
        steps = self.steps
        if isinstance(getter, Constant):
            place = steps.place()
            steps.add("object", steps.hold(getter.value), place)
        elif isinstance(getter, CellOf):
            place = steps.place()
            steps.add("get_cell", steps.hold(getter.cell), place)
        elif isinstance(getter, LengthOf):
            container, place = self._look_again(getter.getter), steps.place()
            steps.add("get_length", container, place)
        elif isinstance(getter, ItemOf):
            container, place = self._look_again(getter.getter), steps.place()
            steps.add("get_item", container, place, steps.hold(getter.key))
        elif isinstance(getter, AttributeOf):
            container, place = self._look_again(getter.getter), steps.place()
            steps.add("get_attribute", container, place, steps.hold(getter.name))
        else:
            raise Refusal("a captured array is found by Python code")
        return place

    def _distinct(self) -> None:
        if self.different > 1:
            many = self.different > _MANY
            step = "all_distinct" if many else "distinct"
            self.steps.add(step, self.leaves, self.different)

    def _apart(self) -> None:
        """Check that arrays that are written overlap no others."""
        plan = self.plan
        if not plan.written:
            return
        rows = []
        for i in plan.first_of_each:
            layout = plan.leaves[i].layout
            if layout is not None:
                rows.append((plan.leaves[i].is_written, self._place(i), layout))
        for k, layout in enumerate(plan.captured):
            rows.append((False, self.captured + 8 * k, layout))
        words = [
            word
            for is_written, place, layout in rows
            if layout.span[0] != layout.span[1]
            for word in (place, *layout.span, is_written, 0)
        ]
        self.steps.add("apart", len(words) // APART_WORDS, *words)

    # Results

    def _makes_results(self) -> bool:
        """Tell whether there are steps for all that the call returns."""
        makes_all = self.compiled.makes_results
        return makes_all and all(map(self._makes, self.recording.results))

    def _makes(self, leaf: ResultLeaf) -> bool:
        if isinstance(leaf, ViewLeaf | StaticLeaf) or leaf.kind is Kind.ARRAY:
            return True
        dtype = self.results[leaf.index].dtype
        if leaf.kind is Kind.PYTHON:
            return dtype in _PYTHON_RESULTS
        return dtype.kind in "biufc" and dtype not in OF_ML_DTYPES

    def _scalar_outputs(self) -> dict[int, int]:
        """Return the places of the outputs that become scalars: no array is needed."""
        return {
            leaf.index: next(self.pairs)
            for leaf in self.recording.results
            if isinstance(leaf, OutputLeaf) and leaf.kind is not Kind.ARRAY
        }

    def _allocate(self, in_frame: dict[int, int]) -> None:
        parts = self._parts(in_frame)
        for k, result in enumerate(self.results):
            at, shape = self._pointer(len(self.plan.feeds) + k), result.shape
            if k in in_frame:
                self.steps.pointers[at] = in_frame[k]
                continue
            head = (self.outputs + 8 * k, at, self.steps.hold(result.dtype), len(shape))
            if k in self.compiled.donors:
                self._take_memory(k, head, shape)
                continue
            nbytes = int(np.prod(shape)) * result.dtype.itemsize
            if k in parts:
                self.steps.add("new_part", *head, *parts[k], *shape)
            elif result.allocate is np.empty:
                self.steps.add("new", *head, *shape)
            elif result.allocate is aligned_empty:
                rest = (self.steps.hold(_BYTE), nbytes + ALIGNMENT)
                self.steps.add("new_aligned", *head, *shape, *rest)
            else:
                memory = self.steps.hold(self.executable.memory)
                size = self.steps.hold(room_for(nbytes))
                self.steps.add("new_pooled", *head, *shape, memory, size)
            if result.axes is not None:
                self.steps.add("turn", head[0], len(shape), *result.axes)

    def _take_memory(
        self, output: int, head: tuple[int, ...], shape: tuple[int, ...]
    ) -> None:
        """Have a result lie in the memory of an argument."""
        if output in dict(self.recording.writes).values():
            if not self._makes_results():
                self.steps.add("object", id(None), self.outputs + 8 * output)
            return
        memory = self._place(self.compiled.donors[output])
        self.steps.add("new_part", *head, memory, 0, *shape)

    def _parts(self, in_frame: dict[int, int]) -> dict[int, tuple[int, int]]:
        """Have many small results lie in the memory of one array.

        Returns
        -------
        dict of int to (int, int)
            Place of the array, and offset in its bytes, of each such result.
        """
        sizes = [int(np.prod(x.shape)) * x.dtype.itemsize for x in self.results]
        small = [
            k
            for k, n in enumerate(sizes)
            if k not in in_frame
            and k not in self.compiled.donors
            and n <= _SMALL
            and len(self.results[k].shape) > 0
        ]
        if len(small) < _PARTS_FROM:
            return {}
        place, parts, end = self.steps.place(), {}, 0
        for k in small:
            parts[k] = (place, end)
            end += -(-sizes[k] // _PART_ALIGNMENT) * _PART_ALIGNMENT
        self.steps.add("new", place, self.unused, self.steps.hold(_BYTE), 1, end)
        return parts

    def _return(self, in_frame: dict[int, int]) -> int:
        """Write back what was written, make the result and return its place."""
        for leaf, output in self.recording.writes:
            if output not in self.compiled.donors:
                self.steps.add("copy", self._place(leaf), self.outputs + 8 * output)
        place = self.steps.place()
        leaves = iter(self.recording.results)

        def make(spec: TreeSpec, to: int) -> None:
            if spec.kind is None:
                self._result(next(leaves), to, in_frame)
            elif spec.kind is type(None):
                self.steps.add("object", id(None), to)
            else:
                self._result_container(spec, to, make)

        make(self.recording.spec, place)
        return place

    def _result(self, leaf: ResultLeaf, to: int, in_frame: dict[int, int]) -> None:
        steps = self.steps
        if isinstance(leaf, StaticLeaf):
            steps.add("object", steps.hold(leaf.value), to)
        elif isinstance(leaf, ViewLeaf):
            is_argument = leaf.argument >= 0
            output = self.outputs + 8 * leaf.output
            source = self._place(leaf.argument) if is_argument else output
            if leaf.whole:
                steps.add("share", source, to)
            else:
                self._view(leaf, source, to)
        elif leaf.kind is Kind.ARRAY:
            steps.add("take", self.outputs + 8 * leaf.index, to)
        elif leaf.kind is Kind.PYTHON:
            dtype = self.results[leaf.index].dtype
            steps.add(_PYTHON_RESULTS[dtype], in_frame[leaf.index], to)
        else:
            dtype = steps.hold(self.results[leaf.index].dtype)
            steps.add("numpy_scalar", in_frame[leaf.index], to, dtype)

    def _view(self, leaf: ViewLeaf, source: int, to: int) -> None:
        flags = _WRITEABLE if leaf.writeable else 0
        rank, both = len(leaf.shape), (*leaf.shape, *leaf.strides)
        dtype = self.steps.hold(leaf.dtype)
        self.steps.add("view", source, to, dtype, flags, leaf.offset, rank, *both)

    def _result_container(
        self, spec: TreeSpec, to: int, make: Callable[[TreeSpec, int], None]
    ) -> None:
        assert spec.kind is not None
        hold, count = self.steps.hold, len(spec.children)
        first = self.steps.place(count)
        for k, child in enumerate(spec.children):
            make(child, first + 8 * k)
        if spec.kind is dict:
            keys = (dict.fromkeys(spec.keys), *spec.keys)
            self.steps.add("dict_of", count, first, to, *map(hold, keys))
        elif spec.kind in (list, tuple):
            self.steps.add(f"{spec.kind.__name__}_of", count, first, to)
        else:
            self.steps.add("made_by", count, first, to, hold(maker_of(spec)))

    def _finish(self) -> int:
        """Have Python make the result; return its place."""
        leaves = [(self._place(i), "share") for i in range(len(self.plan.leaves))]
        outs = [(self.outputs + 8 * k, "take") for k in range(len(self.results))]
        place, lists = self.steps.place(), [self.steps.place(), self.steps.place()]
        for to, sources in zip(lists, (leaves, outs), strict=True):
            first = self.steps.place(len(sources))
            for k, (source, step) in enumerate(sources):
                self.steps.add(step, source, first + 8 * k)
            self.steps.add("list_of", len(sources), first, to)
        self.steps.add("finish", self.steps.hold(self.compiled.finish), place, *lists)
        return place


_PLAIN_ITERATION = (list.__iter__, tuple.__iter__)


def _has_plain_fields(kind: type) -> bool:
    """Tell whether the fields of a dataclass are read without Python code."""
    if kind.__getattribute__ is not object.__getattribute__:
        return False
    if hasattr(kind, "__getattr__") or not dataclasses.is_dataclass(kind):
        return False
    found = [
        inspect.getattr_static(kind, f.name, None) for f in dataclasses.fields(kind)
    ]
    return all(
        isinstance(x, MemberDescriptorType) or not hasattr(type(x), "__get__")
        for x in found
    )


def _containers(spec: TreeSpec) -> int:
    """Return how many containers there are."""
    return (spec.kind is not None) + sum(map(_containers, spec.children))
