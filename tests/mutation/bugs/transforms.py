"""Bugs of derivatives and of batching: in the transforms, and in primitives' rules."""

from ..mutant import Mutant

TRANSFORMS = (
    Mutant(
        "cosine has the slope of sine",
        "ir/ops/elementwise.py",
        "(lambda b, g, z, x: b.emit(neg_p, b.emit(mul_p, g, b.emit(sin_p, x))),),",
        "(lambda b, g, z, x: b.emit(mul_p, g, b.emit(sin_p, x)),),",
    ),
    Mutant(
        "tanh has a slope of its operand",
        "ir/ops/elementwise.py",
        "(lambda b, g, z, x: b.emit(mul_p, g, _one_plus(b, z, -1)),),",
        "(lambda b, g, z, x: b.emit(mul_p, g, _one_plus(b, x, -1)),),",
    ),
    Mutant(
        "arctan2 by the wrong operand",
        "ir/ops/elementwise.py",
        "lambda b, g, z, y, x: _over_square_norm(b, g, x, y, b.emit(neg_p, y)),",
        "lambda b, g, z, y, x: _over_square_norm(b, g, x, y, b.emit(neg_p, x)),",
    ),
    Mutant(
        "select gives its cotangent to the other branch",
        "ir/ops/elementwise.py",
        "lambda b, g, z, c, x, y: b.emit(select_p, c, zero(b, g), g),",
        "lambda b, g, z, c, x, y: b.emit(select_p, c, g, zero(b, g)),",
    ),
    Mutant(
        "the slope of spence at one",
        "ir/ops/ufunc_partials.py",
        "b.emit(ew.select_p, at_one, b.literal(-1, x.aval.dtype), slope)",
        "b.emit(ew.select_p, at_one, b.literal(1, x.aval.dtype), slope)",
    ),
    Mutant(
        "the slope of erfc's inverse has the wrong sign",
        "ir/ops/ufunc_partials.py",
        '"erfcinv": lambda b, z, x: _inverse_gauss(b, z, -1.0)',
        '"erfcinv": lambda b, z, x: _inverse_gauss(b, z, 1.0)',
    ),
    Mutant(
        "a product's tangent counts its own factor",
        "ir/ops/reduce.py",
        "left = b.emit(cumprod_p, _shift(b, kept, axis, 1), axis=axis, reverse=False)",
        "left = b.emit(cumprod_p, kept, axis=axis, reverse=False)",
    ),
    Mutant(
        "ties of a maximum get the whole tangent",
        "ir/ops/reduce.py",
        "return (b.emit(div_p, picked, b.emit(reduce_sum_p, ones, axes=axes)),)",
        "return (picked,)",
    ),
    Mutant(
        "a cumulative sum is its own transpose",
        "ir/ops/reduce.py",
        'reverse=not params["reverse"]',
        'reverse=params["reverse"]',
    ),
    Mutant(
        "tangents of reversed cumulative products stay reversed",
        "ir/ops/reduce.py",
        "return (b.emit(rev_p, scan(b, x, t, axis), axes=(axis,)),)",
        "return (scan(b, x, t, axis),)",
    ),
    Mutant(
        "a transposition is its own transpose",
        "ir/ops/shape.py",
        'perm=inverse_permutation(ints(params, "perm"))),',
        'perm=ints(params, "perm")),',
    ),
    Mutant(
        "the transpose of a slice forgets its stride",
        "ir/ops/shape.py",
        "return (b.emit(update_slice_p, zeros, ct, start=start, stride=stride),)",
        "return (b.emit(update_slice_p, zeros, ct, start=start, "
        "stride=(1,) * zeros.aval.ndim),)",
    ),
    Mutant(
        "what was written over keeps its cotangent",
        "ir/ops/shape.py",
        "ct_x = b.emit(update_slice_p, ct, zeros, start=start, stride=stride)",
        "ct_x = ct",
    ),
    Mutant(
        "padding gives its value the whole cotangent",
        "ir/ops/shape.py",
        "ct_value = b.emit(reduce_sum_p, rim, axes=tuple(range(len(shape))))",
        "ct_value = b.emit(reduce_sum_p, ct, axes=tuple(range(len(shape))))",
    ),
    Mutant(
        "the pieces of a join all start at the first one",
        "ir/ops/shape.py",
        "        at += shape[axis]\n        stride = (1,) * len(shape)",
        "        stride = (1,) * len(shape)",
    ),
    Mutant(
        "padding by the values of one example",
        "ir/ops/shape.py",
        "values = b.emit(broadcast_in_dim_p, value, shape=shape, dims=(0,))",
        "values = b.emit(broadcast_in_dim_p, b.emit(slice_p, value, start=(0,), "
        "stop=(1,), stride=(1,)), shape=shape, dims=(0,))",
    ),
    Mutant(
        "a batched operand of one axis is spread along the last one",
        "ir/ops/shape.py",
        "operands.append(b.emit(broadcast_in_dim_p, x, shape=full, dims=(0,)))",
        "operands.append(b.emit(broadcast_in_dim_p, x, shape=full, dims="
        "(len(full) - 1 if full[-1] == full[0] else 0,)))",
    ),
    Mutant(
        "cotangents of products in the order of the other operand",
        "ir/ops/contract.py",
        "summed = tuple(contract[0][i] for i in order)",
        "summed = tuple(contract[0])",
    ),
    Mutant(
        "a batch of right operands stays where it is",
        "ir/ops/contract.py",
        "        at += len(free_axes(x.aval.ndim, summed[0], sides[0]))\n",
        "        at += len(free_axes(x.aval.ndim, summed[0], sides[0])) and 1\n",
    ),
    Mutant(
        "gathers add nothing where an index repeats",
        "ir/ops/indexing.py",
        'ct_x = b.emit(scatter_p, zeros, ct, *indices, **params, op="add")',
        'ct_x = b.emit(scatter_p, zeros, ct, *indices, **params, op="set")',
    ),
    Mutant(
        "updates that were overwritten get a cotangent",
        "ir/ops/indexing.py",
        "ct_updates = b.emit(select_p, won, ct_updates, zero(b, ct_updates))",
        "pass",
    ),
    Mutant(
        "batched gathers index the axes of one example",
        "ir/ops/indexing.py",
        'axes = tuple(a + 1 for a in ints(params, "axes"))',
        'axes = tuple(a + (a > 0) for a in ints(params, "axes"))',
    ),
    Mutant(
        "only the last cotangent of a value counts",
        "transforms/transpose.py",
        "found[x] = add_maybe(b, found.get(x), ct)",
        "found[x] = ct",
    ),
    Mutant(
        "cotangents of scalars are counted twice",
        "transforms/transpose.py",
        "return b.emit(reduce_sum_p, ct, axes=tuple(range(ct.aval.ndim)))",
        "ct = b.emit(reduce_sum_p, ct, axes=tuple(range(ct.aval.ndim)))\n"
        "    return add_maybe(b, ct, ct)",
    ),
    Mutant(
        "the transposes of branches are swapped",
        "transforms/transpose.py",
        "graphs = {k: _transpose_branch(eqn, k, n - 1, mask, known) for k in names}",
        "graphs = {k: _transpose_branch(eqn, j, n - 1, mask, known) "
        "for k, j in zip(names, names[::-1], strict=True)}",
    ),
    Mutant(
        "tangents of products leave one operand out",
        "transforms/linearize.py",
        "            total = add_maybe(b, total, part)\n    return total\n\n\n"
        "def add_maybe",
        "            total = part\n    return total\n\n\ndef add_maybe",
    ),
    Mutant(
        "residuals of the second branch are those of the first",
        "transforms/linearize.py",
        "_padded_tangent(y, active, operands, n),",
        "_padded_tangent(y, active, operands, "
        "0 if x.tangent.in_avals[:n] == y.tangent.in_avals[:n] else n),",
    ),
    Mutant(
        "a checkpoint repeats what must not run twice",
        "transforms/linearize.py",
        "if eqn.effects - {Effect.CHECK} or not eqn.outvars:",
        "if not eqn.outvars:",
    ),
    Mutant(
        "calls are differentiated for the first mask only",
        "transforms/linearize.py",
        "    key = graph, mask, save\n",
        "    key = graph, (True,) * len(mask), save\n",
    ),
    Mutant(
        "the transpose of a loop runs forwards",
        "transforms/loops.py",
        "        not p.reverse,\n",
        "        p.reverse,\n",
    ),
    Mutant(
        "carries become active at the first turn or never",
        "transforms/loops.py",
        "        grown = tuple(a or c for a, c in rows)\n"
        "        if grown == carries:\n            return joint, carries",
        "        grown = carries if any(carries) else tuple(a or c for a, c in rows)\n"
        "        if grown == carries:\n            return joint, carries",
    ),
    Mutant(
        "cotangents of a loop's constants are those of its last turn",
        "transforms/loops.py",
        "totals = [add_maybe(b, x, y) for x, y in zip(sums, found[:n], strict=True)]",
        "totals = list(found[:n])",
    ),
    Mutant(
        "slices of a batched loop keep the batch in front",
        "transforms/vmap.py",
        "stacks = [_exchanged(b, y, m) for y, m in zip(ys, ys_mask, strict=True)]",
        "stacks = [y if y.aval.ndim > 1 and y.aval.shape[0] == y.aval.shape[1] "
        "else _exchanged(b, y, m) for y, m in zip(ys, ys_mask, strict=True)]",
    ),
    Mutant(
        "examples that are done go on",
        "transforms/vmap.py",
        "after += batch_elementwise(b, select_p, [going, x, y], [True, m, True], {})",
        "after.append(x if m else spread(b, x, state.size))",
    ),
    Mutant(
        "the branches of a batched condition are swapped",
        "transforms/vmap.py",
        "outs += batch_elementwise(b, select_p, [pred, x, y], "
        "[True, has_x, has_y], {})",
        "outs += batch_elementwise(b, select_p, [pred, y, x], "
        "[True, has_y, has_x], {})",
    ),
    Mutant(
        "inactive examples may raise",
        "transforms/vmap.py",
        "    gather_p: (lambda n: range(1, n), _zero),\n",
        "    gather_p: (lambda n: range(0), _zero),\n",
    ),
    Mutant(
        "branches that are not taken meet infinities",
        "transforms/vmap.py",
        "both = [taken, x, b.emit(stop_gradient_p, x)]",
        "both = [taken, x, x]",
    ),
    Mutant(
        "softmax's tangent forgets the total",
        "transforms/composites.py",
        "return [b.emit(mul_p, y, b.emit(sub_p, t, total))]",
        "return [b.emit(mul_p, y, t)]",
    ),
    Mutant(
        "variance divides by the count, whatever the freedom",
        "transforms/composites.py",
        "return float(_count(x, params) - ddof)",
        "return float(_count(x, params))",
    ),
    Mutant(
        "negative indices of picks are out of range",
        "transforms/composites.py",
        "return b.emit(select_p, b.emit(lt_p, index, 0), wrapped, index)",
        "return index",
    ),
    Mutant(
        "separated branches share the first one's residuals",
        "transforms/separate.py",
        '"on_false": _after(second, [*unread[0], *second.residuals]),',
        '"on_false": _after(second, [*second.residuals, *unread[0]]),',
    ),
    Mutant(
        "a turn keeps twice what it needs twice",
        "transforms/residuals.py",
        "pending, seen = list(wanted), set(wanted)",
        "pending, seen = list(wanted), set[Var]()",
    ),
    Mutant(
        "cotangents of windows are moved from the last place on",
        "ir/ops/shape.py",
        "_padded(b, reshape(b, one, tuple(shape)), axis, place, size - 1 - place)",
        "_padded(b, reshape(b, one, tuple(shape)), axis, size - 1 - place, place)",
    ),
    Mutant(
        "cotangents of long windows move on too early",
        "ir/ops/shape.py",
        "    wide = _padded(b, rows, last, 0, size)\n",
        "    wide = _padded(b, rows, last, size, 0)\n",
    ),
)
