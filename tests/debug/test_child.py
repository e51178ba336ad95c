"""`debug.child`: what crashes, hangs or raises in a child does not do so here."""

import os
import signal
import sys
import time

import numpy as np
import pytest

from tracejit.debug import child
from tracejit.debug.child import outcomes_of_code, values_of_child
from tracejit.debug.culprit import said
from tracejit.debug.limits import ProcessDied, time_limit
from tracejit.errors import InternalError, ShapeError


def in_child(run):
    (value,) = values_of_child(lambda send: send(run()))
    return value


def test_what_a_function_returns_comes_back():
    [x, text] = in_child(lambda: [np.arange(3), f"of {os.getpid()}"])
    np.testing.assert_array_equal(x, [0, 1, 2])
    assert text != f"of {os.getpid()}"
    assert list(values_of_child(lambda send: [send(k) for k in range(4)])) == [
        *range(4)
    ]


def test_what_it_raises_is_raised_with_its_place():
    def refuse():
        raise ShapeError("too wide", source="a.py:3", hint="transpose")

    with pytest.raises(ShapeError) as raised:
        in_child(refuse)
    assert (raised.value.source, raised.value.hint) == ("a.py:3", "transpose")
    assert f"ShapeError: too wide ({__file__}:" in said(raised.value)


def test_errors_that_cannot_be_sent_are_told():
    class LocalError(Exception):
        pass

    def refuse():
        raise LocalError("of here alone")

    with pytest.raises(InternalError, match="LocalError: of here alone"):
        in_child(refuse)


def test_signals_and_exits_are_named():
    with pytest.raises(ProcessDied, match="SIGSEGV, segmentation fault") as raised:
        in_child(lambda: os.kill(os.getpid(), signal.SIGSEGV))
    assert raised.value.how == "SIGSEGV"
    with pytest.raises(ProcessDied, match="with exit code 7") as raised:
        in_child(lambda: os._exit(7))
    assert raised.value.how == "exit"


def test_code_that_hangs_is_killed():
    def wait(send):
        send(os.getpid())
        with time_limit(60.0):
            send("in time")
        with time_limit(0.2):
            while True:
                time.sleep(1)

    values = values_of_child(wait, seconds=0.2)
    number = next(values)
    assert next(values) == "in time"
    with pytest.raises(ProcessDied, match=r"not ended after 0\.2 s") as raised:
        next(values)
    assert raised.value.how == "hang"
    with pytest.raises(ProcessLookupError):
        os.kill(number, 0)


def test_a_child_that_hangs_elsewhere_is_killed(monkeypatch):
    monkeypatch.setattr(child, "BUILDING", 0.5)
    with pytest.raises(ProcessDied, match=r"not ended after 0\.5 s"):
        next(values_of_child(lambda send: time.sleep(600), seconds=1.0))


def test_values_nobody_asks_for_are_not_waited_for():
    def wait(send):
        send(os.getpid())
        time.sleep(600)

    values = values_of_child(wait)
    number = next(values)
    values.close()
    with pytest.raises(ProcessLookupError):
        os.kill(number, 0)


def test_what_a_child_prints_is_printed_once(capfd):
    print("before")
    in_child(lambda: print("inside"))
    print("after")
    sys.stdout.flush()
    assert capfd.readouterr().out.split() == ["before", "inside", "after"]


def test_outcomes_of_code_are_results_or_what_the_data_raise():
    def build():
        return lambda inputs: [1 // inputs[0]]

    one, other = outcomes_of_code(build, [[np.int64(1)], [0]])
    assert one == (1,)
    assert isinstance(other, ZeroDivisionError)
