"""Functions that load their module with their first call.

Most programs use few of the families of functions that tables name, and loading a
module takes a third of a millisecond. A module that a single function needs is imported
in that function instead.
"""

from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import Any


def late(package: str, module: str, name: str) -> Callable[..., Any]:
    """Return a function of a module that is imported when it is called.

    Parameters
    ----------
    package, module : str
        Of a package, its module.
    name : str
        Of the function there.

    Examples
    --------
    >>> late("xml", "sax.saxutils", "escape")("a < b")
    'a &lt; b'
    """

    @cache
    def function() -> Callable[..., Any]:
        found: Callable[..., Any] = getattr(import_module(f"{package}.{module}"), name)
        return found

    return lambda *args, **kwargs: function()(*args, **kwargs)
