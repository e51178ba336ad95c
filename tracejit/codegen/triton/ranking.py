"""The choices there are for a site, best first, by a model of what each costs.

    candidates(site) = the default, and at most 15 others that are worth measuring

Products are ranked by an estimate of their time, and the first is the default. Of all
other kernels the default is what the heuristics of `nests` and `streams` give: they are
bound by memory, which a model of blocks and warps cannot tell apart; the others are
variations of it, those that differ least first. Descriptors and persistent programs are
never the default, as the model has nothing to say of what they are for; they are there
to be measured.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import product as pairs

from ...kernels.streams import stream_of
from .blocks import SMALLEST
from .choice import DESCRIPTOR, LIBRARY, POINTER, VECTOR, Choice, Site, sizes_in
from .code import TritonCode, Tuning
from .cost import Cost, blocks_of
from .cuts import equal_parts, parts_of
from .machine import machine_of
from .products import LINE, Product, Shape, plain, whole_block

MOST = 16  # choices for one site
_KINDS = 3  # of which so many are also tried in another form
_GROUP = 8
_OTHER_GROUPS = (4, 16)
_SKINNY = 8  # rows or columns up to which sums of products may beat padded blocks
_ELEMENTS = 1 << 14  # of a tile
_EACH = 128  # of them for each thread

# Blocks of m, n, k; warps; stages: for matrix units, and for plain arithmetic. Equal
# estimates keep this order.
_MATRIX = (
    (128, 128, 64, 8, 3),
    (128, 256, 64, 8, 3),
    (256, 128, 64, 8, 3),
    (128, 128, 64, 4, 4),
    (128, 64, 64, 4, 4),
    (64, 256, 64, 4, 3),
    (64, 128, 64, 4, 4),
    (64, 64, 64, 4, 4),
    (64, 32, 64, 4, 5),
    (32, 128, 64, 4, 4),
    (32, 64, 64, 4, 4),
    (32, 32, 64, 2, 5),
    (16, 128, 64, 4, 4),
    (16, 64, 128, 4, 4),
    (16, 32, 128, 2, 4),
    (128, 16, 64, 4, 4),
)
_PLAIN = (
    (64, 64, 16, 4, 3),
    (128, 64, 16, 8, 3),
    (64, 128, 16, 8, 3),
    (64, 64, 32, 4, 3),
    (64, 32, 32, 4, 3),
    (32, 64, 32, 4, 3),
    (32, 32, 32, 2, 3),
    (16, 64, 32, 2, 4),
    (16, 32, 64, 2, 3),
    (64, 16, 32, 2, 4),
)
# The same where a program has all columns, whatever stands for n.
_ROWS = tuple((m, 0, k, 8, 3) for k in (64, 32, 16) for m in (128, 64, 32, 16))
_VECTOR = ((32, 64, 4, 3), (64, 32, 4, 3), (16, 128, 4, 3))  # n, k; warps; stages


def first(site: Site) -> Choice:
    """Return the choice for a product where none was measured."""
    return _fixed(_ranked(site)[0], site)


def candidates(site: Site, default: Sequence[TritonCode]) -> tuple[Choice, ...]:
    """Return the choices for a site, the default first.

    Parameters
    ----------
    site : Site
    default : sequence of TritonCode
        What the site becomes by default.
    """
    if site.product is None or default[0].form == "stream":
        found: Iterable[Choice] = _variations(site, default)
    else:
        ranked = _ranked(site)
        kinds = [c for base in ranked[:_KINDS] for c in _other_forms(site, base)]
        kinds += _other_groups(site, ranked[0])
        found = [*ranked[: max(MOST - len(kinds), _KINDS)], *kinds]
    fixed = (_fixed(choice, site) for choice in found)
    return tuple({str(c): c for c in fixed}.values())[:MOST]


def is_possible(site: Site, choice: Choice) -> bool:
    """Tell whether a site can be written by a choice, one of a file for instance."""
    if site.product is None or stream_of(site.piece.kernel) is not None:
        return choice.form == POINTER and not choice.programs
    if choice.form == LIBRARY:
        return plain(site.piece) is not None
    shape = Product(site.piece, site.odd).shape
    sizes = [choice.blocks.get(f"BLOCK_{x}", 0) for x in "MNK"]
    least = 1 if choice.form == VECTOR else SMALLEST
    if len(choice.blocks) != 3 or min(sizes) < least:
        return False
    parts = max(choice.parts, 1)
    if shape.holds_rows:
        return parts == 1 and choice.form != VECTOR and sizes[1] >= shape.n
    return shape.k % parts == 0 and bool(choice.num_warps and choice.group)


def _fixed(choice: Choice, site: Site) -> Choice:
    """Return a choice with the blocks that the tuning fixes."""
    given = site.tuning.blocks
    own = {name: given.get(name, size) for name, size in choice.blocks.items()}
    fixed = replace(choice, blocks=own)
    rows = site.product is not None and not is_possible(site, fixed)
    return replace(fixed, blocks={**own, **_columns(choice)}) if rows else fixed


def _columns(choice: Choice) -> Mapping[str, int]:
    """Return the block of columns, which are all of them where rows are reduced."""
    return {"BLOCK_N": choice.blocks["BLOCK_N"]} if "BLOCK_N" in choice.blocks else {}


# --- products ---------------------------------------------------------------------


def _ranked(site: Site) -> list[Choice]:
    """Return pointer and vector forms of a product, the least estimate first."""
    product = Product(site.piece, site.odd)
    shape, tuning = product.shape, site.tuning
    cost = Cost(shape, product.op.lhs.dtype, tuning)
    found = {str(c): c for c in _products(shape, tuning, cost)}
    fitting = [c for c in found.values() if cost.fits(c)]
    return sorted(fitting or list(found.values())[-1:], key=cost.time)


def _products(shape: Shape, tuning: Tuning, cost: Cost) -> Iterator[Choice]:
    table = _MATRIX if cost.on_matrix_units else _PLAIN
    table = (*table, *_ROWS) if shape.holds_rows else table
    for base in (*_dots(shape, table), *_vectors(shape)):
        yield base
        if shape.holds_rows:
            continue
        blocks = blocks_of(shape, base)
        wanted = equal_parts(shape.k, tuning.processors // max(blocks, 1), tuning)
        for parts in {wanted, equal_parts(shape.k, wanted // 2, tuning)}:
            if parts > 1:
                yield replace(base, parts=parts)


def _dots(
    shape: Shape, table: Sequence[tuple[int, int, int, int, int]]
) -> Iterator[Choice]:
    whole = {n: max(whole_block(getattr(shape, n)), SMALLEST) for n in "mnk"}
    for m, n, k, warps, stages in table:
        sizes = {
            "BLOCK_M": min(m, whole["m"]),
            "BLOCK_N": whole["n"] if shape.holds_rows else min(n, whole["n"]),
            "BLOCK_K": min(k, whole["k"]),
        }
        yield Choice(sizes, warps, stages, parts=1, group=_GROUP)


def _vectors(shape: Shape) -> Iterator[Choice]:
    """Yield sums of products in registers, for few rows or columns."""
    if shape.holds_rows or min(shape.m, shape.n) > _SKINNY:
        return
    few, many = ("M", "N") if shape.m <= shape.n else ("N", "M")
    whole = whole_block(min(shape.m, shape.n))
    for n, k, warps, stages in _VECTOR:
        sizes = {
            f"BLOCK_{few}": whole,
            f"BLOCK_{many}": min(n, whole_block(max(shape.m, shape.n))),
            "BLOCK_K": min(k, whole_block(shape.k)),
        }
        yield Choice(sizes, warps, stages, form=VECTOR, parts=1, group=_GROUP)


def _other_forms(site: Site, base: Choice) -> Iterator[Choice]:
    """Yield a choice with descriptors, with programs that stay, and with both."""
    if base.form == VECTOR:
        return
    product = Product(site.piece, site.odd)
    cost = Cost(product.shape, product.op.lhs.dtype, site.tuning)
    copies = cost.on_matrix_units and machine_of(site.tuning.arch).has_descriptors
    forms = [base]
    if copies and _is_described(product, base):
        forms.append(replace(base, form=DESCRIPTOR))
        yield forms[-1]
    for form in forms[::-1]:
        staying = replace(form, programs=1)
        programs = site.tuning.processors * cost.at_a_time(staying)
        if cost.fits(staying) and blocks_of(product.shape, base) > programs:
            yield replace(form, programs=programs)


def _other_groups(site: Site, base: Choice) -> list[Choice]:
    """Return a choice with groups of other sizes, where there is more than one."""
    rows = -(-Product(site.piece).shape.m // base.blocks["BLOCK_M"])
    return [replace(base, group=n) for n in _OTHER_GROUPS if n < rows]


def _is_described(product: Product, base: Choice) -> bool:
    """Tell whether a descriptor can be of one operand's blocks."""
    tiles = [product.tile(x) for x in (product.op.lhs, product.op.rhs)]
    inner = [base.blocks[f"BLOCK_{x.order[1].upper()}"] for x in tiles if x]
    return any(block * product.shape.itemsize >= LINE for block in inner)


# --- all others -------------------------------------------------------------------


def _variations(site: Site, default: Sequence[TritonCode]) -> Iterator[Choice]:
    """Yield what a site is by default, and choices that differ a little from that."""
    code = default[0]
    base = Choice(sizes_in(code), code.num_warps, code.num_stages)
    yield base
    for parts in _other_parts(site):
        yield Choice({}, 0, 0, parts=parts)
    single = list(_steps(base, code))
    yield from (c for c in single if _is_sane(c, code))
    for one, two in pairs(single, single):
        both = _merged(base, one, two)
        if both != one and both != two and _is_sane(both, code):
            yield both


def _other_parts(site: Site) -> list[int]:
    if site.product is not None:
        return []
    parts = parts_of(site.piece, site.tuning)
    return [1, 2 * parts, max(parts // 2, 2)] if parts > 1 else []


def _steps(base: Choice, code: TritonCode) -> Iterator[Choice]:
    """Yield choices that differ in one size."""
    for name, size in base.blocks.items():
        for factor in (2.0, 0.5):
            yield replace(base, blocks={**base.blocks, name: int(size * factor)})
    for factor in (0.5, 2.0):
        yield replace(base, num_warps=int(base.num_warps * factor))
    if code.form in ("looped", "stream"):
        yield replace(base, num_stages=base.num_stages + 1)


def _merged(base: Choice, one: Choice, two: Choice) -> Choice:
    """Return a choice with what each of two changes in `base`."""
    sizes = {
        name: (one if one.blocks[name] != size else two).blocks[name]
        for name, size in base.blocks.items()
    }
    warps = (one if one.num_warps != base.num_warps else two).num_warps
    stages = (one if one.num_stages != base.num_stages else two).num_stages
    return replace(base, blocks=sizes, num_warps=warps, num_stages=stages)


def _is_sane(choice: Choice, code: TritonCode) -> bool:
    """Tell whether blocks are no larger than what there is, and fit registers."""
    if not 1 <= choice.num_warps <= 16:
        return False
    held = 1
    for name, size in choice.blocks.items():
        least = SMALLEST if code.form == "stream" else 1
        if size < least or size > max(whole_block(_length(name, code)), least):
            return False
        held *= size
    if code.form == "stream":
        fixed = set(choice.blocks) - {"BLOCK_M", "BLOCK_K"}
        return all(choice.blocks[name] == code.constexprs[name] for name in fixed)
    return held <= max(_ELEMENTS, _held(code.constexprs)) and (
        held <= 32 * choice.num_warps * _EACH
    )


def _held(sizes: Mapping[str, int]) -> int:
    out = 1
    for name, size in sizes.items():
        out *= size if "BLOCK" in name else 1
    return out


def _length(block: str, code: TritonCode) -> int:
    """Return how many elements the dimension of a block has."""
    if block.startswith("BLOCK_"):
        return code.constexprs[block.removeprefix("BLOCK_")]
    return code.constexprs[f"{block.removesuffix('BLOCK').lower()}numel"]
