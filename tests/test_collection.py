"""The collector waits while something compiles, and no longer."""

import gc
import threading
from collections.abc import Iterator

import numpy as np
import pytest

import tracejit as tj
from tracejit.collection import paused


@pytest.fixture(autouse=True)
def enabled() -> Iterator[None]:
    gc.enable()
    yield
    gc.enable()


def test_it_waits_for_the_last_of_several() -> None:
    with paused():
        with paused():
            assert not gc.isenabled()
        assert not gc.isenabled()
    assert gc.isenabled()


def test_it_stays_off_where_it_was_off() -> None:
    gc.disable()
    with paused():
        pass
    assert not gc.isenabled()


def test_it_goes_on_after_an_error() -> None:
    with pytest.raises(ValueError, match="wrong"), paused():
        raise ValueError("wrong")
    assert gc.isenabled()


def test_it_waits_for_other_threads() -> None:
    inside, done = threading.Event(), threading.Event()

    def compile_long() -> None:
        with paused():
            inside.set()
            done.wait()

    thread = threading.Thread(target=compile_long)
    thread.start()
    inside.wait()
    with paused():
        pass
    assert not gc.isenabled()
    done.set()
    thread.join()
    assert gc.isenabled()


@pytest.mark.parametrize("first", [lambda f, x: f(x), lambda f, x: f.trace(x)])
def test_a_first_call_is_compiled_without_it(first) -> None:
    seen = []

    @tj.jit
    def f(x: np.ndarray) -> np.ndarray:
        seen.append(gc.isenabled())
        return x + 1

    first(f, np.ones(3))
    assert seen == [False]
    assert gc.isenabled()
