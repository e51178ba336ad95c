"""`checkpoint`: a function whose values the backward pass computes again.

Where a derivative will be taken, the function is traced at the call and becomes one
equation; what it reads, arguments and closures alike, becomes an operand. Elsewhere it
simply runs.
"""

import functools
from collections.abc import Callable
from typing import Any

from ..errors import TraceError
from ..ir.ops.custom import Save, checkpoint_name_p, checkpoint_p
from ..records import dataclass
from .bind import bind
from .composites import with_composites
from .inner import InnerTrace, argument_like, trace_inner, with_kind
from .source import user_line
from .trace import Role, current_trace
from .tracer import Tracer
from .tree import flatten, map_leaves, unflatten


@dataclass(frozen=True)
class Policy:
    """Which values of a checkpointed function the backward pass finds in memory.

    Parameters
    ----------
    save : tuple of (str, str)
        ``("all", "")``, or any number of ``("primitive", its name)`` and
        ``("name", as given to checkpoint_name)``. What effects give is always kept.
    """

    save: Save = ()

    def __or__(self, other: "Policy") -> "Policy":
        return Policy((*self.save, *other.save))


class CheckpointPolicies:
    """The policies there are, named as in JAX; ``a | b`` keeps what either keeps."""

    everything_saveable = Policy((("all", ""),))
    nothing_saveable = Policy()
    dots_saveable = Policy((("primitive", "dot_general"),))

    @staticmethod
    def save_only_these_names(*names: str) -> Policy:
        """Keep what `checkpoint_name` has given one of these names."""
        return Policy(tuple(("name", name) for name in names))


checkpoint_policies = CheckpointPolicies()


def checkpoint(
    fun: Callable[..., Any] | None = None,
    *,
    policy: Policy = CheckpointPolicies.nothing_saveable,
) -> Any:
    """Return a function that means `fun` and keeps nothing for its derivative.

    The backward pass computes the values of `fun` again, from its arguments, when the
    cotangents of its results are there: time for memory. Of n layers that keep a value
    each, in blocks of √n that are checkpointed, about 2 √n values live at once.

    Parameters
    ----------
    fun : callable
        NumPy code. What it closes over is kept like its arguments.
    policy : Policy
        What is kept all the same; see `tracejit.checkpoint_policies`.

    Returns
    -------
    callable

    Notes
    -----
    Gradients have the bits of those without, unless the pass `fma` makes another choice
    for values that fewer equations read.

    Examples
    --------
    >>> import numpy as np, tracejit as tj
    >>> layer = tj.checkpoint(lambda x: np.sin(np.sin(x)))
    >>> tj.grad(lambda x: layer(x))(0.0)
    np.float64(1.0)
    """
    if fun is None:
        return functools.partial(checkpoint, policy=policy)
    if not isinstance(policy, Policy):
        raise TypeError(
            f"policy is one of tracejit.checkpoint_policies, not {policy!r}"
        )

    @functools.wraps(fun)
    def checkpointed(*args: Any, **kwargs: Any) -> Any:
        trace = current_trace()
        if trace is None or not trace.derivatives:
            return fun(*args, **kwargs)
        operands, inner = _traced(fun, args, kwargs)
        graph = with_composites(inner.graph)
        operands = [*operands, *inner.captured]
        outs = bind(trace, checkpoint_p, operands, graph=graph, save=policy.save)
        pairs = zip(outs, inner.kinds, strict=True)
        return inner.rebuild([with_kind(x, k) for x, k in pairs])

    return checkpointed


def _traced(
    fun: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[list[Tracer], InnerTrace]:
    """Trace a call with its traced leaves as arguments; all others stay as they are."""
    leaves, spec = flatten((args, kwargs))
    places = [i for i, x in enumerate(leaves) if isinstance(x, Tracer)]
    operands: list[Any] = [leaves[i] for i in places]

    def call(inner: list[Any]) -> Any:
        full = list(leaves)
        for i, outer, x in zip(places, operands, inner, strict=True):
            x.home.origins[x.storage.atom] = outer
            full[i] = x
        new_args, new_kwargs = unflatten(spec, full)
        return fun(*new_args, **new_kwargs)

    arguments = [argument_like(x) for x in operands]
    name = getattr(fun, "__name__", "f")
    return operands, trace_inner(call, arguments, name, Role.WRAPPED)


def checkpoint_name(x: Any, name: str) -> Any:
    """Return `x`, whose leaves policies can keep by this name.

    Examples
    --------
    >>> checkpoint_name(1.5, "scores")
    1.5
    """
    if not name.isidentifier():
        raise TraceError(f"{name!r} is no name", source=user_line())

    def named(leaf: Any) -> Any:
        if not isinstance(leaf, Tracer):
            return leaf
        trace = current_trace()
        assert trace is not None
        value = trace.lift(leaf)
        known = value.shadow if value.is_known else None
        atom = trace.emit(checkpoint_name_p, value.read(), name=name)
        return trace.result(atom, known, kind=value.kind)

    return map_leaves(named, x)
