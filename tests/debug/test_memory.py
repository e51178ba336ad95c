"""The memory of Programs: predicted before they run, and what calls really take."""

import json
import tracemalloc

import numpy as np
import pytest

import tracejit as tj
from tracejit.debug import memory
from tracejit.program.memory import KINDS
from tracejit.program.program import Storage

from ..models.test_sequences import lstm_arguments, lstm_loss
from ..models.test_transformer import block

RNG = np.random.default_rng(3)


def normal(*shape):
    return RNG.normal(size=shape).astype(np.float32)


def sorted_rows(x):
    return np.sort(x, axis=1) @ x.T


def losses(x):
    def turn(carry, row):
        carry = np.tanh(carry * 0.5 + row)
        return carry, carry * 2

    return tj.scan(turn, x[0], x)[1].sum()


def block_loss(params, x):
    return (block(params, x) ** 2).sum()


def block_arguments():
    def linear(rows, columns):
        return {"w": normal(rows, columns) / 8, "b": normal(columns)}

    def norm():
        return {"scale": normal(64), "shift": normal(64)}

    params = {
        "norm1": norm(),
        "norm2": norm(),
        "qkv": linear(64, 3 * 64),
        "out": linear(64, 64),
        "up": linear(64, 256),
        "down": linear(256, 64),
    }
    return params, normal(4, 128, 64)


CASES = {
    "elementwise": (lambda x: np.exp(x) + 1, lambda: (normal(300, 400),)),
    "product": (lambda x, w: np.tanh(x @ w), lambda: (normal(256, 256),) * 2),
    "sort": (sorted_rows, lambda: (normal(300, 300),)),
    "sum": (lambda x: x.sum(), lambda: (normal(500, 500),)),
    "gradient of a loop": (tj.grad(losses), lambda: (normal(60, 500),)),
    "linear algebra": (np.linalg.inv, lambda: (np.eye(128) + RNG.random((128, 128)),)),
    "lstm": (tj.value_and_grad(lstm_loss), lstm_arguments),
    "transformer": (tj.value_and_grad(block_loss), block_arguments),
}


def scratch_of_library(name, args):
    """Return the bytes that NumPy takes beside its result, which 2.5 counts."""
    if name != "linear algebra":
        return 0
    tracemalloc.start()
    try:
        result = np.linalg.inv(*args)
        tracemalloc.reset_peak()
        before, _ = tracemalloc.get_traced_memory()
        np.linalg.inv(*args)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return peak - before - result.nbytes


@pytest.mark.parametrize("name", CASES)
def test_the_predicted_peak_is_what_a_call_takes(name):
    function, make = CASES[name]
    args = make()
    compiled = tj.jit(function).compile(*args)
    predicted = memory.timeline(compiled.executable.program)
    leaves, _ = tj.tracing.tree.flatten((args, {}))
    compiled(leaves)  # what is made once is made now
    # Other threads, such as one that brings a worker its tests, can only add to it.
    taken = min(memory.measured(compiled, leaves) for _ in range(3))
    taken -= scratch_of_library(name, args)
    # besides: objects of Python, and pages that are not full
    assert abs(taken - predicted.allocated) < 0.05 * predicted.allocated + 12_000


def test_prediction_is_of_the_code_that_runs():
    compiled = tj.jit(sorted_rows).compile(normal(64, 64))
    executable = compiled.executable
    from_code = memory.timeline(executable.program, executable.code)
    assert memory.timeline(executable.program) == from_code
    assert from_code.arena_bytes == executable.arenas.nbytes


def test_buffers_live_from_their_first_to_their_last_use():
    def three(x):
        a = np.sort(x, axis=1)
        b = np.sort(a + 1, axis=0)
        return b @ b

    x = normal(64, 64)
    found = memory.timeline(tj.jit(three).compile(x).executable.program)
    inside = [b for b in found.buffers if b.kind == "arena"]
    assert all(b.bytes == x.nbytes for b in inside)
    for number, moment in enumerate(found.moments):
        live = [b for b in found.buffers if b.first <= number <= b.last]
        assert moment.live == sum(b.bytes for b in live)
        assert found.live_at(number)[0].bytes == max(b.bytes for b in live)
    assert found.peak == found.input_bytes + found.allocated
    assert found.output_bytes == found.input_bytes == x.nbytes


def test_largest_buffers_are_shown_with_the_lines_that_make_them():
    def two(x):
        y = np.sort(np.concatenate([x, x]), axis=0)
        return y.sum()

    found = memory.timeline(tj.jit(two).compile(normal(64, 64)).executable.program)
    largest = found.top(1)[0]
    first = two.__code__.co_firstlineno
    assert largest.sources == (f"test_memory.py:{first + 1}",)
    assert largest.bytes == 2 * 64 * 64 * 4
    text = found.as_text()
    assert "memory: peak" in text
    assert f"test_memory.py:{first + 1}" in text


def test_results_in_donated_arguments_take_no_memory():
    def step(x):
        return x * 2

    args = (np.ones((100, 100)),)
    kept = tj.jit(step).compile(*args).executable
    given = tj.jit(step, donate_argnums=0).compile(*args).executable
    assert memory.timeline(kept.program).output_bytes == args[0].nbytes
    assert memory.timeline(given.program).output_bytes == 0


def test_documents_are_json():
    found = memory.timeline(
        tj.jit(sorted_rows).compile(normal(8, 8)).executable.program
    )
    document = json.loads(json.dumps(found.as_json()))
    assert document["peak"] == found.peak
    assert {m["number"] for m in document["moments"]} == {*range(len(found.moments))}
    kinds = {b["kind"] for b in document["buffers"]}
    assert kinds <= {"input", "output", "arena", "constant"}


def test_every_storage_has_a_kind():
    owners = {*Storage} - {Storage.ALIAS}
    assert set(KINDS) == owners
