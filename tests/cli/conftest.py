"""Commands import files of users: no test leaves them, or their folders, behind."""

import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.fixture(autouse=True)
def forgets_users_modules(tmp_path_factory, monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path])
    before = {*sys.modules}
    folders = str(tmp_path_factory.getbasetemp()), str(HERE)
    yield
    for name in {*sys.modules} - before:
        file = getattr(sys.modules[name], "__file__", None) or ""
        if file.startswith(folders) and not name.startswith("tests."):
            del sys.modules[name]
