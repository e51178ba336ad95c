"""Bugs of the emitters of Triton text."""

from ..mutant import Mutant

TRITON = (
    Mutant(
        "rows: what lies behind a row is reduced as well",
        "codegen/triton/rows.py",
        'return f"tl.where({dim.mask}, {value}, {how.neutral})"',
        "return self.whole(value)",
    ),
    Mutant(
        "rows: positions along two axes by the wrong step",
        "codegen/triton/rows.py",
        "            step *= self.extents[axis]\n",
        "            step *= self.extents[op.axes[0]]\n",
    ),
    Mutant(
        "cumulative: blocks forget what was before",
        "codegen/triton/externs/cumulative.py",
        "f\"        y = {scan.stepped('carry', scan.scan('x'))}\",",
        "f\"        y = {scan.scan('x')}\",",
    ),
    Mutant(
        "cumulative: a piece takes in itself",
        "codegen/triton/externs/cumulative.py",
        "mask=others < piece, other=",
        "mask=others <= piece, other=",
    ),
    Mutant(
        "cumulative: reversed rows begin one too far",
        "codegen/triton/externs/cumulative.py",
        'place = f"({self.length - 1} - k)" if self.reverse else "k"',
        'place = f"({self.length} - k)" if self.reverse else "k"',
    ),
    Mutant(
        "indices: division of negative numbers rounds to zero",
        "codegen/triton/indices.py",
        "up = -(min(found[0], 0) // divisor)",
        "up = 0",
    ),
    Mutant(
        "conversions: unsigned and small integers saturate",
        "codegen/triton/elementwise.py",
        'middle = "tl.int64" if to.itemsize == 4 else "tl.int32"\n'
        '        return f"{text}.to({middle}).to({memory_type(to)})"',
        'return f"tl.maximum({text}, 0).to({memory_type(to)})"',
    ),
    Mutant(
        "shifts to the right bring in zeros",
        "codegen/triton/elementwise.py",
        'prefix = "u" if name == "shift_right" and not is_signed(a.dtype) else ""',
        'prefix = "u" if name == "shift_right" else ""',
    ),
    Mutant(
        "products: blocks of rows begin at the group",
        "codegen/triton/matmul.py",
        'w.line("m_block = group * GROUP_M + inside % rows")',
        'w.line("m_block = group + inside % rows")',
    ),
    Mutant(
        "products: batches count blocks of rows alone",
        "codegen/triton/matmul.py",
        'w.line(f"tile = {number} % (m_blocks * n_blocks)")',
        'w.line(f"tile = {number} % m_blocks")',
    ),
    Mutant(
        "helpers: a maximum drops the second NaN",
        "codegen/triton/helpers.py",
        '"""The larger one; NaN if either is."""\n'
        "    return tl.where((a >= b) | (a != a), a, b)",
        '"""The larger one; NaN if either is."""\n'
        "    return tl.where((a >= b) | (b != b), a, b)",
    ),
    Mutant(
        "helpers: the last of equal extrema wins",
        "codegen/triton/helpers.py",
        "    later = (b > a) | ((b != b) & (a == a)) | (equal & (j < i))\n",
        "    later = (b > a) | ((b != b) & (a == a)) | (equal & (j > i))\n",
    ),
)
