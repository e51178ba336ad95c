"""Plants one bug at import: in this process, and in those that it starts.

Python imports this module as it starts where its folder is on the path. The bug is
named by ``TRACEJIT_MUTANT``: a JSON text of the module, its file, and the edit. The
file itself stays as it is, and no byte code is kept.
"""

import importlib.machinery
import importlib.util
import json
import os
import sys
from types import CodeType


class _Edited(importlib.machinery.SourceFileLoader):
    """Loads a module from its text with the edit."""

    def __init__(self, module: str, file: str, find: str, replace: str) -> None:
        super().__init__(module, file)
        self.edit = find, replace

    def get_code(self, fullname: str) -> CodeType:
        text = self.get_data(self.path).decode("utf-8")
        if text.count(self.edit[0]) != 1:
            raise ImportError(f"{self.path} has not the text {self.edit[0]!r} once")
        text = text.replace(*self.edit)
        return compile(text, self.path, "exec", dont_inherit=True)


class _Finder:
    """Finds the edited module, before anyone else does."""

    def __init__(self, module: str, file: str, find: str, replace: str) -> None:
        self.module = module
        self.loader = _Edited(module, file, find, replace)

    def find_spec(self, name, path=None, target=None):
        """Return the spec of the edited module, None for all others."""
        if name != self.module:
            return None
        return importlib.util.spec_from_file_location(
            name, self.loader.path, loader=self.loader
        )


if "TRACEJIT_MUTANT" in os.environ:
    sys.meta_path.insert(0, _Finder(**json.loads(os.environ["TRACEJIT_MUTANT"])))
