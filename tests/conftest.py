"""Every compiled function is verified, and has its native entry with the second call.

Code on disk is left alone: each test run compiles what it runs.

Hypothesis draws with a seed that is shown.

In CI it draws the same examples at each run, elsewhere new ones.
"""

import os
import secrets

import pytest
from hypothesis import settings

from tracejit import api
from tracejit import config as switches

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


def pytest_report_header(config: pytest.Config) -> str:
    """Print the seed that repeats this run."""
    seed = config.option.hypothesis_seed
    if seed is None:
        return "hypothesis: derandomized"
    return f"hypothesis: repeat this run with --hypothesis-seed={seed}"
