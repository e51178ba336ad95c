"""Bugs of kernels, schedules, Programs and memory plans."""

from ..mutant import Mutant

PIECES = f"""graph @f(%x: f32[64], %y: f32[64]) -> (f32[1024]) {{
  %0: f32[1024] = concatenate {", ".join(["%x, %y"] * 8)} {{axis=0}}
  return %0
}}"""
TURNED_CARRY = """graph @f(%m: f32[3,3]) -> (f32[3,3]) {
  %0: f32[3,3] = scan %m {body=graph @body(%0: f32[3,3]) -> (f32[3,3]) {
      %1: f32[3,3] = transpose %0 {perm=(1, 0)}
      return %1
    }, length=3, reverse=false, consts=0, carries=1, unroll=1}
  return %0
}"""
REVERSED = """graph @f(%x: f32[3,4]) -> (f32[3,4]) {
  %0: f32[3,4] = rev %x {axes=(0, 1)}
  %1: f32[3,4] = sort %0 {axis=0}
  return %1
}"""
PARTS = """graph @f(%z: c64[5]) -> (f32[5]) {
  %0: f32[5] = imag %z
  %1: f32[5] = sort %0 {axis=0}
  return %1
}"""
ROWS_APART = """graph @f(%x: i64[6,4]) -> (i64[1,2]) {
  %0: i64[4,6] = reshape %x {shape=(4, 6)}
  %1: i64[1,2] = slice %0 {start=(2, 2), stop=(4, 6), stride=(2, 2)}
  %2: i64[1,2] = neg %1
  return %2
}"""
ROWS_BACKWARDS = """graph @f(%x: i64[2,3,4]) -> (i64[7]) {
  %0: i64[24] = reshape %x {shape=(24)}
  %1: i64[24] = rev %0 {axes=(0)}
  %2: i64[7] = slice %1 {start=(10), stop=(24), stride=(2)}
  %3: i64[7] = neg %2
  return %3
}"""
PROGRAMS = (
    Mutant(
        "plan: a buffer dies one step early",
        "program/plan.py",
        "                life.last = i\n",
        "                life.last = max(life.first, i - 1)\n",
        "plan",
    ),
    Mutant(
        "plan: sizes are not rounded up to whole lines",
        "program/plan.py",
        "return -(-max(nbytes, 1) // ALIGNMENT) * ALIGNMENT",
        "return max(nbytes // ALIGNMENT, 1) * ALIGNMENT",
        "plan",
    ),
    Mutant(
        "plan: what aliases touch is free",
        "program/plan.py",
        "if buffer.storage is Storage.ALIAS and buffer.base is not None:",
        "if buffer.storage is Storage.ALIAS and buffer.base is None:",
        "plan",
    ),
    Mutant(
        "plan: gaps end too late",
        "program/plan.py",
        "and ranges.starts[k] < at + size:",
        "and ranges.starts[k] < at + size - 64:",
        "plan",
    ),
    Mutant(
        "plan: joined ranges forget their end",
        "program/plan.py",
        "stop = max(stop, self.stops[last - 1])",
        "stop = max(stop, self.stops[first])",
        "plan",
    ),
    Mutant(
        "donate: what was spoiled may be read",
        "program/donate.py",
        "            if any(_may_meet(placed, a, b) for a in reads for b in spoiled):\n"
        "                return False\n",
        "",
    ),
    Mutant(
        "donate: parts that meet at one end are apart",
        "program/donate.py",
        "return a < d and c < b",
        "return a < d - 8 and c < b - 8",
    ),
    Mutant(
        "donate: a call that fails loses its input",
        "program/donate.py",
        "if writes and not is_lost and self.failing >= i:",
        "if writes and not is_lost and self.failing > i + 1:",
    ),
    Mutant(
        "carries: in place though it is read afterwards",
        "program/carries.py",
        "            if is_written and host in names:\n                return False\n",
        "",
        "carries",
    ),
    Mutant(
        "carries: turns that are left over run last",
        "program/carries.py",
        "place = _Place(loop.name, rest + i, order if is_loop else 0)",
        "place = _Place(loop.name, i, order if is_loop else 0)",
        "carries",
    ),
    Mutant(
        "carries: copies one after the other",
        "program/carries.py",
        "Copy(kept.get(x, x), to, purpose=Purpose.CARRY)",
        "Copy(x, to, purpose=Purpose.CARRY)",
        "carries",
    ),
    Mutant(
        "carries: unrolled aliases move as before",
        "program/carries.py",
        "moves.append(Move(place.loop, place.every * move.step))",
        "moves.append(Move(place.loop, move.step))",
        "carries",
    ),
    Mutant(
        "merging: kernels pass what they read",
        "program/horizontal.py",
        "return bool(mine & wrote or written & self._names(early.inputs))",
        "return bool(mine & wrote)",
        "merge",
    ),
    Mutant(
        "merging: results of the last kernel come first",
        "program/horizontal.py",
        "outputs = tuple(b for r in runs for b in r.outputs)",
        "outputs = tuple(b for r in reversed(runs) for b in r.outputs)",
        "merge",
    ),
    Mutant(
        "pieces: each begins where the one before begins",
        "program/pieces.py",
        "        yield x, at * strides[axis]\n        at += x.aval.shape[axis]",
        "        yield x, at * strides[axis]\n        at += x.aval.shape[axis] - (at > 64)",
        "lower",
        PIECES,
    ),
    Mutant(
        "lower: aliases of aliases forget the first offset",
        "program/lower.py",
        "        if source.storage is Storage.ALIAS:\n            offset += source.offset\n",
        "",
        "lower",
    ),
    Mutant(
        "lower: a reversed view begins at its first element",
        "program/lower.py",
        "offset = sum((shape[d] - 1) * strides[d] for d in moved)",
        "offset = sum((shape[d] - 1) * strides[d] for d in moved[:1])",
        "lower",
        REVERSED,
    ),
    Mutant(
        "lower: reshapes of memory that is not contiguous",
        "program/lower.py",
        "    if 0 in shape or tuple(s for _, s in real) == dense:",
        "    if 0 in shape or tuple(s for _, s in real)[-1:] == dense[-1:]:",
        "lower",
    ),
    Mutant(
        "lower: carries are copied one by one",
        "program/lower.py",
        "if home is not carry and (home.base or home.name) in roots:",
        "if home is carry and (home.base or home.name) in roots:",
        "lower",
        TURNED_CARRY,
    ),
    Mutant(
        "lower: reversed loops begin at the first slice",
        "program/lower.py",
        "offset=offset + (step * (p.length - 1) if p.reverse else 0),",
        "offset=offset,",
        "lower",
    ),
    Mutant(
        "lower: imaginary parts lie before the real ones",
        "program/lower.py",
        "offset=2 * offset + k,",
        "offset=2 * offset + 1 - k,",
        "lower",
        PARTS,
    ),
    Mutant(
        "lower: the test of a while is not asked again",
        "program/lower.py",
        "self.steps.append(While(predicate.name, test, steps, eqn.source))",
        "self.steps.extend(test)\n        "
        "self.steps.append(While(predicate.name, (), steps, eqn.source))",
        "lower",
    ),
    Mutant(
        "lower: kernels of other strides are taken for equal",
        "program/lower.py",
        "key = (structure_of(graph), space, in_strides, out_strides)",
        "key = (structure_of(graph), space, out_strides)",
        "lower",
    ),
    Mutant(
        "lower: a part of a result is not copied there",
        "program/lower.py",
        "        self.copy(self.operand(x), place, Purpose.WHOLE)\n",
        "",
        "lower",
    ),
    Mutant(
        "lower: a transposed result is written in place as it is computed",
        "program/lower.py",
        "    return moved == sorted(moved)\n",
        "    return True\n",
        "lower",
    ),
    Mutant(
        "kernels: a value is the same wherever bounds hold",
        "kernels/lower.py",
        "            if (y, here, bounds) not in self.values:\n",
        "            bounds = ()\n            if (y, here, bounds) not in self.values:\n",
        "lower",
    ),
    Mutant(
        "kernels: reversed turns count up",
        "kernels/lower.py",
        "index += p.length - 1 if p.reverse else 0",
        "index += p.length if p.reverse else 0",
        "lower",
    ),
    Mutant(
        "kernels: operands of products are summed along the product's own axes",
        "kernels/lower.py",
        "is_own = shape == self.space.shape and not (self.in_product or is_operand)",
        "is_own = shape == self.space.shape",
        "lower",
    ),
    Mutant(
        "kernels: a reversed axis ends one too far",
        "kernels/views.py",
        "i * -1 + (n - 1) if d in axes else i",
        "i * -1 + n if d in axes else i",
        "lower",
    ),
    Mutant(
        "kernels: a transposed view is its own inverse",
        "kernels/views.py",
        "            out[p] = at[d]\n",
        "            out[d] = at[p]\n",
        "lower",
    ),
    Mutant(
        "kernels: remainders are dropped too early",
        "kernels/views.py",
        "        if low >= 0 and high < atom.divisor:\n            return atom.inner",
        "        if low >= 0 and high <= atom.divisor:\n            return atom.inner",
        "lower",
        ROWS_BACKWARDS,
    ),
    Mutant(
        "kernels: divisions are constants of their start",
        "kernels/views.py",
        "if low // atom.divisor == high // atom.divisor:",
        "if low // atom.divisor == (high - 1) // atom.divisor:",
        "lower",
        ROWS_APART,
    ),
    Mutant(
        "kernels: linear positions without the inner extent",
        "kernels/views.py",
        "total = total * n + index",
        "total = total * (n if len(shape) < 3 else shape[-1]) + index",
        "lower",
    ),
    Mutant(
        "kernels: sums may write over what they read",
        "kernels/in_place.py",
        "        if isinstance(op, Reduce):\n            return False\n",
        '        if isinstance(op, Reduce) and op.op != "add":\n'
        "            return False\n",
    ),
    Mutant(
        "kernels: in place though the operand has bounds",
        "kernels/in_place.py",
        "            is_there &= not (op.check or op.bounds)\n",
        "",
    ),
    Mutant(
        "kernels: in place over what a product reads",
        "kernels/in_place.py",
        "return source not in {op.buffer for op in _loads_for(kernel, products[0])}",
        "return True",
    ),
    Mutant(
        "kernels: axes are joined whatever their order",
        "kernels/joining.py",
        "return steps[outer] == steps[inner] * extent",
        "return steps[outer] * steps[inner] == 0 or steps[outer] == "
        "steps[inner] * extent",
        "code",
    ),
    Mutant(
        "kernels: sums join axes that lie apart",
        "kernels/joining.py",
        "return (outer, inner) in list(zip(op.axes, op.axes[1:], strict=False))",
        "return {outer, inner} <= set(op.axes)",
        "code",
    ),
    Mutant(
        "schedules: sums outside of what their results run along",
        "kernels/schedules.py",
        "                before[a] |= op.result.axes\n",
        "                before[a] |= set()\n",
        "code",
    ),
    Mutant(
        "schedules: blocks that do not divide a row",
        "kernels/schedules.py",
        "return next((n for n in lengths if extent % n == 0), None)",
        "return next((n for n in lengths if extent % n in (0, 1)), None)",
        "blocks",
    ),
    Mutant(
        "schedules: rows are kept that are not computed yet",
        "kernels/schedules.py",
        "phase[op.result.name] = here + 1 if done else here",
        "phase[op.result.name] = here",
        "code",
    ),
    Mutant(
        "the summation tree adds leaves one after the other",
        "kernels/tree.py",
        "while stack and stack[-1][0] == level:",
        "while stack and stack[-1][0] >= level:",
    ),
    Mutant(
        "the summation tree folds lanes that are neighbours",
        "kernels/tree.py",
        "lanes = lanes[..., :width] + lanes[..., width : 2 * width]",
        "lanes = lanes[..., ::2] + lanes[..., 1::2]",
    ),
    Mutant(
        "digits of an axis have one another's steps",
        "kernels/splitting.py",
        "    for name, step in zip(digits, (*reversed(steps), 1), strict=True):\n",
        "    for name, step in zip(digits, (*steps, 1), strict=True):\n",
        "lower",
    ),
    Mutant(
        "axes are split where one divisor does not divide the next",
        "kernels/splitting.py",
        "    return all(b % a == 0 for a, b in pairwise(steps))\n",
        "    return all(steps)\n",
        "lower",
    ),
)
