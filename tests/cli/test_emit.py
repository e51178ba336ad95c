"""`tracejit emit`: what it prints for each target, and its errors."""

import platform

import pytest
from click.testing import CliRunner

import tracejit.cli.emit as emit_module
from tracejit.cli.emit import TARGETS
from tracejit.cli.main import main
from tracejit.kernels.parser import parse_kernel
from tracejit.passes.limits import Limits

from .test_trace import model  # noqa: F401

GRAPH = """
graph @double(%x: f32[6]) -> (f32[6]) {
  %y: f32[6] = add %x, %x
  return %y
}
graph @half(%x: f32[6]) -> (f32[6]) {
  %y: f32[6] = mul %x, 0.5
  return %y
}
"""


@pytest.fixture(autouse=True)
def _in_model_folder(model):  # noqa: F811
    """Work beside the model, and leave nothing of it behind."""


def run(*args):
    return CliRunner().invoke(main, ["emit", *args])


def shown(*args):
    result = run(*args)
    assert result.exit_code == 0, result.output
    return result.stdout


def refused(*args, code=2):
    result = run(*args)
    assert result.exit_code == code, result.output
    assert not result.stdout
    return result.stderr


def softmax(target, *more, size="f32[4,8]"):
    return shown("model.py:softmax", "--arg", size, "--target", target, *more)


# --- targets ----------------------------------------------------------------------


def test_program():
    text = softmax("program")
    assert text.startswith("program @softmax(%x0) -> (%y1)")
    assert "run @softmax_k0_max_exp_sum" in text and "kernel @" not in text


def test_kernels_are_the_default():
    text = softmax("kernels")
    assert text == shown("model.py:softmax", "--arg", "f32[4,8]")
    kernel, schedule = parse_kernel(text)
    assert kernel.name == "softmax_k0_max_exp_sum" and schedule is not None


def test_llvm_and_assembly():
    text = softmax("llvm", "--isa", "baseline")
    assert (
        "define internal void @softmax_k0_max_exp_sum" in text
        and "<16 x float>" not in text
    )
    listing = softmax("asm", "--isa", "baseline")
    assert (
        ".text" in listing
        and "softmax_k0_max_exp_sum" in listing
        and "zmm" not in listing
    )


def test_triton_modules_can_be_imported_as_they_are():
    text = softmax("triton")
    compile(text, "<triton>", "exec")
    assert "def softmax_k0_max_exp_sum(" in text
    assert (
        "\n# launch: softmax_k0_max_exp_sum[(1,)](x_ptr, out0_ptr, xnumel=4, rnumel=8"
        in text
    )


def test_triton_names_the_workspace_of_split_reductions(tmp_path):
    (tmp_path / "sums.py").write_text("def total(x):\n    return x.sum()\n")
    text = shown("sums.py:total", "--arg", "f32[1000000]", "--target", "triton")
    assert text.count("@triton.jit\ndef total_k0_sum_") == 2
    assert "# workspace: ws_v1_part_ptr" in text
    assert "# launch: total_k0_sum_partial[(" in text


def test_triton_parts_are_functions_of_one_module(tmp_path):
    source = "def step(a, b):\n    return a * 2 + 1, b * 2 + 1\n"
    (tmp_path / "two.py").write_text(source)
    args = ("two.py:step", "--arg", "f32[2000]", "--arg", "f32[7]")
    text = shown(*args, "--target", "triton")
    compile(text, "<triton>", "exec")
    assert text.count("\ndef step_k0_fma_") == 2 and "\ndef step_k0_fma(" in text
    pointers = "p0_a_ptr, p1_b_ptr, p0_out0_ptr, p1_out0_ptr"
    assert f"# launch: step_k0_fma[(3,)]({pointers}, num_warps=" in text


def test_triton_says_what_runs_elsewhere(tmp_path):
    source = (
        "import numpy as np\ndef solve(a, b):\n    return np.linalg.solve(a, b) * 2\n"
    )
    (tmp_path / "lin.py").write_text(source)
    args = ("lin.py:solve", "--arg", "f64[3,3]", "--arg", "f64[3,2]")
    text = shown(*args, "--target", "triton")
    assert "# not a kernel: extern " in text and "def solve_k" in text


@pytest.mark.parametrize("source", ["model.py:softmax", "graph.tir"])
def test_each_target_says_what_its_kernels_contain(tmp_path, monkeypatch, source):
    graph = "graph @e(%x: f32[4,8]) -> (f32[4,8]) {\n  %y: f32[4,8] = exp %x\n"
    (tmp_path / "graph.tir").write_text(f"{graph}  return %y\n}}\n")
    arguments = () if source.endswith(".tir") else ("--arg", "f32[4,8]")
    without = Limits("no exp", lambda primitive, dtypes: primitive.name != "exp")
    monkeypatch.setattr(emit_module, "TRITON", without)
    assert "# not a kernel: extern exp" in shown(
        source, *arguments, "--target", "triton"
    )
    assert "= exp(" in shown(source, *arguments, "--target", "kernels")


@pytest.mark.skipif(platform.system() != "Linux", reason="Triton is for Linux")
def test_ptx(tmp_path, monkeypatch):
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path / "cache"))
    text = softmax("ptx", "--arch", "sm_80")
    assert text.startswith("// softmax_k0_max_exp_sum: 1 warps, ")
    assert ".target sm_80" in text and ".visible .entry softmax_k0_max_exp_sum(" in text
    assert ".target sm_90" in softmax("ptx")


@pytest.mark.skipif(platform.system() != "Linux", reason="Triton is for Linux")
def test_all_that_a_kernel_becomes_for_a_gpu(tmp_path, monkeypatch):
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path / "cache"))
    text = softmax("triton:sm_90")
    compile(text, "softmax.py", "exec")  # the rest are comments
    assert (
        "# .target sm_90" in text and "# // softmax_k0_max_exp_sum: 1 warps, " in text
    )
    assert " registers a thread, 0 bytes spilled" in text
    assert "EXIT" in text
    sass = softmax("sass:sm_80")
    assert sass.startswith("// softmax_k0_max_exp_sum: ") and "EXIT" in sass
    assert ".target sm_80" in softmax("ptx:sm_80")


@pytest.mark.skipif(platform.system() != "Linux", reason="Triton is for Linux")
def test_amds_gpus(tmp_path, monkeypatch):
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path / "cache"))
    text = softmax("triton:gfx942")
    compile(text, "softmax.py", "exec")
    assert (
        "def softmax_k0_max_exp_sum(" in text
        and "# ; softmax_k0_max_exp_sum: 1 warps, " in text
    )
    assert "untested (it has run on no device)" in text and "s_endpgm" in text
    assert softmax("amdgcn").startswith("; softmax_k0_max_exp_sum: 1 warps, ")


def test_scatters_are_kernels_of_their_own(tmp_path, monkeypatch):
    (tmp_path / "sums.py").write_text(
        "import numpy as np\ndef add(x, i):\n    np.add.at(x, i, 1.0)\n"
    )
    monkeypatch.chdir(tmp_path)
    text = shown(
        "sums.py:add", "--arg", "f32[9]", "--arg", "i64[4]", "--target", "triton"
    )
    assert "tl.atomic_add(" in text and "# launch: scatter_add[(1,)](" in text


@pytest.mark.parametrize("target", ["c", "llvm:sm_90", "ptx:gfx", "triton:"])
def test_targets_that_are_none(target):
    said = refused("model.py:softmax", "--target", target)
    assert "--target" in said or "GPU architecture" in said


@pytest.mark.parametrize("target", ["program", "kernels", "llvm", "asm", "triton"])
def test_graphs_in_a_file(tmp_path, target):
    (tmp_path / "graphs.tir").write_text(GRAPH)
    text = shown("graphs.tir", "--target", target)
    assert "double" in text and "half" in text


# --- errors -----------------------------------------------------------------------


def test_wrong_command_lines_are_refused(tmp_path):
    (tmp_path / "graphs.tir").write_text(GRAPH)
    assert "does not take" in refused("model.py:softmax")
    assert "leave out --arg" in refused("graphs.tir", "--arg", "f32[6]")
    assert "cannot be read" in refused("none.tir")
    assert "names no function" in refused("model.py")
    assert "Invalid value for '--target'" in refused(
        "model.py:softmax", "--target", "c"
    )


def test_wrong_graph_is_shown_with_its_place(tmp_path):
    (tmp_path / "wrong.tir").write_text(
        "graph @f(%x: f32[2]) -> (f32[2]) { return %y }"
    )
    assert "wrong.tir:1:" in refused("wrong.tir", code=1)


def test_wrong_architecture_is_refused():
    args = ("model.py:softmax", "--arg", "f32[4,8]", "--target", "ptx")
    said = refused(*args, "--arch", "gfx", code=1)
    assert "no GPU architecture" in said and "sm_90" in said
    assert "no ptx of gfx942; print triton or amdgcn" in refused(
        *args, "--arch", "gfx942"
    )
    assert "no amdgcn of sm_90" in refused(*args[:-1], "amdgcn:sm_90")


def test_what_triton_lacks_is_taken_from_cuda(tmp_path):
    source = "import numpy as np\ndef after(x, y):\n    return np.nextafter(x, y)\n"
    (tmp_path / "odd.py").write_text(source)
    args = ("odd.py:after", "--arg", "f32[4]", "--arg", "f32[4]", "--target", "triton")
    assert "libdevice.nextafter" in shown(*args)


def test_help_has_examples_of_targets():
    text = shown("--help")
    assert all(f"  {target} " in text for target in TARGETS)
    assert "--target ptx --arch sm_90" in text
