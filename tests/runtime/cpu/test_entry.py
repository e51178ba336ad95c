"""The fields that the native entry reads, and the type that it is called by."""

import dataclasses
import gc

import numpy as np
import pytest

from tracejit.codegen.llvm.entry.layout import Layout
from tracejit.codegen.llvm.entry.module import STEPS, emit_entry
from tracejit.codegen.llvm.target import host_target
from tracejit.runtime.cpu.engine import parse_module
from tracejit.runtime.cpu.entry import support
from tracejit.runtime.cpu.entry.callable import NativeCallable, let_call

FIELDS = [
    field.name
    for field in dataclasses.fields(Layout)
    if field.name not in ("vectorcall", "chain")
]


def test_this_process_can_have_entries():
    assert support.why_not.__wrapped__() == ""


@pytest.mark.parametrize("field", FIELDS)
def test_another_layout_is_noticed(monkeypatch, field):
    other = {field: getattr(support.LAYOUT, field) + 8}
    monkeypatch.setattr(support, "LAYOUT", dataclasses.replace(support.LAYOUT, **other))
    assert "have another layout" in support.why_not.__wrapped__()


def test_instances_without_a_function_go_to_python():
    class Called(NativeCallable):
        def __call__(self, x, *, y=1):
            return x + y

    let_call(Called)
    called = Called()
    assert called(2) == 3
    assert called(2, y=5) == 7
    assert list(map(called, [1, 2])) == [2, 3]
    with pytest.raises(TypeError, match="positional"):
        called()


def test_chain_is_where_machine_code_reads_it():
    class Called(NativeCallable):
        pass

    called = Called()
    called._chain = (np.zeros(3),)
    at = id(called) + support.LAYOUT.chain
    assert support.word_at(at) == id(called._chain)
    called.self = called
    del called
    gc.collect()


def test_module_is_valid_and_has_every_step():
    code = emit_entry(host_target("baseline"), Layout())
    module = parse_module(code.text)
    names = {function.name for function in module.functions}
    assert {f"step.{name}" for name in STEPS} <= names
    assert {"PyObject_Vectorcall", "Py_IncRef", "Py_DecRef"} <= {*code.functions}
