"""Bugs of tracing: what NumPy means, recorded wrongly."""

from ..mutant import Mutant

TRACING = (
    Mutant(
        "slices backwards begin at their end",
        "tracing/indexing.py",
        "return start + (count - 1) * step, -step, count, True",
        "return start, -step, count, True",
    ),
    Mutant(
        "negative positions count from the last but one",
        "tracing/indexing.py",
        "row = (item + n if item < 0 else item, 1, 1, False)",
        "row = (item + n - 1 if item < -1 else item + n if item < 0 else item, 1, 1, "
        "False)",
    ),
    Mutant(
        "arrays of indices that lie apart give their axes in place",
        "tracing/indexing.py",
        "at_ = axes[0] if _are_adjacent(expanded) else 0",
        "at_ = axes[0]",
    ),
    Mutant(
        "narrow indices wrap around their dtype",
        "tracing/indexing.py",
        "wide = np.asarray(index.shadow).astype(np.int64)",
        "wide = np.asarray(index.shadow)",
    ),
    Mutant(
        "writes through a transposed view keep its axes",
        "tracing/views.py",
        "return b.emit(transpose_p, view, perm=inverse_permutation(self.perm))",
        "return b.emit(transpose_p, view, perm=self.perm)",
    ),
    Mutant(
        "writes through a reversed view are not turned",
        "tracing/views.py",
        "        x = reshape(b, view, self.count)\n        if self.reversed:\n"
        "            x = b.emit(rev_p, x, axes=self.reversed)\n",
        "        x = reshape(b, view, self.count)\n",
    ),
    Mutant(
        "writes to real parts clear the imaginary ones",
        "tracing/views.py",
        "return b.emit(complex_p, view, b.emit(imag_p, base))",
        "return b.emit(complex_p, view, b.emit(real_p, base))",
    ),
    Mutant(
        "Python's powers of negative exponents stay integers",
        "tracing/python_scalars.py",
        "return not isinstance(x, int) or x < 0",
        "return not isinstance(x, int) and False",
    ),
    Mutant(
        "sums of small integers do not widen",
        "tracing/functions/reduce.py",
        "target = accumulator(x.dtype) if dtype is None else dt.canonical(dtype)",
        "target = x.dtype if dtype is None else dt.canonical(dtype)",
    ),
    Mutant(
        "products of none, where nothing counts, are zero",
        "tracing/functions/reduce.py",
        "_sum_like(red.reduce_prod_p, np.multiply, 1)",
        "_sum_like(red.reduce_prod_p, np.multiply, 0)",
    ),
    Mutant(
        "a minimum of booleans is an or",
        "tracing/functions/reduce.py",
        "_extremum(red.reduce_min_p, red.reduce_and_p, np.minimum)",
        "_extremum(red.reduce_min_p, red.reduce_or_p, np.minimum)",
    ),
    Mutant(
        "the variance of complex numbers is complex",
        "tracing/functions/reduce.py",
        "square = left.real * left.real + left.imag * left.imag",
        "square = left.real * left.real - left.imag * left.imag",
    ),
    Mutant(
        "Python numbers decide the dtype",
        "tracing/ufuncs.py",
        "weak = has_numpy and x.kind is Kind.PYTHON",
        "weak = has_numpy and x.kind is Kind.PYTHON and not x.is_known",
    ),
    Mutant(
        "numbers from 2**63 on are compared as signed ones",
        "tracing/ufuncs.py",
        "wide = np.int64 if value < 2**63 else np.uint64",
        "wide = np.int64 if value < 2**64 else np.uint64",
    ),
    Mutant(
        "branches mix up what they close over",
        "tracing/bodies.py",
        "ins += own if j == i else [Var(v.aval) for v in own]",
        "ins += own if j == i and not (j and len(own) == len(graphs[0].invars[n:]))"
        " else [Var(v.aval) for v in own]",
    ),
    Mutant(
        "containers that a function changed keep one entry",
        "tracing/mutation.py",
        "        container.clear()\n        container.update(content)",
        "        container.update(content)",
    ),
)
