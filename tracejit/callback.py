"""Python functions called from compiled code: `pure` ones, and those with effects."""

from .tracing.callbacks import ShapeDtype
from .tracing.callbacks import callback_io as io
from .tracing.callbacks import callback_pure as pure

__all__ = ["ShapeDtype", "io", "pure"]
