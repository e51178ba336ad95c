"""Every rewrite rule: what it does, that it keeps every bit, where it must not fire."""

import pytest

from tests.program.random_graphs import LOOP_SEEDS, random_graph
from tracejit.ir.loop_rules import LOOP_RULES  # tested in tests/ir/test_loop_rules.py
from tracejit.ir.rewrite import RuleSet
from tracejit.ir.simplify import LOWERING_RULES
from tracejit.passes.manager import PassContext, on_all_graphs, replay

from .rewriting import check_does_not_fire, check_rewrite

X = "%x: f32[3] =>"
XY = "%x: f32[3], %y: f32[3] =>"
N = "%n: i32[3] =>"
C = "%c: bool[3] =>"
CXY = "%c: bool[3], %x: f32[3], %y: f32[3] =>"
Z = "%z: c64[3] =>"
XS = "%x: f32[3], %s: f32[] =>"
M = "%x: f32[2,3] =>"
L = "%x: f32[9], %y: f32[3] =>"
W = "%x: f32[9], %y: f32[3], %w: f32[3] =>"
V = "%x: f32[9], %y: f32[3], %i: i32[3] =>"
IJ = "%x: f32[4,4], %y: f32[3], %i: i64[3], %j: u32[3] =>"
SCATTER = '{axes=(0), batch=0, mode="clip", op="add"}'
SCATTER_2 = SCATTER.replace("(0)", "(0, 1)")
WRITE = "update_slice %x, %y {start=(2), stride=(1)}"

# rule, before, after
REWRITES = [
    ("fold_scalars", f"{X} add 1.0:f32, 2.0:f32; mul %x, %0", f"{X} mul %x, 3.0"),
    ("fold_scalars", f"{X} log -1.0:f32; add %x, %0", f"{X} add %x, bits(0xffc00000)"),
    ("literal_last", f"{X} add 1.0, %x", f"{X} add %x, 1.0"),
    ("literal_last", f"{X} eq 1.0:f32, %x", f"{X} eq %x, 1.0:f32"),
    ("mul_one", f"{X} mul %x, 1.0", f"{X} return %x"),
    ("mul_one", f"{X} div %x, 1.0", f"{X} return %x"),
    ("mul_one", f"{N} mul %n, 1", f"{N} return %n"),
    (
        "mul_zero",
        f"{N} mul %n, 0",
        f"{N} broadcast_in_dim 0:i32 {{shape=(3), dims=()}}",
    ),
    ("mul_minus_one", f"{X} mul %x, -1.0", f"{X} neg %x"),
    ("mul_minus_one", f"{N} mul %n, -1", f"{N} neg %n"),
    ("mul_minus_one", "%b: bf16[3] => mul %b, -1.0", "%b: bf16[3] => neg %b"),
    ("div_power_of_two", f"{X} div %x, 4.0", f"{X} mul %x, 0.25"),
    ("div_power_of_two", f"{X} div %x, -0.5", f"{X} mul %x, -2.0"),
    (
        "div_power_of_two",
        "%h: f16[3] => div %h, 16384.0",
        "%h: f16[3] => mul %h, 6.103515625e-05",
    ),
    ("add_zero", f"{X} add %x, -0.0", f"{X} return %x"),
    ("add_zero", f"{X} sub %x, 0.0", f"{X} return %x"),
    ("add_zero", f"{N} add %n, 0", f"{N} return %n"),
    ("add_zero", f"{N} sub %n, 0", f"{N} return %n"),
    ("add_zero", f"{N} or %n, 0", f"{N} return %n"),
    ("add_negated", f"{XY} neg %y; add %x, %0", f"{XY} sub %x, %y"),
    ("add_negated", f"{XY} neg %x; add %0, %y", f"{XY} sub %y, %x"),
    ("add_negated", f"{XY} neg %y; sub %x, %0", f"{XY} add %x, %y"),
    ("double_negation", f"{X} neg %x; neg %0", f"{X} return %x"),
    ("double_negation", f"{C} not %c; not %0", f"{C} return %c"),
    ("double_negation", f"{Z} conj %z; conj %0", f"{Z} return %z"),
    ("abs_of_negation", f"{X} neg %x; abs %0", f"{X} abs %x"),
    ("abs_of_negation", f"{X} abs %x; abs %0", f"{X} abs %x"),
    ("pow_small", f"{X} pow %x, 2.0", f"{X} mul %x, %x"),
    ("pow_small", f"{X} pow %x, 1.0", f"{X} return %x"),
    ("pow_small", f"{N} pow %n, 2", f"{N} mul %n, %n"),
    ("idempotent", f"{X} maximum %x, %x", f"{X} return %x"),
    ("idempotent", f"{N} and %n, %n", f"{N} return %n"),
    ("same_convert", f"{X} convert %x {{dtype=f32}}", f"{X} return %x"),
    (
        "convert_of_widened",
        f"{X} convert %x {{dtype=f64}}; convert %0 {{dtype=f32}}",
        f"{X} convert %x {{dtype=f32}}",
    ),
    (
        "convert_of_widened",
        f"{X} convert %x {{dtype=f64}}; convert %0 {{dtype=f16}}",
        f"{X} convert %x {{dtype=f16}}",
    ),
    (
        "convert_of_widened",
        f"{N} convert %n {{dtype=i64}}; convert %0 {{dtype=u8}}",
        f"{N} convert %n {{dtype=u8}}",
    ),
    (
        "convert_of_widened",
        f"{C} convert %c {{dtype=i64}}; convert %0 {{dtype=f32}}",
        f"{C} convert %c {{dtype=f32}}",
    ),
    ("select_known", f"{CXY} select true:bool, %x, %y", f"{CXY} return %x"),
    ("select_known", f"{CXY} select false:bool, %x, %y", f"{CXY} return %y"),
    ("select_known", f"{CXY} select %c, %x, %x", f"{CXY} return %x"),
    (
        "select_known",
        f"{CXY} select %c, 1.0:f32, 1.0:f32",
        f"{CXY} broadcast_in_dim 1.0:f32 {{shape=(3), dims=()}}",
    ),
    ("select_of_not", f"{CXY} not %c; select %0, %x, %y", f"{CXY} select %c, %y, %x"),
    ("select_booleans", f"{C} select %c, true, false", f"{C} return %c"),
    ("select_booleans", f"{C} select %c, false, true", f"{C} not %c"),
    ("logic_known", f"{C} and %c, true", f"{C} return %c"),
    ("logic_known", f"{C} or %c, false", f"{C} return %c"),
    (
        "logic_known",
        f"{C} or %c, true",
        f"{C} broadcast_in_dim true:bool {{shape=(3), dims=()}}",
    ),
    ("eq_known", f"{C} eq %c, true", f"{C} return %c"),
    ("eq_known", f"{C} ne %c, true", f"{C} not %c"),
    ("eq_known", f"{C} ne %c, false", f"{C} return %c"),
    ("not_of_comparison", f"{XY} eq %x, %y; not %0", f"{XY} ne %x, %y"),
    ("not_of_comparison", f"{N} lt %n, 2:i32; not %0", f"{N} ge %n, 2:i32"),
    ("part_of_complex", f"{XY} complex %x, %y; real %0", f"{XY} return %x"),
    ("part_of_complex", f"{XY} complex %x, %y; imag %0", f"{XY} return %y"),
    (
        "part_of_complex",
        f"{XS} complex %x, %s; imag %0",
        f"{XS} broadcast_in_dim %s {{shape=(3), dims=()}}",
    ),
    ("part_of_complex", f"{Z} real %z; imag %z; complex %0, %1", f"{Z} return %z"),
    (
        "scalar_operand",
        f"{XS} broadcast_in_dim %s {{shape=(3), dims=()}}; add %x, %0",
        f"{XS} add %x, %s",
    ),
    (
        "lift_broadcast",
        f"{XS} broadcast_in_dim %s {{shape=(3), dims=()}}; exp %0",
        f"{XS} exp %s; broadcast_in_dim %0 {{shape=(3), dims=()}}",
    ),
    (
        "reshape_scalar_broadcast",
        f"{XS} broadcast_in_dim %s {{shape=(2, 3), dims=()}}; "
        f"transpose %0 {{perm=(1, 0)}}",
        f"{XS} broadcast_in_dim %s {{shape=(3, 2), dims=()}}",
    ),
    ("identity_view", f"{M} reshape %x {{shape=(2, 3)}}", f"{M} return %x"),
    ("identity_view", f"{M} transpose %x {{perm=(0, 1)}}", f"{M} return %x"),
    ("identity_view", f"{M} rev %x {{axes=()}}", f"{M} return %x"),
    (
        "identity_view",
        f"{M} broadcast_in_dim %x {{shape=(2, 3), dims=(0, 1)}}",
        f"{M} return %x",
    ),
    (
        "identity_view",
        f"{M} slice %x {{start=(0, 0), stop=(2, 3), stride=(1, 1)}}",
        f"{M} return %x",
    ),
    (
        "identity_view",
        f"{M} pad %x, 1.0:f32 {{low=(0, 0), high=(0, 0)}}",
        f"{M} return %x",
    ),
    (
        "view_of_view",
        f"{M} reshape %x {{shape=(6)}}; reshape %0 {{shape=(3, 2)}}",
        f"{M} reshape %x {{shape=(3, 2)}}",
    ),
    (
        "view_of_view",
        "%x: f32[2,3,4] => transpose %x {perm=(1, 2, 0)}; "
        "transpose %0 {perm=(0, 2, 1)}",
        "%x: f32[2,3,4] => transpose %x {perm=(1, 0, 2)}",
    ),
    (
        "view_of_view",
        "%x: f32[3,1] => broadcast_in_dim %x {shape=(3, 4), dims=(0, 1)}; "
        "broadcast_in_dim %0 {shape=(3, 2, 4), dims=(0, 2)}",
        "%x: f32[3,1] => broadcast_in_dim %x {shape=(3, 2, 4), dims=(0, 2)}",
    ),
    (
        "view_of_view",
        "%x: f32[20] => slice %x {start=(3), stop=(18), stride=(2)}; "
        "slice %0 {start=(1), stop=(7), stride=(3)}",
        "%x: f32[20] => slice %x {start=(5), stop=(16), stride=(6)}",
    ),
    ("join_few", f"{M} concatenate %x {{axis=0}}", f"{M} return %x"),
    (
        "join_few",
        "%x: f32[2,3], %e: f32[0,3] => concatenate %e, %x, %e {axis=0}",
        "%x: f32[2,3], %e: f32[0,3] => return %x",
    ),
    (
        "join_of_joins",
        f"{XY} concatenate %x, %y {{axis=0}}; concatenate %0, %x {{axis=0}}",
        f"{XY} concatenate %x, %y, %x {{axis=0}}",
    ),
    (
        "slice_of_join",
        f"{XY} concatenate %x, %y {{axis=0}}; "
        f"slice %0 {{start=(4), stop=(6), stride=(1)}}",
        f"{XY} slice %y {{start=(1), stop=(3), stride=(1)}}",
    ),
    (
        "slice_of_update",
        "%x: f32[9], %y: f32[3] => update_slice %x, %y {start=(2), stride=(2)}; "
        "slice %0 {start=(2), stop=(7), stride=(2)}",
        "%x: f32[9], %y: f32[3] => return %y",
    ),
    (
        "slice_of_update",
        f"{L} {WRITE}; slice %0 {{start=(5), stop=(9), stride=(1)}}",
        "%x: f32[9], %y: f32[3] => slice %x {start=(5), stop=(9), stride=(1)}",
    ),
    (
        "write_all",
        f"{XY} update_slice %x, %y {{start=(0), stride=(1)}}",
        f"{XY} return %y",
    ),
    (
        "write_all",
        "%x: f32[3], %e: f32[0] => update_slice %x, %e {start=(1), stride=(1)}",
        "%x: f32[3], %e: f32[0] => return %x",
    ),
    (
        "narrow_indices",
        f"{V} convert %i {{dtype=i64}}; scatter %x, %y, %0 {SCATTER}",
        f"{V} scatter %x, %y, %i {SCATTER}",
    ),
    (
        "narrow_indices",
        f"{IJ} convert %j {{dtype=i64}}; scatter %x, %y, %i, %0 {SCATTER_2}",
        f"{IJ} scatter %x, %y, %i, %j {SCATTER_2}",
    ),
    (
        "write_over",
        f"{W} {WRITE}; update_slice %0, %w {{start=(2), stride=(1)}}",
        f"{W} update_slice %x, %w {{start=(2), stride=(1)}}",
    ),
    ("reduce_nothing", f"{M} reduce_max %x {{axes=()}}", f"{M} return %x"),
    (
        "reduce_nothing",
        "%x: f32[1,3] => reduce_prod %x {axes=(0)}",
        "%x: f32[1,3] => reshape %x {shape=(3)}",
    ),
    (
        "reduce_nothing",
        "%x: f32[1,3] => reduce_sum %x {axes=(0)}",
        "%x: f32[1,3] => add %x, 0.0; reshape %0 {shape=(3)}",
    ),
    (
        "reduce_nothing",
        "%n: i32[1,3] => reduce_sum %n {axes=(0)}",
        "%n: i32[1,3] => reshape %n {shape=(3)}",
    ),
    (
        "reduce_of_reduce",
        "%n: i32[2,3,4] => reduce_sum %n {axes=(1)}; reduce_sum %0 {axes=(1)}",
        "%n: i32[2,3,4] => reduce_sum %n {axes=(1, 2)}",
    ),
    (
        "product_of_nothing",
        "%x: f32[2,3], %y: f32[2,4] => "
        "dot_general %x, %y {contract=((), ()), batch=((0), (0))}",
        "%x: f32[2,3], %y: f32[2,4] => "
        "broadcast_in_dim %x {shape=(2, 3, 4), dims=(0, 1)}; "
        "broadcast_in_dim %y {shape=(2, 3, 4), dims=(0, 2)}; mul %0, %1",
    ),
    ("drop_stop_gradient", f"{X} stop_gradient %x", f"{X} return %x"),
    ("drop_checkpoint_name", f'{X} checkpoint_name %x {{name="z"}}', f"{X} return %x"),
]

# rule, graph, why
MUST_NOT_FIRE = [
    ("fold_scalars", f"{XS} add %s, 1.0", "an operand is unknown"),
    ("literal_last", f"{X} sub 1.0, %x", "not commutative"),
    ("literal_last", f"{X} maximum 0.0, %x", "the sign of a zero depends on the order"),
    ("mul_one", f"{Z} mul %z, complex(1.0, 0.0)", "inf·0 is NaN"),
    ("mul_one", f"{Z} div %z, complex(1.0, 0.0)", "inf·0 is NaN"),
    ("mul_one", f"{X} div 1.0, %x", "a reciprocal"),
    ("mul_zero", f"{X} mul %x, 0.0", "NaN, infinities, signs"),
    ("mul_minus_one", "%u: u8[3] => mul %u, 255", "unsigned"),
    ("mul_minus_one", f"{Z} mul %z, complex(-1.0, 0.0)", "inf·0 is NaN"),
    ("div_power_of_two", f"{X} div %x, 3.0", "1/3 is rounded"),
    ("div_power_of_two", f"{X} div %x, 0.0", "no power"),
    ("div_power_of_two", f"{X} div %x, inf", "no power"),
    ("div_power_of_two", f"{X} div %x, 1.7014118e+38", "1/c is subnormal"),
    ("div_power_of_two", f"{X} div %x, 1e-45", "1/c overflows"),
    ("div_power_of_two", "%h: f16[3] => div %h, 32768.0", "1/c is subnormal"),
    ("div_power_of_two", f"{X} div 4.0, %x", "the divisor is unknown"),
    ("add_zero", f"{X} add %x, 0.0", "-0.0 becomes 0.0"),
    ("add_zero", f"{X} sub %x, -0.0", "-0.0 becomes 0.0"),
    ("add_zero", f"{N} sub 0, %n", "a negation"),
    ("add_zero", f"{Z} add %z, complex(-0.0, 0.0)", "signs of parts"),
    ("add_negated", f"{XY} neg %x; sub %0, %y", "neither sum nor difference"),
    ("double_negation", f"{X} abs %x; neg %0", "another operation"),
    ("double_negation", f"{C} not %c", "one only"),
    ("double_negation", f"{Z} conj %z; neg %0", "two different ones"),
    ("abs_of_negation", f"{X} exp %x; abs %0", "another operation"),
    ("pow_small", f"{X} pow %x, 3.0", "NumPy does not multiply"),
    ("pow_small", f"{X} pow %x, 0.5", "differs from sqrt at -0.0 and -inf"),
    (
        "pow_small",
        f"{Z} pow %z, complex(2.0, 0.0)",
        "complex squares round differently",
    ),
    ("pow_small", f"{XS} pow %s, %x", "unknown exponent"),
    ("idempotent", f"{XY} maximum %x, %y", "two values"),
    ("idempotent", f"{N} xor %n, %n", "that is zero"),
    ("same_convert", f"{X} convert %x {{dtype=f64}}", "another dtype"),
    (
        "convert_of_widened",
        f"{X} convert %x {{dtype=f16}}; convert %0 {{dtype=f32}}",
        "f16 rounds",
    ),
    (
        "convert_of_widened",
        f"{X} convert %x {{dtype=bf16}}; convert %0 {{dtype=f32}}",
        "bf16 rounds",
    ),
    (
        "convert_of_widened",
        "%h: f16[3] => convert %h {dtype=bf16}; convert %0 {dtype=f32}",
        "bf16 has fewer digits",
    ),
    (
        "convert_of_widened",
        "%b: bf16[3] => convert %b {dtype=f16}; convert %0 {dtype=f32}",
        "f16 has fewer exponents",
    ),
    (
        "convert_of_widened",
        "%n: i64[3] => convert %n {dtype=f64}; convert %0 {dtype=i64}",
        "f64 rounds big integers",
    ),
    (
        "convert_of_widened",
        f"{N} convert %n {{dtype=u64}}; convert %0 {{dtype=i32}}",
        "not every value of i32 is one of u64",
    ),
    (
        "convert_of_widened",
        f"{X} convert %x {{dtype=f64}}; convert %0 {{dtype=i32}}",
        "out of range values are the platform's",
    ),
    ("select_known", f"{CXY} select %c, %x, %y", "unknown"),
    ("select_known", f"{CXY} select %c, 0.0:f32, -0.0:f32", "different zeros"),
    ("select_of_not", f"{CXY} select %c, %x, %y", "no negation"),
    ("select_booleans", f"{CXY} select %c, 1.0:f32, 0.0:f32", "no booleans"),
    ("logic_known", f"{N} and %n, 1", "bits of integers"),
    ("eq_known", f"{N} eq %n, 1:i32", "no booleans"),
    ("not_of_comparison", f"{XY} lt %x, %y; not %0", "NaN compares false both ways"),
    (
        "part_of_complex",
        "%z: c64[3], %w: c64[3] => real %z; imag %w; complex %0, %1",
        "parts of two numbers",
    ),
    ("part_of_complex", f"{Z} imag %z; real %z; complex %0, %1", "parts swapped"),
    ("part_of_complex", f"{Z} conj %z; real %0", "not put together"),
    (
        "scalar_operand",
        "%x: f32[3] => broadcast_in_dim %x {shape=(2, 3), dims=(1)}; add %0, %0",
        "no scalar",
    ),
    (
        "scalar_operand",
        f"{XS} broadcast_in_dim %s {{shape=(3), dims=()}}; exp %0",
        "nothing else gives the shape",
    ),
    (
        "lift_broadcast",
        f"{XS} broadcast_in_dim %s {{shape=(3), dims=()}}; add %x, %0",
        "elements differ",
    ),
    (
        "reshape_scalar_broadcast",
        f"{X} broadcast_in_dim %x {{shape=(2, 3), dims=(1)}}; "
        f"transpose %0 {{perm=(1, 0)}}",
        "elements differ",
    ),
    ("identity_view", f"{M} transpose %x {{perm=(1, 0)}}", "it moves"),
    ("identity_view", f"{M} rev %x {{axes=(1)}}", "it moves"),
    ("identity_view", f"{M} rev %x {{axes=(0)}}", "it moves two"),
    (
        "identity_view",
        f"{L} slice %x {{start=(0), stop=(9), stride=(2)}}",
        "it leaves some out",
    ),
    (
        "identity_view",
        f"{M} slice %x {{start=(0, 0), stop=(2, 2), stride=(1, 1)}}",
        "it drops",
    ),
    (
        "view_of_view",
        f"{M} transpose %x {{perm=(1, 0)}}; reshape %0 {{shape=(6)}}",
        "two kinds",
    ),
    ("join_few", f"{XY} concatenate %x, %y {{axis=0}}", "two parts"),
    (
        "join_of_joins",
        "%x: f32[2,2] => concatenate %x, %x {axis=0}; concatenate %0, %0 {axis=1}",
        "another axis",
    ),
    (
        "slice_of_join",
        f"{XY} concatenate %x, %y {{axis=0}}; "
        f"slice %0 {{start=(2), stop=(4), stride=(1)}}",
        "it reads two parts",
    ),
    (
        "slice_of_update",
        f"{L} {WRITE}; slice %0 {{start=(3), stop=(9), stride=(1)}}",
        "it reads both",
    ),
    (
        "slice_of_update",
        f"{L} {WRITE}; slice %0 {{start=(0), stop=(3), stride=(1)}}",
        "its last element is written",
    ),
    (
        "slice_of_update",
        f"{L} {WRITE}; slice %0 {{start=(4), stop=(9), stride=(1)}}",
        "its first element is written",
    ),
    (
        "slice_of_update",
        "%x: f32[9], %y: f32[3] => update_slice %x, %y {start=(2), stride=(2)}; "
        "slice %0 {start=(2), stop=(5), stride=(1)}",
        "another stride",
    ),
    ("write_all", f"{L} {WRITE}", "part of it stays"),
    (
        "narrow_indices",
        "%x: f32[9], %y: f32[3], %i: i8[3] => "
        f"convert %i {{dtype=i64}}; scatter %x, %y, %0 {SCATTER}",
        "an extent may be beyond what they hold",
    ),
    (
        "narrow_indices",
        "%x: f32[9], %y: f32[3], %i: i64[3] => "
        f"convert %i {{dtype=i32}}; scatter %x, %y, %0 {SCATTER}",
        "it makes others of them",
    ),
    (
        "write_over",
        f"{W} {WRITE}; update_slice %0, %w {{start=(3), stride=(1)}}",
        "another place",
    ),
    (
        "write_over",
        f"%x: f32[9], %y: f32[3], %w: f32[2] => {WRITE}; "
        "update_slice %0, %w {start=(2), stride=(1)}",
        "a smaller place",
    ),
    ("reduce_nothing", f"{M} reduce_max %x {{axes=(0)}}", "it reduces"),
    (
        "reduce_of_reduce",
        "%x: f32[2,3] => reduce_sum %x {axes=(1)}; reduce_sum %0 {axes=(0)}",
        "float sums depend on order",
    ),
    (
        "reduce_of_reduce",
        "%x: f32[2,3] => reduce_max %x {axes=(1)}; reduce_max %0 {axes=(0)}",
        "the sign of a zero depends on order",
    ),
    (
        "product_of_nothing",
        "%x: f32[2,3], %y: f32[2,3] => "
        "dot_general %x, %y {contract=((1), (1)), batch=((0), (0))}",
        "it sums",
    ),
    ("drop_stop_gradient", f"{X} neg %x", "no mark"),
    ("drop_checkpoint_name", f"{X} stop_gradient %x", "another mark"),
]


@pytest.mark.parametrize(("name", "before", "after"), REWRITES)
def test_rewrite(name, before, after):
    check_rewrite(name, before, after)


@pytest.mark.parametrize(("name", "graph", "why"), MUST_NOT_FIRE)
def test_must_not_fire(name, graph, why):
    check_does_not_fire(name, graph)


def test_every_rule_is_tested():
    rules = {r.name for r in LOWERING_RULES.rules if r not in LOOP_RULES}
    assert {name for name, *_ in REWRITES} == rules
    assert {name for name, *_ in MUST_NOT_FIRE} == rules


def test_every_rule_documents_itself():
    for rule in LOWERING_RULES.rules:
        assert "->" in rule.before_after, rule.name


def test_rule_names_are_unique():
    names = [r.name for r in LOWERING_RULES.rules]
    assert len(names) == len(set(names))


class TryingAll(RuleSet):
    """Rules that are called whatever the operands are."""

    def on(self, primitive, operands):
        return tuple(self.by_primitive.get(primitive, ()))


@pytest.mark.parametrize("seed", [*range(60), *range(LOOP_SEEDS, LOOP_SEEDS + 20)])
def test_rules_do_not_fire_without_the_operands_that_they_name(seed):
    graph, _ = random_graph(seed)
    named, every = PassContext(), PassContext()
    for rules, context in (
        (LOWERING_RULES, named),
        (TryingAll(LOWERING_RULES.rules), every),
    ):
        on_all_graphs(graph, lambda g, r=rules, c=context: replay(g, r, True, c))
    assert named.stats.fired == every.stats.fired


def test_long_joins_do_not_grow():
    """Joining one part after the other stays linear in the number of parts."""
    parts = ", ".join(["%x"] * 64)
    before = f"concatenate {parts} {{axis=0}}; concatenate %0, %x {{axis=0}}"
    check_does_not_fire("join_of_joins", f"%x: f32[1] => {before}")
