"""The thread pool: native workers that never touch Python.

Needs POSIX threads (`pool` returns None where there are none, and callers run
serially). Establishes the functions that compiled code imports (see
`codegen.llvm.jobs`, which has the contract of a job):

``void tracejit_parallel(ptr task, ptr context, i64 pieces, i64 work, i64 wake,
i64 threads)`` runs ``task(context, begin, end, worker)`` over all pieces, in chunks
that the caller and the workers claim, and returns when all are done. `work` is the
estimated time in nanoseconds. Where all workers sleep and `work` is less than `wake`,
where another Python thread has the pool, and where no worker could be started, the
caller does it all in one call. But jobs that follow each other so closely that workers
would not fall asleep in between count together: from `wake` on they can be joined, from
twice that on they wake workers, which then may be up only for the job after next.

``void tracejit_wake()`` wakes workers that sleep, for work that comes soon.

A worker that has nothing to do spins for about 50 microseconds, then sleeps: jobs that
follow each other start within half a microsecond, while waking a sleeping thread costs
its waker some 20 and takes 50 or more. Workers start with the first job that wants
them, also in a child after `fork`, and are stopped and joined when the interpreter
exits, before the code they run is unloaded.

A job is one word, `@ticket`: how many threads may take part, the number of chunks, the
next chunk. Claims are a compare-and-swap of the whole word, so that a worker that comes
late either claims a chunk of the present job or none. A job ends when all its chunks
are done; nothing reads its task or context after that.
"""

import atexit
import ctypes
import os
import threading
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from ...codegen.llvm.sharing import JOB_SYMBOL, SERIAL, WAKE_SYMBOL, Threading
from ...errors import InternalError
from . import kept
from .image import LoadedImage
from .native import Loaded

if TYPE_CHECKING:
    from ...codegen.llvm.target import Target

SPIN_SECONDS = 50e-6
MOST_THREADS = 256
_CHUNKS_PER_THREAD = 4
_YIELD_AFTER = 4096  # turns of the caller's wait between two `sched_yield`
_COUNT_BITS = 24  # of a job's chunks, and of the next one
_LIMIT_SHIFT = 2 * _COUNT_BITS
_CALIBRATION = 2000
_KEPT_AS = "thread pool"


class Pool:
    """The workers of this process. Get it from `pool`.

    Parameters
    ----------
    code : Loaded
        The pool's own.

    Attributes
    ----------
    symbols : dict of str to int
        Addresses of what compiled code imports.
    """

    def __init__(self, code: Loaded) -> None:
        self._library = code
        address = code.address
        self.symbols = {name: address(name) for name in (JOB_SYMBOL, WAKE_SYMBOL)}
        self._stop = ctypes.CFUNCTYPE(None)(address("tracejit_pool_stop"))
        self._reset = ctypes.CFUNCTYPE(None)(address("tracejit_pool_reset"))
        self._workers = ctypes.CFUNCTYPE(ctypes.c_int64)(
            address("tracejit_pool_workers")
        )
        self._sleepers = ctypes.CFUNCTYPE(ctypes.c_int64)(
            address("tracejit_pool_sleepers")
        )
        self._jobs = ctypes.CFUNCTYPE(ctypes.c_int64)(address("tracejit_pool_jobs"))
        self._reset()
        ctypes.CFUNCTYPE(None, ctypes.c_int64)(address("tracejit_pool_spin"))(
            self._turns_of_spinning()
        )

    def _turns_of_spinning(self) -> int:
        """Return how many turns of a worker's loop take `SPIN_SECONDS`."""
        pause = ctypes.CFUNCTYPE(None, ctypes.c_int64)(
            self._library.address("tracejit_pool_pause")
        )
        best = float("inf")
        for _ in range(3):
            start = time.perf_counter()
            pause(_CALIBRATION)
            best = min(best, time.perf_counter() - start)
        return max(1, int(SPIN_SECONDS * _CALIBRATION / max(best, 1e-9)))

    @property
    def workers(self) -> int:
        """How many threads the pool has started."""
        return int(self._workers())

    @property
    def sleepers(self) -> int:
        """How many of them sleep."""
        return int(self._sleepers())

    @property
    def jobs(self) -> int:
        """How many jobs were shared with workers so far."""
        return int(self._jobs())

    def reset(self) -> None:
        """Forget all workers: in a child after `fork`, where they do not exist."""
        self._reset()

    def stop(self) -> None:
        """End all workers and wait for them; jobs run serially from then on."""
        self._stop()


_pool: Pool | None = None
_lock = threading.Lock()


def pool(target: "Target | None" = None) -> Pool | None:
    """Return the process's pool; None where there are no POSIX threads.

    Parameters
    ----------
    target : Target, optional
        Whose engine compiles the pool if this is the first call and its code is not on
        disk: that of this machine, if none is given.
    """
    global _pool
    if not _has_threads():
        return None
    with _lock:
        if _pool is None:
            _pool = Pool(_code_for(target))
            atexit.register(_pool.stop)
            os.register_at_fork(after_in_child=_after_fork)
        return _pool


def pool_symbols(target: "Target | None" = None) -> Mapping[str, int]:
    """Return the addresses of the pool's functions, for code that needs them."""
    workers = pool(target)
    if workers is None:
        raise InternalError("code for threads where there are none")
    return workers.symbols


def _code_for(target: "Target | None") -> Loaded:
    """Return the pool's code, from disk if it is there."""
    found = kept.find(_KEPT_AS)
    if found is not None:
        return LoadedImage(found[0], {})
    # The compiler, which code from disk does without.
    from ...codegen.llvm.target import host_target  # noqa: PLC0415
    from .engine import engine_for  # noqa: PLC0415

    engine = engine_for(target or host_target())
    compiled = engine.compile(pool_text(engine.target))
    image = engine.image([compiled])
    if image is None:
        return engine.load(compiled)
    kept.keep(_KEPT_AS, image, {}, {})
    return LoadedImage(image, {})


def _after_fork() -> None:
    """In the child: no workers, and a lock that nobody holds."""
    global _lock
    _lock = threading.Lock()
    if _pool is not None:
        _pool.reset()


def usable_cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def threading_of(threads: int, least_ns: int) -> Threading:
    """Return how a program may use threads on this machine.

    Parameters
    ----------
    threads : int
        How many; 0 for as many as there are usable cores.
    least_ns : int
        Estimated work from which a loop is shared.
    """
    count = min(threads or usable_cores(), MOST_THREADS)
    return Threading(count, least_ns) if count > 1 and _has_threads() else SERIAL


def _has_threads() -> bool:
    if os.name != "posix":
        return False
    process = ctypes.CDLL(None)
    return hasattr(process, "pthread_create") and hasattr(process, "sched_yield")


def _pause(target: "Target") -> tuple[str, str]:
    """Return the declaration and the call that tell a core it waits in a loop."""
    if target.triple.startswith(("x86_64", "amd64")):
        name = "llvm.x86.sse2.pause"
        return f"declare void @{name}()", f"call void @{name}()"
    if target.triple.startswith(("aarch64", "arm64")):
        name = "llvm.aarch64.hint"
        return f"declare void @{name}(i32)", f"call void @{name}(i32 1)"
    return "", ""


def pool_text(target: "Target") -> str:
    """Return the LLVM module of the pool."""
    declaration, pause = _pause(target)
    head = f"""
target datalayout = "{target.datalayout}"
target triple = "{target.triple}"
{declaration}
"""
    parts = [head, _STATE, _park(), _claims(), _worker(pause), _start(), _lone()]
    job = f"""
define void @{JOB_SYMBOL}(ptr %task, ptr %context, i64 %pieces, i64 %work,
                          i64 %wake, i64 %threads) nounwind {{
{_ENTER}{_post()}{_finish(pause)}}}
{_WAKE}"""
    service = f"\n{_STOP}{_RESET}{_spinning(pause)}{_FIGURES}"
    return "\n".join([*parts, job, service])


# Each word that several threads write has a cache line of its own. Mutexes and
# conditions are opaque: the largest of any supported system has 64 bytes.
_STATE = f"""
@ticket = internal global i64 0, align 64
@generation = internal global i32 0, align 64
@done = internal global i64 0, align 64
@busy = internal global i32 0, align 64
@sleepers = internal global i64 0, align 64
@epoch = internal global i32 0, align 64
@task = internal global ptr null, align 64
@context = internal global ptr null
@pieces = internal global i64 0
@chunks = internal global i64 0
@jobs = internal global i64 0
@workers = internal global i64 0
@stopped = internal global i32 0
@spin = internal global i64 1000
@before = internal global i64 0
@lone = internal global i64 0
@mutex = internal global [128 x i8] zeroinitializer, align 64
@condition = internal global [128 x i8] zeroinitializer, align 64
@threads = internal global [{MOST_THREADS} x ptr] zeroinitializer, align 64

declare i32 @pthread_create(ptr, ptr, ptr, ptr)
declare i32 @pthread_join(ptr, ptr)
declare i32 @pthread_mutex_init(ptr, ptr)
declare i32 @pthread_mutex_lock(ptr)
declare i32 @pthread_mutex_unlock(ptr)
declare i32 @pthread_cond_init(ptr, ptr)
declare i32 @pthread_cond_wait(ptr, ptr)
declare i32 @pthread_cond_broadcast(ptr)
declare i32 @pthread_sigmask(i32, ptr, ptr)
declare i32 @sigfillset(ptr)
declare i32 @sched_yield()
declare i32 @clock_gettime(i32, ptr)
"""


def _park() -> str:
    """Sleeping until a job that wakes: no wake-up between check and wait is lost.

    A worker counts itself as asleep before it looks for a job, and the poster of a job
    looks for sleepers after it has posted; so one of them sees the other.
    """
    return """
define internal void @park(i32 %last) nounwind {
entry:
  %n = atomicrmw add ptr @sleepers, i64 1 seq_cst
  %l = call i32 @pthread_mutex_lock(ptr @mutex)
  %seen = load atomic i32, ptr @epoch monotonic, align 64
  br label %check
check:
  %now = load atomic i32, ptr @generation seq_cst, align 64
  %epoch = load atomic i32, ptr @epoch monotonic, align 64
  %new = icmp ne i32 %now, %last
  %woken = icmp ne i32 %epoch, %seen
  %up = or i1 %new, %woken
  br i1 %up, label %leave, label %wait
wait:
  %w = call i32 @pthread_cond_wait(ptr @condition, ptr @mutex)
  br label %check
leave:
  %u = call i32 @pthread_mutex_unlock(ptr @mutex)
  %m = atomicrmw sub ptr @sleepers, i64 1 seq_cst
  ret void
}
define internal void @unpark() nounwind {
entry:
  %l = call i32 @pthread_mutex_lock(ptr @mutex)
  %e = atomicrmw add ptr @epoch, i32 1 monotonic
  %u = call i32 @pthread_mutex_unlock(ptr @mutex)
  %b = call i32 @pthread_cond_broadcast(ptr @condition)
  ret void
}
"""


def _claims() -> str:
    """Run chunks of the present job until none is left; chunk c of n has the pieces
    from c·pieces/n to (c + 1)·pieces/n.
    """
    mask = (1 << _COUNT_BITS) - 1
    return f"""
define internal void @drain(i64 %worker) nounwind {{
entry:
  br label %look
look:
  %word = load atomic i64, ptr @ticket acquire, align 64
  %next = and i64 %word, {mask}
  %high = lshr i64 %word, {_COUNT_BITS}
  %count = and i64 %high, {mask}
  %limit = lshr i64 %word, {_LIMIT_SHIFT}
  %left = icmp ult i64 %next, %count
  %welcome = icmp ult i64 %worker, %limit
  %may = and i1 %left, %welcome
  br i1 %may, label %claim, label %leave
claim:
  %after = add i64 %word, 1
  %pair = cmpxchg ptr @ticket, i64 %word, i64 %after acq_rel acquire
  %mine = extractvalue {{ i64, i1 }} %pair, 1
  br i1 %mine, label %run, label %look
run:
  %task = load ptr, ptr @task
  %context = load ptr, ptr @context
  %pieces = load i64, ptr @pieces
  %low = mul i64 %next, %pieces
  %begin = udiv i64 %low, %count
  %top = add i64 %low, %pieces
  %end = udiv i64 %top, %count
  call void %task(ptr %context, i64 %begin, i64 %end, i64 %worker)
  %d = atomicrmw add ptr @done, i64 1 acq_rel
  br label %look
leave:
  ret void
}}
"""


def _worker(pause: str) -> str:
    return f"""
define internal ptr @worker(ptr %argument) nounwind {{
entry:
  %number = ptrtoint ptr %argument to i64
  %turns = load i64, ptr @spin
  br label %top
top:
  %last = phi i32 [ -1, %entry ], [ %now, %work ], [ %last, %sleep ]
  br label %look
look:
  %turn = phi i64 [ 0, %top ], [ %next, %again ]
  %now = load atomic i32, ptr @generation acquire, align 64
  %new = icmp ne i32 %now, %last
  br i1 %new, label %awake, label %again
again:
  {pause}
  %next = add i64 %turn, 1
  %tired = icmp uge i64 %next, %turns
  br i1 %tired, label %sleep, label %look
sleep:
  call void @park(i32 %last)
  br label %top
awake:
  %stopped = load atomic i32, ptr @stopped acquire, align 4
  %ends = icmp ne i32 %stopped, 0
  br i1 %ends, label %leave, label %work
work:
  call void @drain(i64 %number)
  br label %top
leave:
  ret ptr null
}}
"""


def _start() -> str:
    """Start workers up to a number; fewer if the system gives no more.

    They block all signals, which the threads of Python are there for.
    """
    import signal  # noqa: PLC0415  # makes many enums, for who compiles this alone

    set_mask = int(signal.SIG_SETMASK)
    return f"""
define internal void @start(i64 %wanted) nounwind {{
entry:
  %all = alloca [128 x i8], align 16
  %old = alloca [128 x i8], align 16
  %f = call i32 @sigfillset(ptr %all)
  %m = call i32 @pthread_sigmask(i32 {set_mask}, ptr %all, ptr %old)
  %most = call i64 @llvm.umin.i64(i64 %wanted, i64 {MOST_THREADS - 1})
  br label %look
look:
  %have = load i64, ptr @workers
  %more = icmp ult i64 %have, %most
  br i1 %more, label %create, label %leave
create:
  %number = add i64 %have, 1
  %slot = getelementptr ptr, ptr @threads, i64 %have
  %argument = inttoptr i64 %number to ptr
  %r = call i32 @pthread_create(ptr %slot, ptr null, ptr @worker, ptr %argument)
  %ok = icmp eq i32 %r, 0
  br i1 %ok, label %count, label %leave
count:
  store i64 %number, ptr @workers
  br label %look
leave:
  %n = call i32 @pthread_sigmask(i32 {set_mask}, ptr %old, ptr null)
  ret void
}}
declare i64 @llvm.umin.i64(i64, i64)
"""


# A job takes the pool unless another has it, and hires workers up to its number. It is
# shared with them when there are any and one is awake or the work is worth waking them.
_ENTER = """entry:
  %stopped = load atomic i32, ptr @stopped acquire, align 4
  %never = icmp ne i32 %stopped, 0
  %held = atomicrmw xchg ptr @busy, i32 1 acquire
  %taken = icmp ne i32 %held, 0
  br i1 %taken, label %alone, label %mine
mine:
  br i1 %never, label %free, label %crew
crew:
  %wanted = sub i64 %threads, 1
  %before = load i64, ptr @workers
  %few = icmp ult i64 %before, %wanted
  br i1 %few, label %hire, label %hired
hire:
  call void @start(i64 %wanted)
  br label %hired
hired:
  %workers = load i64, ptr @workers
  %sleepers = load atomic i64, ptr @sleepers seq_cst, align 64
  %awake = icmp ult i64 %sleepers, %workers
  %enough = icmp uge i64 %work, %wake
  %some = icmp ne i64 %workers, 0
  br i1 %some, label %crewed, label %free
crewed:
  %worth = or i1 %awake, %enough
  br i1 %worth, label %post, label %count_lone
count_lone:
  %twice = shl i64 %wake, 1
  %together = call i64 @lone_work(i64 %work)
  %burst = icmp uge i64 %together, %twice
  %left = select i1 %burst, i64 %wake, i64 %together
  store i64 %left, ptr @lone
  %soon = icmp uge i64 %together, %wake
  br i1 %soon, label %post, label %free
"""


def _lone() -> str:
    """Return the work of the jobs that the caller did alone in close succession.

    Close is what begins before a worker would have fallen asleep since the job before.
    """
    return f"""
define internal i64 @lone_work(i64 %work) nounwind {{
entry:
  %time = alloca [2 x i64], align 16
  %r = call i32 @clock_gettime(i32 {int(time.CLOCK_MONOTONIC)}, ptr %time)
  %s = load i64, ptr %time
  %fraction = getelementptr i64, ptr %time, i64 1
  %ns = load i64, ptr %fraction
  %whole = mul i64 %s, 1000000000
  %now = add i64 %whole, %ns
  %before = load i64, ptr @before
  store i64 %now, ptr @before
  %gap = sub i64 %now, %before
  %close = add i64 %work, {round(SPIN_SECONDS * 1e9)}
  %follows = icmp ult i64 %gap, %close
  %old = load i64, ptr @lone
  %kept = select i1 %follows, i64 %old, i64 0
  %new = add i64 %kept, %work
  ret i64 %new
}}
"""


def _post() -> str:
    """Put the job where the workers see it, wake them, and take part in it."""
    return f"""post:
  %large = phi i1 [ %enough, %crewed ], [ %burst, %count_lone ]
  %most = mul i64 %threads, {_CHUNKS_PER_THREAD}
  %chunks = call i64 @llvm.umin.i64(i64 %pieces, i64 %most)
  store ptr %task, ptr @task
  store ptr %context, ptr @context
  store i64 %pieces, ptr @pieces
  store i64 %chunks, ptr @chunks
  %j0 = load i64, ptr @jobs
  %j1 = add i64 %j0, 1
  store i64 %j1, ptr @jobs
  store atomic i64 0, ptr @done monotonic, align 64
  %limit = shl i64 %threads, {_LIMIT_SHIFT}
  %count = shl i64 %chunks, {_COUNT_BITS}
  %ticket = or i64 %limit, %count
  store atomic i64 %ticket, ptr @ticket release, align 64
  %g = atomicrmw add ptr @generation, i32 1 seq_cst
  %asleep = load atomic i64, ptr @sleepers seq_cst, align 64
  %any = icmp ne i64 %asleep, 0
  %call = and i1 %any, %large
  br i1 %call, label %ring, label %help
ring:
  call void @unpark()
  br label %help
help:
  call void @drain(i64 0)
  br label %wait
"""


def _finish(pause: str) -> str:
    """Wait until all chunks are done; without workers, do all in one call."""
    return f"""wait:
  %turn = phi i64 [ 0, %help ], [ %next, %patient ], [ 0, %yield ]
  %d = load atomic i64, ptr @done acquire, align 64
  %all = icmp eq i64 %d, %chunks
  br i1 %all, label %over, label %patient
patient:
  {pause}
  %next = add i64 %turn, 1
  %long = icmp uge i64 %next, {_YIELD_AFTER}
  br i1 %long, label %yield, label %wait
yield:
  %y = call i32 @sched_yield()
  br label %wait
over:
  store atomic i32 0, ptr @busy release, align 64
  ret void
free:
  store atomic i32 0, ptr @busy release, align 64
  br label %alone
alone:
  call void %task(ptr %context, i64 0, i64 %pieces, i64 0)
  ret void
"""


_WAKE = f"""define void @{WAKE_SYMBOL}() nounwind {{
entry:
  %asleep = load atomic i64, ptr @sleepers seq_cst, align 64
  %any = icmp ne i64 %asleep, 0
  br i1 %any, label %ring, label %leave
ring:
  call void @unpark()
  br label %leave
leave:
  ret void
}}
"""

# What Python calls: stop, forget, and figures.
_STOP = """define void @tracejit_pool_stop() nounwind {
entry:
  br label %lock
lock:
  %held = atomicrmw xchg ptr @busy, i32 1 acquire
  %taken = icmp ne i32 %held, 0
  br i1 %taken, label %wait, label %mine
wait:
  %y = call i32 @sched_yield()
  br label %lock
mine:
  store atomic i32 1, ptr @stopped release, align 4
  %g = atomicrmw add ptr @generation, i32 1 seq_cst
  call void @unpark()
  br label %look
look:
  %left = load i64, ptr @workers
  %some = icmp ne i64 %left, 0
  br i1 %some, label %join, label %leave
join:
  %fewer = sub i64 %left, 1
  %slot = getelementptr ptr, ptr @threads, i64 %fewer
  %thread = load ptr, ptr %slot
  %r = call i32 @pthread_join(ptr %thread, ptr null)
  store i64 %fewer, ptr @workers
  br label %look
leave:
  store atomic i32 0, ptr @busy release, align 64
  ret void
}
"""

_RESET = """define void @tracejit_pool_reset() nounwind {
entry:
  store i64 0, ptr @workers
  store i64 0, ptr @ticket
  store i64 0, ptr @sleepers
  store i64 0, ptr @jobs
  store i32 0, ptr @busy
  %m = call i32 @pthread_mutex_init(ptr @mutex, ptr null)
  %c = call i32 @pthread_cond_init(ptr @condition, ptr null)
  ret void
}
"""


def _spinning(pause: str) -> str:
    """How long workers spin, and so many turns of that to measure them."""
    return f"""define void @tracejit_pool_spin(i64 %turns) nounwind {{
entry:
  store i64 %turns, ptr @spin
  ret void
}}
define void @tracejit_pool_pause(i64 %turns) nounwind {{
entry:
  br label %look
look:
  %turn = phi i64 [ 0, %entry ], [ %next, %look ]
  %now = load atomic i32, ptr @generation acquire, align 64
  {pause}
  %next = add i64 %turn, 1
  %more = icmp ult i64 %next, %turns
  br i1 %more, label %look, label %leave
leave:
  ret void
}}
"""


_FIGURES = """define i64 @tracejit_pool_workers() nounwind {
entry:
  %n = load i64, ptr @workers
  ret i64 %n
}
define i64 @tracejit_pool_sleepers() nounwind {
entry:
  %n = load atomic i64, ptr @sleepers seq_cst, align 64
  ret i64 %n
}
define i64 @tracejit_pool_jobs() nounwind {
entry:
  %n = load i64, ptr @jobs
  ret i64 %n
}
"""
