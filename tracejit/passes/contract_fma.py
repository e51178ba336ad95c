"""Make fused multiply-adds explicit, so that rounding is fixed before fusion.

Only where the product has no other use, and never where the addend is itself a product
(or a negated one): which of two products is rounded must not depend on the order of
operands, and ``a*a - a*a`` must be 0. So too, where the target does, along axes.

Before → after::

    %0: f32[3] = mul %x, %y
    %1: f32[3] = add %0, %z
    ---
    %1: f32[3] = fma %x, %y, %z

    %0: f32[3] = mul %x, %y
    %1: f32[] = reduce_sum %0 {axes=(0)}
    ---
    %1: f32[] = sum_products %x, %y {axes=(0)}
"""

from collections import Counter

from ..ir import dtypes as dt
from ..ir.graph import Atom, Eqn, Graph, Literal, Var
from ..ir.ops.elementwise import add_p, fma_p, mul_p, neg_p, sub_p
from ..ir.ops.reduce import reduce_sum_p, sum_products_p
from ..ir.primitive import Primitive
from .manager import PassContext, on_all_graphs

DTYPES = (dt.FLOAT32, dt.FLOAT64)
_SUMS = frozenset({add_p, sub_p})


def contract_fma(graph: Graph, context: PassContext, along_axes: bool = False) -> Graph:
    """Rewrite ``mul`` feeding one ``add`` or ``sub`` to ``fma``, in sub-graphs too.

    If sums `along_axes` are meant too, ``reduce_sum`` of one to ``sum_products``.
    """
    sums = _SUMS | {reduce_sum_p} if along_axes else _SUMS
    return on_all_graphs(graph, lambda g: _contract(g, context, sums))


def _contract(graph: Graph, context: PassContext, sums: frozenset[Primitive]) -> Graph:
    uses = Counter(x for e in graph.eqns for x in e.invars if isinstance(x, Var))
    uses.update(x for x in graph.outvars if isinstance(x, Var))
    products: dict[Var, Eqn] = {}
    eqns: list[Eqn] = []
    dropped: set[Eqn] = set()
    for eqn in graph.eqns:
        if _is_product(eqn, products):
            products[eqn.outvars[0]] = eqn
        is_sum = eqn.primitive in sums
        product = _contractible(eqn, products, uses) if is_sum else None
        if product is None or not context.may_fire("contract_fma"):
            eqns.append(eqn)
            continue
        context.stats.fired["contract_fma"] += 1
        dropped.add(product)
        eqns.extend(_contracted(eqn, product))
    if not dropped:
        return graph
    kept = [e for e in eqns if e not in dropped]
    return Graph(graph.name, graph.invars, graph.outvars, kept)


def _is_product(eqn: Eqn, products: dict[Var, Eqn]) -> bool:
    """Tell whether `eqn` gives a product, perhaps negated."""
    if eqn.primitive is neg_p:
        return eqn.invars[0] in products
    return eqn.primitive is mul_p and eqn.outvars[0].aval.dtype in DTYPES


def _contractible(eqn: Eqn, products: dict[Var, Eqn], uses: Counter[Var]) -> Eqn | None:
    """Return the product to fuse into a sum, if there is just one candidate."""
    found = [products[x] for x in eqn.invars if isinstance(x, Var) and x in products]
    if len(found) != 1:
        return None
    product = found[0]
    if product.primitive is not mul_p or uses[product.outvars[0]] != 1:
        return None
    # A scalar product is computed once, not for each element of the sum.
    along = eqn.outvars if eqn.primitive in _SUMS else product.invars
    shape = product.outvars[0].aval.shape
    return product if all(v.aval.shape == shape for v in along) else None


def _contracted(eqn: Eqn, product: Eqn) -> list[Eqn]:
    """x·y + z, x·y - z and z - x·y as fma, negating (which is exact) where needed.

    Σ x·y as a sum of products.
    """
    x, y = product.invars
    is_first = eqn.invars[0] is product.outvars[0]
    source = tuple(dict.fromkeys((*product.source, *eqn.source)))
    if eqn.primitive is reduce_sum_p:
        return [Eqn(sum_products_p, (x, y), eqn.params, eqn.outvars, source)]
    z = eqn.invars[1] if is_first else eqn.invars[0]
    before: list[Eqn] = []
    if eqn.primitive is sub_p and is_first:
        z = _negated(z, before, source)
    elif eqn.primitive is sub_p:
        if isinstance(y, Literal):
            y = _negated(y, before, source)
        else:
            x = _negated(x, before, source)
    return [*before, Eqn(fma_p, (x, y, z), {}, eqn.outvars, source)]


def _negated(x: Atom, before: list[Eqn], source: tuple[str, ...]) -> Atom:
    if isinstance(x, Literal):
        return Literal(-x.value, x.aval.dtype)
    out = Var(x.aval)
    before.append(Eqn(neg_p, (x,), {}, (out,), source))
    return out
