"""The pipeline: what happens to a graph, in order, from trace to Program."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from types import MappingProxyType

from ..ir.aval import Shape
from ..ir.graph import Graph
from ..ir.ops.contract import dot_general_p
from ..ir.ops.elementwise import pow_p
from ..ir.ops.indexing import gather_p
from ..ir.ops.loops import scan_p
from ..ir.ops.shape import update_slice_p
from ..ir.ops.sort import argsort_p, sort_p
from ..ir.ops.window import WINDOWS
from ..ir.rerolling import Worth
from ..late import late
from ..program.carries import without_carry_copies
from ..program.donate import Offer, with_donations, with_final_copies
from ..program.horizontal import merge_alike
from ..program.lower import lower_graph, strides_in_order
from ..program.names import with_names
from ..program.plan import plan_memory
from ..program.program import Program
from ..program.share import share_kernels
from .canonicalize import canonicalize
from .components import by_component
from .contract_fma import contract_fma
from .cse import cse
from .dce import dce
from .fold import fold
from .fuse import fuse_with
from .layouts import lay_out
from .limits import ANY, Limits
from .manager import Pass, PassContext, PassFn, run_passes
from .partial_writes import partial_writes
from .raising import expand_but, raise_composites
from .rerolling import EXACT, LONG, rerolling

# No target computes composites whole: transforms make them, and `expand` ends them.
RAISE = Pass("raise", raise_composites, "patterns, as where functions are transformed")


def pipeline(
    limits: Limits,
    use_fma: bool = True,
    use_reroll: bool = True,
) -> tuple[Pass, ...]:
    """Return the passes from the traced graph to fusion groups, in order.

    Parameters
    ----------
    limits : Limits
        What a kernel of the target may contain.
    use_fma, use_reroll : bool
        Whether products and sums become ``fma``, and repeated windows of equations
        loops.
    """

    def fuse_up_to(max_ops: int) -> PassFn:
        return fuse_with(replace(limits, max_equations=max_ops))

    passes = [
        _rerolling("reroll", LONG, "first: what follows sees one turn of a long loop"),
        Pass(
            "expand",
            expand_but(limits.own, limits.meanings),
            "no later pass knows composites",
        ),
        Pass(
            "windows",
            late(__package__, "windows", "expand_windows"),
            "early: what it gives is simplified as well",
            only_for=WINDOWS,
        ),
        Pass(
            "split-complex",
            partial(
                late(__package__, "split_complex", "split_complex"),
                kept=limits.keeps_complex,
            ),
            "real arithmetic is simplified as well",
            is_exact=False,
            kinds="c",
        ),
        Pass("canonicalize", canonicalize, "local rules first: they expose equal code"),
        Pass(
            "powers",
            late(__package__, "powers", "expand_powers"),
            "products, which equal others and join sums",
            is_exact=False,
            only_for=(pow_p,),
        ),
        Pass("fold", fold, "constants that the rules exposed, before they are counted"),
        Pass("cse", cse, "equal equations once, before uses are counted"),
        Pass(
            "sorts",
            late(__package__, "sorts", "sort_once"),
            "when equal operands are one",
            only_for=(sort_p,),
        ),
        Pass(
            "joins",
            late(__package__, "joins", "join_pieces"),
            "what they cover is dead",
            only_for=(update_slice_p,),
        ),
        Pass("dce", dce, "dead uses would keep products from being contracted"),
        Pass(
            "places",
            late(__package__, "places", "only_places"),
            "when what is dead reads nothing of a sort",
            only_for=(sort_p, argsort_p),
        ),
        Pass(
            "gathers",
            late(__package__, "gathers", "gather_by_rows"),
            "when all uses are known",
            only_for=(gather_p,),
        ),
        Pass(
            "products",
            late(__package__, "products", "sum_short_products"),
            "windows and pixels, before what is left is laid out",
            is_exact=False,
            only_for=(dot_general_p,),
        ),
        Pass("layouts", lay_out, "when all products are known that are run"),
        Pass("components", by_component, "short vectors, when none are dead"),
        Pass(
            "fma",
            partial(contract_fma, along_axes=limits.adds_products),
            "fix rounding while each equation is still one",
            is_exact=False,
        ),
        _rerolling("reroll-exact", EXACT, "shorter loops, when rounding is fixed"),
        Pass(
            "turns",
            late(__package__, "turns", "pointwise_loops"),
            "bodies as kernels hold them, when all is done",
            only_for=(scan_p,),
        ),
        Pass(
            "fuse",
            fuse_with(limits),
            "groups for kernels; nothing changes after",
            {"max-ops": int},
            fuse_up_to,
        ),
    ]
    left_out = {
        "fma": not use_fma,
        "split-complex": not limits.splits_complex,
        "places": not limits.picks_places,
    }
    left_out.update(dict.fromkeys(("reroll", "reroll-exact"), not use_reroll))
    return tuple(p for p in passes if not left_out.get(p.name, False))


def _rerolling(name: str, worth: Worth, doc: str) -> Pass:
    def at_least(least: int) -> PassFn:
        return rerolling(worth, least)

    return Pass(name, rerolling(worth), doc, {"least": int}, at_least)


def known_passes() -> dict[str, Pass]:
    """Return the passes by name, for the command line."""
    every = replace(ANY, splits_complex=True, adds_products=True, picks_places=True)
    return {p.name: p for p in (RAISE, *pipeline(every))}


def compile_to_program(
    graph: Graph,
    in_strides: Sequence[Shape | None],
    passes: Sequence[Pass],
    context: PassContext,
    complex_views: bool = False,
    offers: Sequence[Offer] = (),
    orders: Mapping[int, Shape] = MappingProxyType({}),
) -> tuple[Graph, Program]:
    """Run the passes, lower what they give, merge kernels, and plan memory.

    With ``context.verify`` the Program and its kernels are verified too. Outputs take
    the memory that is offered where they can; others lie in memory by their `orders` of
    axes, outermost first, or as C has them.
    """
    graph, parts = partial_writes(graph, offers)
    fused = run_passes(graph, passes, context)
    layouts = {
        offer.outputs[0]: strides
        for offer in offers
        if offer.is_written and (strides := in_strides[offer.input]) is not None
    }

    offered = {k for offer in offers for k in offer.outputs}
    ordered = {
        k: strides_in_order(graph.outvars[k].aval.shape, order)
        for k, order in orders.items()
        if k not in offered
    }

    def step(name: str, program: Program) -> Program:
        if context.after_program is not None:
            context.after_program(name, program)
        return program

    def lowered(layouts: Mapping[int, Shape]) -> Program:
        """Lower the graph after its passes; all but the memory plan."""
        strides = {**ordered, **layouts}
        program = lower_graph(fused, in_strides, complex_views, strides, parts)
        program = step("merge", merge_alike(step("lower", program)))
        program = step("share", with_names(share_kernels(program)))
        program = step("carries", without_carry_copies(program))
        return step("donate", with_donations(program, offers))

    program = lowered(layouts)
    refused = layouts.keys() - program.donors.keys()
    if refused:  # these outputs are new memory, which is contiguous
        program = lowered({k: x for k, x in layouts.items() if k not in refused})
    program = step("final-copies", with_final_copies(program, offers))
    program = step("plan", plan_memory(program))
    if context.verify:
        from ..program.verify import verify_program  # noqa: PLC0415  # if it is wanted

        verify_program(program)
    return fused, program
