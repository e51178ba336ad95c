"""The command line as a module."""

import subprocess
import sys

import tracejit as tj


def test_module_is_the_command():
    words = [sys.executable, "-W", "error", "-m", "tracejit", "--version"]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"tracejit, version {tj.__version__}"
