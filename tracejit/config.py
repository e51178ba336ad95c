"""Every switch of tracejit, in one typed table.

Needs nothing but the environment, which it reads once, at import. Establishes the
current `Config`: an immutable record with one field per row of `SWITCHES`. It has three
layers: defaults and environment variables; `set`, for the whole process; `override`,
for one block of one thread or task. Switches are attributes of this module, too:
``config.threads = 2`` is ``set("threads", 2)``.
"""

import os
import sys
import threading
import time
from array import array
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from functools import cached_property
from types import ModuleType
from typing import Literal, overload

from .errors import TracejitError
from .records import dataclass

# When this process loaded the package: files that changed since are not what runs.
LOADED_NS = time.time_ns()

Value = bool | int | str | tuple[str, ...]

_TRUE = ("1", "true", "on", "yes")
_FALSE = ("0", "false", "off", "no")


@dataclass(frozen=True)
class Switch:
    """One switch: its name, where it is read from, and what it may hold.

    Parameters
    ----------
    name : str
        The field of `Config`.
    env : str
        The environment variable that sets it.
    type : type
        ``bool``, ``int``, ``str`` or ``tuple``; a tuple holds names, and its variable
        separates them by commas.
    default : bool, int, str or tuple of str
        The value where nothing sets it.
    help : str
        What it does, for `table`.
    in_cache_key : bool
        Whether a change compiles functions again.
    choices : tuple of str
        The names that a ``str`` or each element of a ``tuple`` may be; all, if empty.
    minimum : int
        The least value of an ``int``.
    """

    name: str
    env: str
    type: type[Value]
    default: Value
    help: str
    in_cache_key: bool = False
    choices: tuple[str, ...] = ()
    minimum: int = 0

    @property
    def allowed(self) -> str:
        """The values it takes, in words."""
        if self.type is str and not self.choices:
            return "any text"
        names = ", ".join(self.choices)
        if self.type is bool:
            return f"one of {', '.join(_TRUE + _FALSE)}"
        if self.type is int:
            return f"an integer of at least {self.minimum}"
        return f"one of {names}" if self.type is str else f"a list of {names}"

    def accepts(self, value: object) -> bool:
        """Tell whether a value has the type, and is among the allowed ones."""
        if type(value) is not self.type:  # True is no count, though bool is an int
            return False
        if isinstance(value, int):
            return self.type is bool or value >= self.minimum
        names = value if isinstance(value, tuple) else (value,)
        return all(isinstance(n, str) and self._is_choice(n) for n in names)

    def _is_choice(self, name: str) -> bool:
        return not self.choices or name in self.choices

    def parse(self, text: str) -> Value | None:
        """Read a value from the text of its variable; None if it is no such value."""
        text = text.strip()
        value: Value | None = text
        if self.type is bool:
            word = text.lower()
            value = word in _TRUE if word in _TRUE + _FALSE else None
        elif self.type is int:
            value = int(text) if text.removeprefix("-").isdecimal() else None
        elif self.type is tuple:
            value = tuple(name.strip() for name in text.split(",") if name.strip())
        return value if self.accepts(value) else None


SWITCHES: Mapping[str, Switch] = {
    switch.name: switch
    for switch in (
        Switch(
            name="isa",
            env="TRACEJIT_ISA",
            type=str,
            default="auto",
            help="instruction set of CPU code; auto takes the best one of this machine",
            in_cache_key=True,
            choices=("auto", "avx512", "avx2", "baseline"),
        ),
        Switch(
            name="device",
            env="TRACEJIT_DEVICE",
            type=str,
            default="cpu",
            help="where functions run that are given NumPy arrays: cpu, cuda, cuda:1",
            in_cache_key=True,
        ),
        Switch(
            name="cache_dir",
            env="TRACEJIT_CACHE_DIR",
            type=str,
            default="auto",
            help="folder of compiled code; auto is the usual one, off keeps none",
        ),
        Switch(
            name="cache_bytes",
            env="TRACEJIT_CACHE_BYTES",
            type=int,
            default=1 << 30,
            help="how large each part of that folder (machine code of processors, "
            "kernels of GPUs) may get; what was not used for long goes first",
        ),
        Switch(
            name="fma",
            env="TRACEJIT_FMA",
            type=bool,
            default=True,
            help="round a product and the sum it goes into once, where that is allowed",
            in_cache_key=True,
        ),
        Switch(
            name="composites",
            env="TRACEJIT_COMPOSITES",
            type=bool,
            default=True,
            help="recognise softmax, norms and the like: their derivatives have rules",
            in_cache_key=True,
        ),
        Switch(
            name="reroll",
            env="TRACEJIT_REROLL",
            type=bool,
            default=True,
            help="make long Python loops, which are traced turn by turn, loops again",
            in_cache_key=True,
        ),
        Switch(
            name="simplify",
            env="TRACEJIT_SIMPLIFY",
            type=bool,
            default=True,
            help="apply exact rules while functions are traced; off leaves them to the "
            "passes, where bisect sees them",
            in_cache_key=True,
        ),
        Switch(
            name="donation",
            env="TRACEJIT_DONATION",
            type=str,
            default="on",
            help="on writes results into arguments that are donated or written to; off "
            "writes into none; check overwrites donated arrays with NaN after a call",
            in_cache_key=True,
            choices=("on", "off", "check"),
        ),
        Switch(
            name="deterministic",
            env="TRACEJIT_DETERMINISTIC",
            type=bool,
            default=False,
            help="the same bits at every run on devices too: scatters add in order, "
            "which is slower than atomically; on CPUs they always do",
            in_cache_key=True,
        ),
        Switch(
            name="threads",
            env="TRACEJIT_THREADS",
            type=int,
            default=0,
            help="how many threads a call may use; 0: the cores of the process",
            in_cache_key=True,
        ),
        Switch(
            name="share_from",
            env="TRACEJIT_SHARE_FROM",
            type=int,
            default=8000,
            help="estimated work, in nanoseconds, from which a loop is shared between "
            "threads that are awake; waking them takes twelve times as much",
            in_cache_key=True,
        ),
        Switch(
            name="tf32",
            env="TRACEJIT_TF32",
            type=bool,
            default=False,
            help="products of float32 arrays on GPUs may round them to 11 bits",
            in_cache_key=True,
        ),
        Switch(
            name="tune",
            env="TRACEJIT_TUNE",
            type=str,
            default="off",
            help="on measures how GPU kernels are best written when they are compiled; "
            "off takes the defaults, or what tuning_file says",
            in_cache_key=True,
            choices=("off", "on"),
        ),
        Switch(
            name="tuning_file",
            env="TRACEJIT_TUNING_FILE",
            type=str,
            default="",
            help="file of measured choices, read, and written while tune is on",
            in_cache_key=True,
        ),
        Switch(
            name="nans",
            env="TRACEJIT_NANS",
            type=str,
            default="off",
            help="nan raises where a call gives NaN, and names the line that made it, "
            "which takes an interpreted run; inf does so for infinities too",
            in_cache_key=True,
            choices=("off", "nan", "inf"),
        ),
        Switch(
            name="interpret",
            env="TRACEJIT_INTERPRET",
            type=bool,
            default=False,
            help="run jitted functions as the plain NumPy that they are, line by line, "
            "so that debuggers stop in them",
            in_cache_key=True,
        ),
        Switch(
            name="verify",
            env="TRACEJIT_VERIFY",
            type=bool,
            default=False,
            help="verify the graph after every pass, and the Program with its kernels",
        ),
        Switch(
            name="validate",
            env="TRACEJIT_VALIDATE",
            type=str,
            default="off",
            help="compare what is compiled with the interpreter on sample inputs: end "
            "the machine code, each-pass every step, to name the one that is wrong",
            choices=("off", "end", "each-pass"),
        ),
        Switch(
            name="repro_dir",
            env="TRACEJIT_REPRO_DIR",
            type=str,
            default="",
            help="folder for what `tracejit repro` runs again after internal errors; "
            "tracejit-repro in the folder for temporary files if none is named",
        ),
        Switch(
            name="log",
            env="TRACEJIT_LOG",
            type=tuple,
            default=(),
            help="what to report on stderr: why functions are traced again (retrace), "
            "what was fused and what was not (fusion), what each pass changed "
            "(passes), what was compiled (compile), what was measured (tune), what was "
            "not validated, and why (validate)",
            choices=("retrace", "fusion", "passes", "compile", "tune", "validate"),
        ),
        Switch(
            name="dump",
            env="TRACEJIT_DUMP",
            type=str,
            default="",
            help="folder for the levels of every compilation, from graphs to assembly; "
            "index.jsonl there lists them",
        ),
        Switch(
            name="profile",
            env="TRACEJIT_PROFILE",
            type=bool,
            default=False,
            help="compile functions with clocks around their steps, for debug.profile",
            in_cache_key=True,
        ),
        Switch(
            name="perf_map",
            env="TRACEJIT_PERF_MAP",
            type=bool,
            default=False,
            help="tell Linux perf and gdb the names and lines of compiled kernels",
            in_cache_key=True,
        ),
        Switch(
            name="native_calls",
            env="TRACEJIT_NATIVE_CALLS",
            type=bool,
            default=True,
            help="recognise repeated calls in machine code, not in Python",
        ),
        Switch(
            name="max_specializations",
            env="TRACEJIT_MAX_SPECIALIZATIONS",
            type=int,
            default=64,
            help="compiled forms of one function that are kept; with more it forgets "
            "the oldest and warns, once for each cause",
            minimum=1,
        ),
    )
}


@dataclass(frozen=True)
class Config:
    """The value of every switch; see `SWITCHES` for what each one means."""

    isa: str
    device: str
    cache_dir: str
    cache_bytes: int
    fma: bool
    composites: bool
    reroll: bool
    simplify: bool
    donation: str
    deterministic: bool
    threads: int
    share_from: int
    tf32: bool
    tune: str
    tuning_file: str
    nans: str
    interpret: bool
    verify: bool
    validate: str
    repro_dir: str
    log: tuple[str, ...]
    dump: str
    profile: bool
    perf_map: bool
    native_calls: bool
    max_specializations: int

    @cached_property
    def cache_key(self) -> tuple[Value, ...]:
        """The values on which compiled code depends."""
        return tuple(
            getattr(self, name) for name, s in SWITCHES.items() if s.in_cache_key
        )


def _switch(name: str) -> Switch:
    if name not in SWITCHES:
        raise TracejitError(
            f"there is no switch {name!r}", hint=f"one of {', '.join(SWITCHES)}"
        )
    return SWITCHES[name]


def _check(name: str, value: object) -> None:
    switch = _switch(name)
    if not switch.accepts(value):
        raise TracejitError(
            f"switch {name!r} cannot be {value!r}",
            hint="True or False" if switch.type is bool else switch.allowed,
        )


def load(environ: Mapping[str, str]) -> Config:
    """Build a configuration from defaults and environment variables.

    Raises
    ------
    TracejitError
        A variable holds a value that its switch does not take.

    Examples
    --------
    >>> load({"TRACEJIT_ISA": "avx2"}).isa
    'avx2'
    """
    values = {name: _from_environment(s, environ) for name, s in SWITCHES.items()}
    return Config(**values)  # type: ignore[arg-type]  # a test holds types to the table


def _from_environment(switch: Switch, environ: Mapping[str, str]) -> Value:
    text = environ.get(switch.env)
    if text is None:
        return switch.default
    value = switch.parse(text)
    if value is None:
        raise TracejitError(
            f"environment variable {switch.env} cannot be {text!r}", hint=switch.allowed
        )
    return value


@dataclass(frozen=True)
class _Overrides:
    """What the blocks around this point override, merged with the process's values."""

    changes: Mapping[str, Value]
    base: Config
    merged: Config


_process = load(os.environ)
_lock = threading.Lock()
_overrides: ContextVar[_Overrides | None] = ContextVar("overrides", default=None)
# For machine code, which compares it instead of configurations: how often the process's
# values were set, and whether a block ever overrode them.
STATE = array("q", [0, 0])


def current() -> Config:
    """Return the configuration in force here, typed field by field."""
    overrides = _overrides.get()
    if overrides is None:
        return _process
    if overrides.base is _process:
        return overrides.merged
    return replace(_process, **overrides.changes)  # type: ignore[arg-type]


@overload
def get(
    name: Literal[
        "isa",
        "device",
        "cache_dir",
        "donation",
        "tune",
        "tuning_file",
        "nans",
        "validate",
        "repro_dir",
        "dump",
    ],
) -> str: ...
@overload
def get(
    name: Literal[
        "fma",
        "composites",
        "reroll",
        "deterministic",
        "tf32",
        "verify",
        "interpret",
        "profile",
        "perf_map",
        "native_calls",
    ],
) -> bool: ...
@overload
def get(name: Literal["log"]) -> tuple[str, ...]: ...
@overload
def get(
    name: Literal["threads", "share_from", "max_specializations", "cache_bytes"],
) -> int: ...
@overload
def get(name: str) -> Value: ...
def get(name: str) -> Value:
    """Return the value of one switch.

    Raises
    ------
    TracejitError
        There is no such switch.
    """
    value: Value = getattr(current(), _switch(name).name)
    return value


def set(name: str, value: Value) -> None:
    """Set one switch for the whole process.

    Raises
    ------
    TracejitError
        There is no such switch, it does not take the value, or an `override` around
        this call would hide it.
    """
    global _process
    _check(name, value)
    overrides = _overrides.get()
    if overrides is not None and name in overrides.changes:
        raise TracejitError(
            f"switch {name!r} is overridden here, so that setting it has no effect",
            hint="set it outside of the config.override block",
        )
    with _lock:
        _process = replace(_process, **{name: value})  # type: ignore[arg-type]
        STATE[0] += 1


@contextmanager
def override(**changes: Value) -> Iterator[Config]:
    """Set switches for one block.

    The change is seen by this thread or asynchronous task alone; threads that start
    inside of the block see the values of the process.

    Raises
    ------
    TracejitError
        There is no such switch, or it does not take the value.

    Examples
    --------
    >>> with override(isa="baseline"):
    ...     get("isa")
    'baseline'
    """
    for name, value in changes.items():
        _check(name, value)
    outer = _overrides.get()
    both = {**(outer.changes if outer else {}), **changes}
    base = _process
    merged = replace(base, **both)  # type: ignore[arg-type]
    STATE[1] = 1
    token = _overrides.set(_Overrides(both, base, merged))
    try:
        yield merged
    finally:
        _overrides.reset(token)


def overrides() -> tuple[ContextVar[_Overrides | None], _Overrides | None]:
    """Return the variable that holds the overrides, and those in force here."""
    return _overrides, _overrides.get()


def cache_key() -> tuple[Value, ...]:
    """Return the values on which compiled code depends; made once per change."""
    return current().cache_key


def table() -> str:
    """Return the switches as a Markdown table, for the documentation."""
    rows = ["| switch | variable | values | default | |", "|---|---|---|---|---|"]
    rows += [
        f"| `{s.name}` | `{s.env}` | {s.allowed} | {_shown(s.default)} | {s.help} |"
        for s in SWITCHES.values()
    ]
    return "\n".join(rows)


def _shown(value: Value) -> str:
    if isinstance(value, tuple):
        return ", ".join(value) or "none"
    return str(value).lower() if isinstance(value, bool) else str(value)


class _Module(ModuleType):
    """What makes switches attributes of this module.

    Without it an assignment would bind a name that nothing reads.
    """

    def __getattr__(self, name: str) -> Value:
        if name in SWITCHES:
            return get(name)
        raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")

    def __setattr__(self, name: str, value: object) -> None:
        if name in vars(self) or name.startswith("__"):
            super().__setattr__(name, value)
        else:
            set(name, value)  # type: ignore[arg-type]  # which it checks


sys.modules[__name__].__class__ = _Module
