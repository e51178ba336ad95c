"""The pool: every piece once, from any thread, after fork, and a clean end."""

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import tracejit as tj
from tracejit.codegen.llvm.sharing import JOB_SYMBOL, SERIAL
from tracejit.codegen.llvm.target import host_target
from tracejit.errors import IndexRangeError
from tracejit.runtime.cpu import threads
from tracejit.runtime.cpu.engine import Library, engine_for

pytestmark = pytest.mark.skipif(os.name != "posix", reason="no POSIX threads")
ALWAYS, NEVER = 0, 2**62  # what work is compared with
_COUNT = """
define void @count(ptr %context, i64 %begin, i64 %end, i64 %worker) nounwind {
entry:
  %own = getelementptr i64, ptr %context, i64 %worker
  %before = load i64, ptr %own
  %n = sub i64 %end, %begin
  %after = add i64 %before, %n
  store i64 %after, ptr %own
  br label %look
look:
  %i = phi i64 [ %begin, %entry ], [ %next, %body ]
  %more = icmp ult i64 %i, %end
  br i1 %more, label %body, label %leave
body:
  %k = add i64 %i, 64
  %at = getelementptr i64, ptr %context, i64 %k
  %old = load i64, ptr %at
  %new = add i64 %old, 1
  store i64 %new, ptr %at
  %next = add i64 %i, 1
  br label %look
leave:
  ret void
}
"""


@pytest.fixture(scope="module")
def counting() -> Iterator[Library]:
    target = host_target()
    library = engine_for(target).load(
        f'target datalayout = "{target.datalayout}"\n'
        f'target triple = "{target.triple}"\n{_COUNT}'
    )
    yield library
    library.close()


class Counts:
    """A job that counts how often each piece ran, and how many each worker ran."""

    def __init__(self, library: Library) -> None:
        pool = threads.pool(host_target())
        assert pool is not None
        self.pool = pool
        kinds = [*[ctypes.c_void_p] * 2, *[ctypes.c_int64] * 4]
        self._run = ctypes.CFUNCTYPE(None, *kinds)(pool.symbols[JOB_SYMBOL])
        self._task = library.address("count")

    def run(
        self, pieces: int, count: int, wake: int = ALWAYS, work: int = 1
    ) -> np.ndarray:
        """Run a job; return pieces by worker, after checking that each ran once."""
        counts = np.zeros(64 + pieces + 8, np.int64)
        self._run(self._task, counts.ctypes.data, pieces, work, wake, count)
        assert (counts[64 : 64 + pieces] == 1).all()
        assert (counts[64 + pieces :] == 0).all()
        assert counts[:64].sum() == pieces
        return counts[:64]


@pytest.fixture
def job(counting: Library) -> Counts:
    return Counts(counting)


@pytest.mark.parametrize("count", [1, 2, 3, 5])
@pytest.mark.parametrize("pieces", [1, 2, 7, 1000])
def test_each_piece_runs_once_by_a_worker_of_the_job(
    pieces: int, count: int, job: Counts
) -> None:
    for _ in range(300):
        by_worker = job.run(pieces, count)
        assert (by_worker[count:] == 0).all()


def test_jobs_of_several_sizes_in_turn(job: Counts) -> None:
    for step in range(2000):
        job.run(1 + step % 50, 2 + step % 3)


def test_many_python_threads_call_at_once(job: Counts) -> None:
    barrier = threading.Barrier(6)

    def work(seed: int) -> None:
        barrier.wait()
        for step in range(300):
            job.run(1 + (seed + step) % 40, 3)

    with ThreadPoolExecutor(6) as callers:
        list(callers.map(work, range(6)))


def let_sleep(pool: threads.Pool) -> None:
    """Wait until all workers sleep."""
    assert pool.workers >= 1
    for _ in range(3000):  # pauses, not seconds: a machine may stand still for some
        if pool.sleepers == pool.workers:
            break
        time.sleep(0.01)
    state = f"{pool.sleepers} of {pool.workers} sleep after {pool.jobs} jobs"
    assert pool.sleepers == pool.workers, (state, threading.enumerate())
    time.sleep(0.1)  # they are counted, look for work once more, and sleep


def test_small_jobs_leave_sleeping_workers_asleep(job: Counts) -> None:
    job.run(100, 2)
    let_sleep(job.pool)
    before = job.pool.jobs
    by_worker = job.run(100, 2, NEVER)
    assert job.pool.jobs == before
    assert by_worker[0] == 100
    job.run(100, 2)
    assert job.pool.jobs == before + 1


def test_small_jobs_in_close_succession_wake_workers(job: Counts) -> None:
    """The tenth of them fills what one job had to be, and can be joined."""
    job.run(100, 2)
    let_sleep(job.pool)
    before = job.pool.jobs
    for count in range(1, 31):
        job.run(100, 2, wake=10**10, work=10**9)
        assert job.pool.jobs == before or count >= 10
    assert job.pool.jobs == before + 21


def test_small_jobs_with_pauses_do_not(job: Counts) -> None:
    job.run(100, 2)
    let_sleep(job.pool)
    before = job.pool.jobs
    for _ in range(8):
        job.run(100, 2, wake=4_000, work=1_000)
        time.sleep(0.01)
    assert job.pool.jobs == before


def test_signals_go_to_python(job: Counts) -> None:
    job.run(100, 3)
    caught: list[int] = []
    old = signal.signal(signal.SIGUSR1, lambda number, _: caught.append(number))
    try:
        for _ in range(20):
            os.kill(os.getpid(), signal.SIGUSR1)
            job.run(100, 3)
    finally:
        signal.signal(signal.SIGUSR1, old)
    assert caught


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")
def test_a_forked_child_starts_workers_of_its_own(job: Counts) -> None:
    job.run(100, 3)
    child = os.fork()
    if child == 0:
        try:
            assert job.pool.workers == 0
            for _ in range(100):
                job.run(50, 3)
            ok = job.pool.workers >= 2
        except BaseException:
            ok = False
        os._exit(0 if ok else 1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    job.run(100, 3)


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")
def test_fork_while_another_thread_has_the_pool(job: Counts) -> None:
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            job.run(100, 3)

    caller = threading.Thread(target=work)
    caller.start()
    try:
        for _ in range(5):
            child = os.fork()
            if child == 0:
                try:
                    job.run(50, 3)
                    ok = job.pool.jobs == 1
                except BaseException:
                    ok = False
                os._exit(0 if ok else 1)
            _, status = os.waitpid(child, 0)
            assert os.waitstatus_to_exitcode(status) == 0
    finally:
        stop.set()
        caller.join()


_PROGRAM = """
import threading, sys
import numpy as np
import tracejit as tj
tj.config.set("threads", 3)
tj.config.set("share_from", 0)
f = tj.jit(lambda x: np.exp(x).sum() + x.max())
x = np.linspace(-1, 1, 100_000, dtype=np.float32)
first = f(x)
{body}
print("done")
"""


@pytest.mark.parametrize(
    "body",
    [
        "",
        "for _ in range(50): assert f(x) == first",
        "sys.exit(0) if False else None; del f",
        "threading.Thread(target=lambda: [f(x) for _ in range(200)]).start()",
        "threading.Thread(target=lambda: [f(x) for _ in range(10**9)],"
        " daemon=True).start()",
    ],
    ids=["idle", "hot", "code freed", "thread at exit", "daemon at exit"],
)
def test_the_process_ends_cleanly(body: str) -> None:
    source = _PROGRAM.format(body=body)
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", source],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr


def test_threading_of_a_machine() -> None:
    assert threads.threading_of(1, 8000) == SERIAL
    assert threads.threading_of(3, 50).threads == 3
    assert threads.threading_of(3, 50).wake_ns == 600
    assert threads.threading_of(0, 8000).threads == threads.usable_cores()
    assert threads.threading_of(10**6, 0).threads == threads.MOST_THREADS


def test_a_call_uses_the_pool_and_reports_the_error_of_a_worker() -> None:
    pool = threads.pool(host_target())
    assert pool is not None

    take = tj.jit(lambda x, i: x[i] + 1)
    x = np.arange(1000, dtype=np.float32)
    index = np.arange(100_000) % 1000
    with tj.config.override(threads=3, share_from=0):
        before = pool.jobs
        np.testing.assert_array_equal(take(x, index), x[index] + 1)
        assert pool.jobs == before + 1
        for place in (0, 50_000, 99_999):
            bad = index.copy()
            bad[place:] = 1000 + place
            for _ in range(20):
                with pytest.raises(IndexRangeError, match=f"index {1000 + place} is"):
                    take(x, bad)
        np.testing.assert_array_equal(take(x, index), x[index] + 1)


def test_calls_from_many_threads_agree() -> None:
    def norm(x):
        return (x - x.mean()) / x.std()

    compiled = tj.jit(norm)
    xs = [np.random.default_rng(k).normal(size=50_000) for k in range(4)]
    with tj.config.override(threads=3, share_from=0):
        wanted = [compiled(x).tobytes() for x in xs]

    def work(k: int) -> bool:
        with tj.config.override(threads=3, share_from=0):
            return all(compiled(xs[k]).tobytes() == wanted[k] for _ in range(50))

    with ThreadPoolExecutor(4) as callers:
        assert all(callers.map(work, range(4)))
