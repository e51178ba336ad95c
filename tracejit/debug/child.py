"""Code in a child process: where it crashes or hangs, this process goes on.

Needs a function, and `fork`, so that it may hold anything; where the system has none it
runs in this process. Establishes `values_of_child`, which yields what the function
sends, and `outcomes_of_code`: what code gives that is built there. `ProcessDied` says
what became of a child that did not come to its end.

What the child does to objects is lost, what it prints is not.
"""

import faulthandler
import os
import pickle
import signal
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from multiprocessing.connection import Connection, Pipe
from typing import Any, NoReturn, TypeAlias, TypeVar

from ..errors import InternalError
from ..ir.primitive import Array
from .checks import Inputs
from .contract import Outcome, outcome_of
from .culprit import place_of, said
from .limits import SECONDS, ProcessDied, late, time_limit

T = TypeVar("T")
Send: TypeAlias = Callable[[object], None]
Code: TypeAlias = Callable[[Inputs], Sequence[Array]]
BUILDING = 30.0  # how much longer all else may take: compiling, interpreting


def outcomes_of_code(
    build: Callable[[], Code], given: Iterable[Inputs], seconds: float = SECONDS
) -> Iterator[Outcome]:
    """Build code in a process of its own, and yield what it gives.

    Parameters
    ----------
    build : callable
        Returns the code: a function of a sequence of arrays that returns arrays.
    given : iterable of sequences of numpy.ndarray
        What to call it with.
    seconds : float
        That a call may take.

    Raises
    ------
    ProcessDied, or what building raises
    """

    def run(send: Send) -> None:
        code = build()
        for inputs in given:
            with time_limit(seconds):
                outcome = outcome_of(partial(code, inputs))
            send(outcome)

    return values_of_child(run, seconds)


def values_of_child(
    run: Callable[[Send], None], seconds: float = SECONDS
) -> Iterator[Any]:
    """Yield what a function sends from a process of its own.

    Parameters
    ----------
    run : callable
        Takes a function that sends a value, which is pickled. It runs code under
        `time_limit`.
    seconds : float
        The limit there. All else that it does before it sends a value may take
        `BUILDING` times as long; then the child is taken to hang, and killed.

    Raises
    ------
    ProcessDied
        If the child ends before the function does, or does not end.
    Exception
        What the function raises.

    Examples
    --------
    >>> list(values_of_child(lambda send: send(6 * 7)))
    [42]
    """
    if not hasattr(os, "fork"):
        sent: list[object] = []
        run(sent.append)
        yield from sent
        return
    reader, writer = Pipe(duplex=False)
    child = _fork()
    if not child:
        _serve(run, writer)
    writer.close()
    is_dead = False
    try:
        yield from _received(reader, BUILDING * seconds)
    except EOFError:
        is_dead = True
    finally:
        reader.close()
        status = _end(child)
    if is_dead:
        raise _died(status, seconds)


def _fork() -> int:
    sys.stdout.flush()  # or the child would write it, too
    sys.stderr.flush()
    with warnings.catch_warnings():
        # Of threads that may hold locks: those of the compiler do not, here.
        warnings.simplefilter("ignore")
        return os.fork()


# --- in the child -----------------------------------------------------------------


def _serve(run: Callable[[Send], None], writer: Connection) -> NoReturn:
    """Send values and, at the end, nothing or an error; never return."""
    code = 1
    try:
        faulthandler.disable()
        for number in (signal.SIGINT, signal.SIGALRM):
            signal.signal(number, signal.SIG_DFL)
        writer.send((False, _error_of(run, writer)))
        code = 0
    finally:
        os._exit(code)


def _error_of(run: Callable[[Send], None], writer: Connection) -> Exception | None:
    """Run a function that sends values, and return what it raises."""
    try:
        run(lambda value: writer.send((True, value)))
        return None
    except Exception as error:  # whatever the function may raise
        return _picklable(error)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


def _picklable(error: Exception) -> Exception:
    """Return an error that can be sent, with the place that `said` tells."""
    error.raised_at = place_of(error)  # type: ignore[attr-defined]
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # whatever classes of others may raise
        return InternalError(said(error))
    return error


# --- in the parent ----------------------------------------------------------------


def _received(reader: Connection, seconds: float) -> Iterator[Any]:
    """Yield the values of a child, and raise what it raised."""
    while reader.poll(seconds):
        is_value, sent = reader.recv()
        if is_value:
            yield sent
        elif sent is not None:
            raise sent
        else:
            return
    raise late(seconds)


def _end(child: int) -> int:
    """Kill a child, unless it has ended, and return its status."""
    try:
        os.kill(child, signal.SIGKILL)
        return os.waitpid(child, 0)[1]
    except (ProcessLookupError, ChildProcessError):  # where SIGCHLD is ignored
        return 0


def _died(status: int, seconds: float) -> ProcessDied:
    """Say of what a process died that had a time limit."""
    if not os.WIFSIGNALED(status):
        code = os.waitstatus_to_exitcode(status)
        return ProcessDied(f"it ends the process, with exit code {code}", "exit")
    number = os.WTERMSIG(status)
    if number == signal.SIGALRM:
        return late(seconds)
    name = signal.Signals(number).name
    text = (signal.strsignal(number) or "").lower()
    return ProcessDied(f"it kills the process: {name}, {text}", name)
