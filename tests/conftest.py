"""Every compiled function is verified, and has its native entry with the second call.

Code on disk is left alone: each test run compiles what it runs. LLVM gets each text
once in a process: a third of the time of all tests is its, and a quarter of the modules
have been there before.

Hypothesis draws with a seed that is shown.

In CI it draws the same examples at each run, elsewhere new ones.
"""

import gc
import os
import secrets
from functools import lru_cache, partial

import pytest
from hypothesis import settings

from tracejit import api
from tracejit import config as switches
from tracejit.debug import machine
from tracejit.runtime.cpu.engine import Engine

COMPILE = Engine._build
Engine._build = lru_cache(2048)(COMPILE)  # type: ignore[method-assign]

# What a machine can do takes seconds to measure well, in each process.
machine.measure_limits = partial(  # type: ignore[assignment]
    machine.measure_limits, sizes=(2**16, 2**22), seconds=1e-3
)

settings.register_profile("ci", derandomize=True, deadline=None, print_blob=True)
settings.register_profile("dev", deadline=None, print_blob=True)


@pytest.hookimpl(tryfirst=True)  # before Hypothesis reads the seed
def pytest_configure(config: pytest.Config) -> None:
    """Choose the profile, and a seed if the command line gives none."""
    os.environ.setdefault("TRACEJIT_VERIFY", "1")  # for tests in other processes too
    switches.set("verify", os.environ["TRACEJIT_VERIFY"] == "1")
    os.environ.setdefault("TRACEJIT_CACHE_DIR", "off")
    switches.set("cache_dir", os.environ["TRACEJIT_CACHE_DIR"])
    api.PATIENCE.calls = 0  # the second call of everything is a native one
    in_ci = "CI" in os.environ
    settings.load_profile("ci" if in_ci else "dev")
    if not in_ci and config.option.hypothesis_seed is None:
        config.option.hypothesis_seed = str(secrets.randbelow(2**32))


def pytest_collection_finish() -> None:
    """Spare the collector the tests themselves, a third of a second at each time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000)


@pytest.fixture
def compiles_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have LLVM compile what it has compiled before, too."""
    monkeypatch.setattr(Engine, "_build", COMPILE)


def pytest_report_header(config: pytest.Config) -> str:
    """Print the seed that repeats this run."""
    seed = config.option.hypothesis_seed
    if seed is None:
        return "hypothesis: derandomized"
    return f"hypothesis: repeat this run with --hypothesis-seed={seed}"
