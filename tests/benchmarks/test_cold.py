"""What happens once: how numbers of other processes come together. No times."""

import pytest

from benchmarks import cold, sizes
from benchmarks.__main__ import chosen_rows, parse_peers
from benchmarks.contenders import PEERS
from benchmarks.row import OURS
from benchmarks.rows import SUITES
from tracejit.debug.machine import measure_limits

WANTED = [
    *("gelu", "softmax", "layernorm", "rms_silu", "sum_of_squares", "logsumexp"),
    *("column_sum", "black_scholes", "pairwise", "mlp_forward", "mlp_adam", "mlp_sgd"),
    *("causal_attention_4", "causal_attention_grad", "transformer_step"),
    *("residual_conv_32", "residual_conv_grad", "matmul_1024", "matmul_256"),
    *("matmul_64", "matmul_64x128", "matmul_1024_bf16", "mandelbrot", "lstm"),
    *("rosenbrock", "nbody", "embedding", "scatter_add", "sort", "cumsum", "argmax"),
    *("add_one_8", "sum_20", "dict_of_100"),
]


def test_a_first_call_is_measured_where_it_is_made():
    found = cold.first_call(cold.FIRST_CALLS["chain_10"], "numpy")
    assert found["seconds"] > 0


def test_a_process_may_have_compiled_another_program_before(capsys):
    cold.main("next", "gelu_chain", "numpy")
    assert '"seconds"' in capsys.readouterr().out


def test_memory_of_a_call_is_above_its_result(monkeypatch):
    if not cold.CLEAR.exists():
        pytest.skip("needs Linux's /proc")
    big, small, least = cold.MEMORY["gelu_chain on 16 MB"]
    assert cold.peak_bytes(small, big, "numpy")["bytes"] >= 0.9 * least


def test_processes_say_why_they_fail(tmp_path):
    found = cold.in_process("first", "chain_10", "nobody", cache=str(tmp_path))
    assert "nobody" in found


def test_numbers_and_reasons_become_a_table():
    def measure(program, name):
        return {"a": 1.0, "b": "it failed", "c": None}[name]

    table = cold.collect("title", "s", ["p"], ["a", "b", "c"], measure)
    assert table.rows == {"p": {"a": 1.0, "b": None, "c": None}}
    assert table.notes == ("b, p: it failed",)


def test_what_is_not_tried(monkeypatch):
    monkeypatch.setattr(cold, "in_process", lambda *a, cache: {"seconds": 2.0})
    monkeypatch.setattr(cold, "_import", lambda program, package: 1.0)
    tables = cold.compile_tables([*PEERS, OURS])
    first = tables[0].rows
    assert first["chain_5000"]["inductor"] is None
    assert first["chain_100"] == dict.fromkeys(
        ("jax", "inductor", "numba", "drjit", OURS), 2.0
    )
    assert first["mlp_grad_10_layers"]["numba"] is None
    assert tables[1].rows == first
    assert set(tables[2].rows) == set(cold.AGAIN)
    assert tables[3].rows["import"]["numba"] == 1.0


def test_closures_have_all_that_is_needed():
    found = sizes.closure(["rich"])
    assert {"rich", "pygments"} <= found
    assert sizes.closure_bytes("tracejit") > sizes.closure_bytes("numpy") > 10**7


def test_limits_of_this_machine_are_rates():
    limits = measure_limits(sizes=(2**16,), seconds=1e-4, threads=1)
    assert limits.gflop_s["float32"] > 0.1
    assert limits.gb_s[2**16] > 0.1


def test_suites_have_the_rows_of_the_goals():
    names = " ".join(row.name for row in chosen_rows("all", ""))
    for part in WANTED:
        assert part in names
    assert chosen_rows("compile", "") == []
    assert len(chosen_rows("core", "^sort")) == 1
    assert parse_peers("") == [*PEERS, OURS]
    assert set(SUITES) == {"core", "overhead", "models"}
