"""Bugs of the emitters of LLVM text."""

from ..mutant import Mutant

LLVM = (
    Mutant(
        "a maximum of integers starts at zero",
        "codegen/llvm/reduce.py",
        "return -(1 << register_bits(dtype) - 1) if is_signed(dtype) else 0",
        "return 0",
    ),
    Mutant(
        "products start at zero lanes of one",
        "codegen/llvm/reduce.py",
        '        if op == "mul":\n            return 1\n',
        '        if op == "mul":\n            return 0\n',
    ),
    Mutant(
        "folds ignore the mask of the last vector",
        "codegen/llvm/reduce.py",
        "        new = self._combine(old, value, lanes)\n"
        "        self.regs[unit] = type_, select(self.em, mask, type_, lanes, new, old)",
        "        new = self._combine(old, value, lanes)\n"
        "        self.regs[unit] = type_, new",
    ),
    Mutant(
        "the upper half of a vector is its lower one",
        "codegen/llvm/reduce.py",
        "    for start in (0, half):\n",
        "    for start in (0, 0):\n",
    ),
    Mutant(
        "parts of a reduction lie one after the other",
        "codegen/llvm/reduce.py",
        'part = self.em.gep("i8", at, multiply(self.em, loop.index, stride))',
        'part = self.em.gep("i8", at, 0)',
    ),
    Mutant(
        "sums: the newer leaf on the left",
        "codegen/llvm/treesum.py",
        "            em.store(self.type, self._add(old, new), at, self.size)\n"
        "            loop.yield_([])\n        return lower",
        "            em.store(self.type, new, at, self.size)\n"
        "            loop.yield_([])\n        return lower",
    ),
    Mutant(
        "sums: masked lanes add their memory",
        "codegen/llvm/treesum.py",
        "value = select(self.em, mask, self.type, self.shape.lanes, value, zeros)",
        "value = value or zeros",
    ),
    Mutant(
        "sums: leaves merge once too seldom",
        "codegen/llvm/treesum.py",
        "times: Index = ((leaf + 1) & ~leaf).bit_length() - 1",
        "times: Index = ((leaf + 1) & ~leaf).bit_length() - 1 & 1",
    ),
    Mutant(
        "sums: of nothing are negative zero",
        "codegen/llvm/treesum.py",
        "return [constant(self.element, 0.0, lanes)] * units",
        "return [constant(self.element, -0.0, lanes)] * units",
    ),
    Mutant(
        "sums: rows that are left are not folded",
        "codegen/llvm/treesum.py",
        "            if have > half:\n",
        "            if have > half + 1:\n",
    ),
    Mutant(
        "products: the last panel of k adds nothing to C",
        "codegen/llvm/gemm/driver.py",
        'more = "true" if whole or self.form.adds else "false"',
        'more = "true" if self.form.adds else "false"',
    ),
    Mutant(
        "products: the tail of columns is a whole vector",
        "codegen/llvm/gemm/driver.py",
        "tile = Tile(count, vectors, columns % self.lanes)",
        "tile = Tile(count, vectors, 0)",
    ),
    Mutant(
        "products: packed rows begin at the panel",
        "codegen/llvm/gemm/driver.py",
        "packed = self._packed_row_zero(loop.index)",
        "packed = self._packed_row_zero(0)",
    ),
    Mutant(
        "products: all batches are the first",
        "codegen/llvm/gemm/driver.py",
        "limits = (0, extent) if level else self._range(Split.BATCH)",
        "limits = (0, 1) if level else self._range(Split.BATCH)",
    ),
    Mutant(
        "micro-kernel: rows of C from the wrong stride",
        "codegen/llvm/gemm/micro.py",
        "rows.append(self._at(rows[-1], self.operands.c_row))",
        "rows.append(self._at(rows[-1], self.operands.b_row))",
    ),
    Mutant(
        "micro-kernel: the last vector is stored whole",
        "codegen/llvm/gemm/micro.py",
        "        if vector < self.tile.vectors - 1 or not self.tile.tail:\n",
        "        if self.tile.vectors > 1 or not self.tile.tail:\n",
    ),
    Mutant(
        "packing: the rest of a row is dropped",
        "codegen/llvm/gemm/packing.py",
        "        if isinstance(rest, int):\n            if rest:\n",
        "        if isinstance(rest, int):\n            if rest > 1:\n",
    ),
    Mutant(
        "packing: transposed squares leave out the last rows",
        "codegen/llvm/gemm/packing.py",
        "            self._squares(source, to, whole, depth - whole, columns)",
        "            self._squares(source, to, whole, depth - whole - 1, columns)",
    ),
    Mutant(
        "elementwise: the second NaN wins",
        "codegen/llvm/elementwise.py",
        '        is_nan = x.op("fcmp uno", a, a)\n'
        "        return x.select(is_nan, a, x.select(wins, a, b))",
        "        return x.select(wins, a, b)",
    ),
    Mutant(
        "elementwise: floor of what is behind",
        "codegen/llvm/elementwise.py",
        'signs = x.both("xor", x.op("fcmp olt", b, zero), x.op("fcmp olt", mod, zero))',
        'signs = x.both("or", x.op("fcmp olt", b, zero), x.op("fcmp olt", mod, zero))',
    ),
    Mutant(
        "elementwise: infinities are finite",
        "codegen/llvm/elementwise.py",
        'return x.op("fcmp olt", x.call("llvm.fabs", a), x.const(float("inf")))',
        'return x.op("fcmp ole", x.call("llvm.fabs", a), x.const(float("inf")))',
    ),
    Mutant(
        "elementwise: products of narrow floats keep their width",
        "codegen/llvm/elementwise.py",
        "return result if exact else rounded(em, dtype, result, lanes)",
        "return result",
    ),
    Mutant(
        "convert: unsigned numbers are signed",
        "codegen/llvm/convert.py",
        'op = "sext" if is_signed(source) else "zext"',
        'op = "sext"',
    ),
    Mutant(
        "convert: unsigned numbers become negative floats",
        "codegen/llvm/convert.py",
        'op = "sitofp" if is_signed(source) else "uitofp"',
        'op = "sitofp"',
    ),
    Mutant(
        "convert: two roundings to half precision",
        "codegen/llvm/convert.py",
        'if before == "double" and to == FLOAT16:',
        'if before == "half" and to == FLOAT16:',
    ),
    Mutant(
        "memory: loads of reversed rows are not turned",
        "codegen/llvm/memory.py",
        "return self._reversed(type_, em.load(type_, first, align), lanes)",
        "return em.load(type_, first, align)",
    ),
    Mutant(
        "memory: picks of elements that lie apart",
        "codegen/llvm/memory.py",
        "if start <= k * stride < start + lanes",
        "if start < k * stride < start + lanes",
    ),
    Mutant(
        "memory: bounds let one element too many in",
        "codegen/llvm/memory.py",
        "limit = constant(element, bound.extent, lanes)",
        "limit = constant(element, bound.extent + 1, lanes)",
    ),
    Mutant(
        "memory: negative indices do not wrap",
        "codegen/llvm/memory.py",
        'wrapped = em.op(f"select {bits} {negative}, {type_} {moved}, {type_} {index}")',
        'wrapped = em.op(f"select {bits} {negative}, {type_} {index}, {type_} {index}")',
    ),
    Mutant(
        "memory: clamped indices reach one too far",
        "codegen/llvm/memory.py",
        'last = constant("i64", max(checked.extent - 1, 0), lanes)',
        'last = constant("i64", max(checked.extent, 0), lanes)',
    ),
    Mutant(
        "jobs: the first error is that of the last piece",
        "codegen/llvm/jobs.py",
        'earlier = em.op(f"icmp slt i64 {piece}, {first}")',
        'earlier = em.op(f"icmp sgt i64 {piece}, {0 if first == str(2**63 - 1) '
        'else first}")',
    ),
    Mutant(
        "jobs: ranges begin before the last quantum",
        "codegen/llvm/jobs.py",
        'unit = em.op(f"udiv i64 {multiply(em, piece, units)}, {pieces}")',
        'unit = em.op(f"udiv i64 {multiply(em, piece, units - 1)}, {pieces}")',
    ),
    Mutant(
        "cumulative: reversed chunks keep their order",
        "codegen/llvm/steps/cumulative.py",
        'return self._shuffled(value, "poison", list(reversed(range(CHUNK))))',
        "return value",
    ),
    Mutant(
        "cumulative: what is before a leaf is forgotten",
        "codegen/llvm/steps/cumulative.py",
        "loop.yield_([self._combined(before, total)])",
        "loop.yield_([total])",
    ),
    Mutant(
        "cumulative: maxima begin at zero",
        "codegen/llvm/steps/cumulative.py",
        "return -np.inf if is_max else np.inf",
        "return 0.0",
    ),
    Mutant(
        "vmath: the logarithm drops its low part",
        "codegen/llvm/vmath/logarithm.py",
        "return v.add(sum_, v.add(rest, v.fma(s.e, unit_low, low)))",
        "return v.add(sum_, v.add(rest, low))",
    ),
    Mutant(
        "vmath: the logarithm of subnormals",
        "codegen/llvm/vmath/logarithm.py",
        "least = float(v.bias - 1 + v.mantissa)",
        "least = float(v.bias + v.mantissa)",
    ),
    Mutant(
        "vmath: log1p takes its error from the smaller side",
        "codegen/llvm/vmath/logarithm.py",
        "error = v.select(small, v.sub(inner, back), v.sub(1.0, v.sub(u, inner)))",
        "error = v.sub(inner, back)",
    ),
    Mutant(
        "vmath: exp forgets the low part of ln 2",
        "codegen/llvm/vmath/exponential.py",
        "    r = v.fma(n, -low, v.fma(n, -high, bounded))\n",
        "    r = v.fma(n, -high, bounded)\n",
    ),
    Mutant(
        "vmath: tanh is one too early",
        "codegen/llvm/vmath/exponential.py",
        '_TANH_ONE = {"f32": 9.1, "f64": 19.1}',
        '_TANH_ONE = {"f32": 8.1, "f64": 17.1}',
    ),
    Mutant(
        "vmath: the logistic function of negative numbers",
        "codegen/llvm/vmath/exponential.py",
        "scaled = v.scale(result, v.int_select(negative, reduced.exponent, 0))",
        "scaled = v.scale(result, v.int_select(negative, 0, 0))",
    ),
)
