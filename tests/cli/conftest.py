"""Commands import files of users: no test leaves them, or their folders, behind.

Nor their names: lines of a second file of a name have more of its path.
"""

import sys
from pathlib import Path

import pytest

from tracejit.tracing import source

HERE = Path(__file__).parent


@pytest.fixture(autouse=True)
def forgets_users_modules(tmp_path_factory, monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(source, "_PATHS", {})
    source._name_of.cache_clear()
    source._shown.cache_clear()
    before = {*sys.modules}
    folders = str(tmp_path_factory.getbasetemp()), str(HERE)
    yield
    for name in {*sys.modules} - before:
        file = getattr(sys.modules[name], "__file__", None) or ""
        if file.startswith(folders) and not name.startswith("tests."):
            del sys.modules[name]
