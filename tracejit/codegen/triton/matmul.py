"""Contractions as blocked matrix products with ``tl.dot``.

A program computes one BLOCK_M × BLOCK_N block of the result: the axes of the left
operand alone are rows (``m``), those of the right one columns (``n``), those of both
batches, one position each. What comes before the contraction is computed on the blocks
as they are loaded, what comes after on the finished block. Where that reduces along the
columns, one block has all of them. float32 and float64 products are exact
(``input_precision="ieee"``), unless tf32 is asked for; halves are summed in float32.

Programs run in groups of GROUP_M rows, so that the blocks of the right operand that
neighbours read are still in the cache. The choice says of each product

- whether PROGRAMS programs run through all blocks (*persistent*), or each has one;
- whether operands and results that are nothing but tiles of memory are loaded and
  stored through tensor descriptors, which hardware copies, past the end as zeros;
- whether blocks are multiplied by ``tl.dot``, or, with few rows or columns, summed up
  in registers product by product (*vector*): nothing is padded to 16.
"""

from collections.abc import Collection

from ...kernels.kernel import Contract, KernelOp, Reduce, Store, Value
from ...kernels.maps import Affine, AxisIndex
from ...kernels.pieces import Piece, axes_of, closure, needed_for
from .blocks import MatrixDim, Operand, as_side, batch_lines, dot, whole
from .choice import DESCRIPTOR, VECTOR, Choice
from .indices import identifier
from .nests import Body
from .products import LINE, Product, Tile
from .rows import Row
from .tiles import Dim, Frame
from .values import register_type, rounded, stored
from .writer import Writer, needs_64_bits, pointer, value_name


def write_matmul(
    piece: Piece,
    choice: Choice,
    numbers: dict[str, int],
    program: str,
    odd: Collection[str] = (),
    tf32: bool = False,
) -> Body:
    """Return the body of a piece with one contraction.

    Reductions are along its columns, and come after it.

    Parameters
    ----------
    piece : Piece
    choice : Choice
    numbers : dict of str to int
        Of checked loads, for error words.
    program : str
        The text of the program's number.
    odd : collection of str
        Buffers whose addresses may not be multiples of 16 bytes.
    tf32 : bool
        Whether float32 numbers may be rounded to tf32.
    """
    plan = _Plan(Product(piece, odd), choice, tf32)
    writing = _Writing(plan, numbers, program)
    writing.write()
    dims = (plan.m, plan.n, plan.k)
    constexprs = {f"{d.letter.upper()}": d.numel for d in dims}
    constexprs.update({d.block_name: d.block for d in dims})
    constexprs["GROUP_M"] = choice.group
    if plan.is_persistent:
        constexprs |= {"BLOCKS": plan.blocks, "PROGRAMS": choice.programs}
    return Body(
        writing.writer.lines,
        constexprs,
        choice.programs if plan.is_persistent else plan.blocks,
        choice.num_warps,
        choice.num_stages,
        "matmul",
        writing.writer.can_fail,
    )


class _Plan:
    """The dimensions of a product, and how its operands are loaded."""

    def __init__(self, product: Product, choice: Choice, tf32: bool) -> None:
        self.product, self.choice, self.tf32 = product, choice, tf32
        self.op = product.op
        self.m, self.n, self.k, self.batch = (
            product.dim(letter, choice.blocks) for letter in "mnkb"
        )
        self.tiles: dict[Value | Store, Tile] = {}
        self.names: dict[Value | Store, str] = {}  # of the variables of descriptors
        if choice.form == DESCRIPTOR:
            self._describe()

    def _describe(self) -> None:
        product = self.product
        for x in (self.op.lhs, self.op.rhs):
            self._add(x, product.tile(x), x.name)
        stores = [x for x in product.piece.kernel.body if isinstance(x, Store)]
        for k, store in enumerate(stores):
            name = f"{store.buffer}_{k}" if k else store.buffer
            self._add(store, product.stored_tile(store), name)

    def _add(self, x: Value | Store, tile: Tile | None, name: str) -> None:
        if tile is not None and self._has_lines(tile):
            self.tiles[x], self.names[x] = tile, identifier(f"{name}_tiles")

    def _has_lines(self, tile: Tile) -> bool:
        """Tell whether rows of a block are as long as hardware copies at least."""
        return self.dim(tile.order[1]).block * tile.itemsize >= LINE

    def dim(self, letter: str) -> MatrixDim:
        """Return a dimension by its letter."""
        return next(d for d in (self.m, self.n, self.k) if d.letter == letter)

    @property
    def blocks(self) -> int:
        """How many blocks the result has."""
        return self.m.steps * self.n.steps * self.batch.numel

    @property
    def is_persistent(self) -> bool:
        """Whether programs run through several blocks."""
        return 0 < self.choice.programs < self.blocks


class _Writing:
    """Writes the statements of a product."""

    def __init__(self, plan: _Plan, numbers: dict[str, int], program: str) -> None:
        self.plan, self.op, self.number = plan, plan.op, program
        kernel = plan.product.piece.kernel
        self.body = kernel.body
        self.scalars = {a: f"b_{a}" for a in plan.batch.axes}
        self.result = Frame((plan.m, plan.n), self.scalars)
        self.writer = Writer(kernel, self.result, numbers)
        self.wide = needs_64_bits(kernel, (plan.m, plan.n, plan.k))
        self.used = {a for op in self.body for a in axes_of(op)}
        self.inside = set(needed_for(self.body, [self.op]))

    def write(self) -> None:
        """Write the whole body."""
        w = self.writer
        wide = ".to(tl.int64)" if self.wide else ""
        w.line(f"pid = {self.number}{wide}")
        w.line("m_blocks = tl.cdiv(M, BLOCK_M)")
        w.line("n_blocks = tl.cdiv(N, BLOCK_N)")
        if not self.plan.batch.axes:
            self.descriptors()
        if not self.plan.is_persistent:
            self.block("pid")
            return
        with w.block("for block in range(pid, BLOCKS, PROGRAMS):"):
            self.block("block")

    def block(self, number: str) -> None:
        """Write how one block of the result is computed."""
        w, op = self.writer, self.op
        w.frame = self.result
        self.positions(number)
        for x in self.body:
            if x in self.inside and not self.is_inner(x):
                w.write(x)
        type_ = register_type(op.result.dtype)
        w.line(f"acc = tl.full({self.sums}, 0.0, {type_})")
        with w.block("for koffset in range(0, K, BLOCK_K):"):
            lhs = self.operand(op.lhs, self.plan.m, "[None, :]")
            rhs = self.operand(op.rhs, self.plan.n, "[:, None]")
            w.line(f"acc = {self.multiplied(lhs, rhs)}")
        w.frame = self.result
        total = "tl.sum(acc, 1)" if self.is_vector else "acc"
        w.bind(op.result.name, rounded(total, op.result.dtype), frozenset("mn"))
        for x in self.body:
            if isinstance(x, Reduce):
                Row(w, self.plan.m, self.plan.n, w.extents).write(x)
            elif isinstance(x, Store) and x in self.plan.tiles:
                self.store(x, self.plan.tiles[x])
            elif x not in self.inside:
                w.write(x)

    # --- the product of two blocks

    @property
    def is_vector(self) -> bool:
        """Whether products are summed up one by one."""
        return self.plan.choice.form == VECTOR

    @property
    def sums(self) -> str:
        """The shape of the sums."""
        if self.is_vector:
            return "[BLOCK_M, BLOCK_K, BLOCK_N]"
        return self.result.shape

    def multiplied(self, lhs: str, rhs: str) -> str:
        """Return the sums with the products of two blocks added."""
        if not self.is_vector:
            return dot(self.op, lhs, rhs, "acc", self.plan.tf32)
        type_ = register_type(self.op.result.dtype)
        sides = f"{lhs}.to({type_})[:, :, None]", f"{rhs}.to({type_})[None, :, :]"
        left, right = (f"tl.broadcast_to({x}, {self.sums})" for x in sides)
        return f"tl.fma({left}, {right}, acc)"

    def is_inner(self, op: KernelOp) -> bool:
        """Tell whether an operation runs in the loop over `k`."""
        return op is self.op or bool(axes_of(op) & set(self.plan.k.axes))

    # --- positions

    def positions(self, number: str) -> None:
        """Write which block is computed, and its positions."""
        w, plan = self.writer, self.plan
        if plan.batch.axes:
            w.line(f"bindex = {number} // (m_blocks * n_blocks)")
            w.line(f"tile = {number} % (m_blocks * n_blocks)")
            number, batch = "tile", plan.batch
            for text in batch_lines(self.scalars, batch.axes, batch.extents):
                w.line(text)
            self.descriptors()
        w.line(f"group = {number} // (GROUP_M * n_blocks)")
        w.line("rows = tl.minimum(m_blocks - group * GROUP_M, GROUP_M)")
        w.line(f"inside = {number} % (GROUP_M * n_blocks)")
        w.line("m_block = group * GROUP_M + inside % rows")
        w.line("n_block = inside // rows")
        for dim in (plan.m, plan.n):
            block = f"{dim.letter}_block * {dim.block_name}"
            arange = f"tl.arange(0, {dim.block_name}){dim.place}"
            w.line(f"{dim.index} = {block} + {arange}")
            for text in dim.lines(self.used):
                w.line(text)

    # --- operands

    def operand(self, value: Value, dim: Dim, place: str) -> str:
        """Write one operand's block in the loop over k; return it.

        `place` is that of `k` in the block.
        """
        if value in self.plan.tiles:
            return self.described(value, self.plan.tiles[value])
        w, k = self.writer, self.plan.k
        side = as_side(k, place, dim.letter)
        rows = (dim, side) if place == "[None, :]" else (side, dim)
        w.frame = Frame(rows, self.scalars)
        w.line(f"{side.index} = koffset + tl.arange(0, {k.block_name}){place}")
        for text in side.lines(self.used):
            w.line(text)
        ops = [
            x
            for x in closure(self.body, [value.name])
            if x in self.inside and self.is_inner(x)
        ]
        return Operand(self.op, value, ops, self.body).write(w, side)

    def described(self, value: Value, tile: Tile) -> str:
        """Write the load of a block through its descriptor; return it."""
        name = value_name(value.name)
        tiles = self.plan.names[value]
        self.writer.line(f"{name} = {tiles}.load([{self.place(tile)}])")
        is_left = value is self.op.lhs
        is_turned = (tile.order[1] == "k") != is_left
        return f"tl.trans({name})" if is_turned else name

    def store(self, op: Store, tile: Tile) -> None:
        """Write the store of a block through its descriptor."""
        w = self.writer
        assert isinstance(op.value, Value)
        text = whole(w, w.argument(op.value), w.along([op.value]))
        text = stored(text, w.kernel.buffer(op.buffer).dtype)
        text = f"tl.trans({text})" if tile.order[1] == "m" else text
        w.line(f"{self.plan.names[op]}.store([{self.place(tile)}], {text})")

    def place(self, tile: Tile) -> str:
        """Return where a block of a tile begins."""
        places = {x: f"({x}_block * BLOCK_{x.upper()}).to(tl.int32)" for x in "mn"}
        return ", ".join({**places, "k": "koffset"}[letter] for letter in tile.order)

    def descriptors(self) -> None:
        """Write the descriptors of operands and results."""
        for x, tile in self.plan.tiles.items():
            rows, columns = (self.plan.dim(letter) for letter in tile.order)
            start = self.start_of(tile)
            self.writer.line(
                f"{self.plan.names[x]} = tl.make_tensor_descriptor({start}, "
                f"[{rows.numel_name}, {columns.numel_name}], [{tile.row_step}, 1], "
                f"[{rows.block_name}, {columns.block_name}])"
            )

    def start_of(self, tile: Tile) -> str:
        """Return the address of a tile's first element, in its batch."""
        kept = [
            (atom, step)
            for atom, step in tile.offset.terms
            if isinstance(atom, AxisIndex) and atom.axis in self.plan.batch.axes
        ]
        start = Affine(tuple(kept), tile.offset.constant)
        self.writer.frame = self.result
        text = self.writer.index(start)
        return pointer(tile.buffer) + ("" if text == "0" else f" + {text}")


def is_product(piece: Piece) -> bool:
    """Tell whether a piece has a contraction."""
    return any(isinstance(op, Contract) for op in piece.kernel.body)
