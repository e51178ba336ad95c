"""Emitted kernels through Triton's compiler to PTX and cubin for Hopper; no GPU."""

import builtins
import re
import subprocess
import sys

import ml_dtypes
import numpy as np
import pytest

from tests.sampling import in_turn
from tracejit.codegen.triton.build import build, capability_of
from tracejit.codegen.triton.code import Tuning
from tracejit.codegen.triton.elementwise import can_emit
from tracejit.codegen.triton.emit import emit_kernel
from tracejit.errors import InternalError, TracejitError
from tracejit.ir import dtypes as dt
from tracejit.ir.ops import elementwise as ops
from tracejit.kernels.parser import parse_kernel

from . import test_elementwise as elementwise
from . import test_kernels as kernels
from .running import runs_of
from .test_kernels import emitted, zeros

BF16 = ml_dtypes.bfloat16
SHARED_LIMIT = 227 << 10  # bytes that one program can have on Hopper
ELF = b"\x7fELF"


def built(function, *args, **tuning):
    runs = runs_of(function, *args)
    found = [
        build(code)
        for run in runs
        for code in emit_kernel(*run, Tuning(**tuning)).codes
    ]
    for one in found:
        assert one.cubin.startswith(ELF)
        assert re.search(rf"\.entry {one.name}\(", one.ptx)
        assert ".target sm_90" in one.ptx
        assert one.facts.shared <= SHARED_LIMIT
        assert one.facts.spilled in (0, None)
        assert one.global_scratch == 0
    return found


@pytest.mark.parametrize(
    ("function", "args"),
    [
        (kernels.gelu, [zeros(1000, 1000)]),
        (kernels.softmax, [zeros(4096, 1000)]),
        (kernels.softmax, [zeros(600, 9000)]),
        (kernels.layer_norm, [zeros(64, 768), zeros(768), zeros(768)]),
        (lambda x: x.sum(axis=0), [zeros(3000, 1700)]),
        (lambda x: x.argmax(axis=1), [zeros(200, 50)]),
        (lambda x: x.argmax(), [zeros(200000)]),
        (kernels.transposed_sum, [zeros(30, 50), zeros(50, 30)]),
        (kernels.padded, [zeros(4, 5), zeros(3, 8)]),
        (kernels.row_of, [zeros(40, 8), zeros(5, dtype=np.int64)]),
        (kernels.int_ops, [zeros(99, dtype=np.int32), zeros(99, dtype=np.int32)]),
    ],
)
def test_kernels_build(function, args):
    assert built(function, *args)


def test_parts_build():
    shapes = (512, 256), (256,), (300, 7)
    args = [[zeros(*s) for s in shapes], [zeros(*s) for s in shapes]]
    (one,) = built(kernels.updates, *args)
    assert "ld.global.v4" in one.ptx  # what pointers are known of reaches the parts
    for code in emit_kernel(*parse_kernel(kernels.PARTS)).codes:
        assert build(code).cubin.startswith(ELF)


def test_fused_product_builds():
    kernel, schedule = parse_kernel(kernels.FUSED.format(m=512, n=256, k=128))
    (code,) = emit_kernel(kernel, schedule).codes
    one = build(code)
    assert one.facts.shared <= SHARED_LIMIT and one.facts.spilled in (0, None)
    assert "fma.rn.f32" in one.ptx and "tf32" not in one.ptx


def test_float64_products_are_float64():
    x = zeros(64, 64, dtype=np.float64)
    (one,) = built(lambda x, w: x @ w, x, x)
    assert re.search(r"mma\S*\.f64|fma.rn.f64", one.ptx)


def test_half_products_run_on_tensor_cores():
    x = zeros(512, 512, dtype=BF16)
    (one,) = built(lambda x, w: x @ w, x, x)
    assert "wgmma.mma_async" in one.ptx


@pytest.mark.parametrize(("dtype", "columns"), in_turn([np.float32, BF16], [10, 256]))
def test_rows_of_products_build(dtype, columns):
    sizes = (32768, 256), (256, columns), (columns,)
    args = [zeros(*size, dtype=dtype) for size in sizes]
    (one,) = built(kernels.rows_of(kernels.softmax), *args)
    assert ("wgmma.mma_async" in one.ptx) is (dtype is BF16)
    assert "tf32" not in one.ptx


def test_whole_blocks_are_loaded_as_vectors():
    (one,) = built(kernels.gelu, zeros(1024, 1024))
    assert "ld.global.v4" in one.ptx and "st.global.v4" in one.ptx


def test_transposes_go_through_shared_memory():
    (one,) = built(kernels.transposed_sum, zeros(64, 96), zeros(96, 64))
    assert one.facts.shared > 0


def test_unaligned_pointers_are_not():
    (code,) = emitted(kernels.gelu, zeros(1024, 1024)).codes
    assert "ld.global.v4" not in build(code, aligned=()).ptx
    assert "ld.global.v4" in build(code, aligned=["x_ptr"]).ptx


def test_nothing_is_contracted_but_what_the_graph_says():
    text = """
kernel @k(%x: f32[1024], %y: f32[1024]) -> (%z: f32[1024]) axes(i: 1024) {{
  schedule i: vector
  %a{{i}} = load %x[i]
  %b{{i}} = load %y[i]
  store %z[i] = {value}
}}
"""
    apart = emit_kernel(*parse_kernel(text.format(value="(%a * %b) + %a"))).codes[0]
    fused = emit_kernel(*parse_kernel(text.format(value="fma(%a, %b, %a)"))).codes[0]
    assert "fma" not in build(apart).ptx
    assert "fma.rn.f32" in build(fused).ptx


@pytest.mark.parametrize("name", ["bool", "i8", "u64", "f16", "f32", "f64"])
def test_every_primitive_builds(name):
    dtype = dt.NAME_TO_DTYPE[name]
    inputs = [elementwise.operands_for("", dtype, 1)[0]] * 3 + [np.zeros(41, bool)]
    computed = [(ops.convert_p, {"dtype": to}, [0]) for to in elementwise.REAL]
    computed += [
        (ops.bitcast_p, {"dtype": to}, [0])
        for to in elementwise.REAL
        if to.itemsize == dtype.itemsize
    ]
    for primitive in elementwise.PRIMITIVES:
        dtypes = elementwise.operand_dtypes(primitive, dtype)
        has_dtype = primitive in (ops.convert_p, ops.bitcast_p)
        if has_dtype or not elementwise.takes(primitive, dtypes):
            continue
        if can_emit(primitive, dtypes):
            places = [3, 0, 1] if primitive.name == "select" else range(len(dtypes))
            computed.append((primitive, {}, list(places)))
    (code,) = emit_kernel(*elementwise.kernel_of(computed, inputs)).codes
    assert build(code).cubin.startswith(ELF)


def test_other_architectures():
    (code,) = emitted(kernels.softmax, zeros(64, 64)).codes
    assert ".target sm_80" in build(code, "sm_80").ptx
    assert capability_of("sm_90a") == 90
    with pytest.raises(TracejitError, match="'gfx' is no GPU architecture"):
        build(code, "gfx")


def test_amds_architectures():
    (code,) = emitted(kernels.softmax, zeros(64, 64)).codes
    built = build(code, "gfx942")
    assert "-gfx942" in built.ptx and built.cubin.startswith(ELF)
    assert built.facts.registers and built.facts.spilled == 0


def test_what_triton_refuses_is_shown_with_its_kernel():
    (code,) = emitted(kernels.gelu, zeros(64)).codes
    wrong = code.source.replace("tl.load(", "tl.no_such_function(")
    broken = type(code)(**{**vars(code), "source": wrong})
    with pytest.raises(
        InternalError, match=r"(?s)gelu_k0_tanh is refused.*def gelu_k0_tanh"
    ):
        build(broken)


def test_missing_triton_is_explained(monkeypatch):
    (code,) = emitted(kernels.gelu, zeros(64)).codes
    plain = builtins.__import__

    def without(name, *args, **kwargs):
        if name.partition(".")[0] == "triton":
            raise ImportError(name)
        return plain(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(TracejitError, match=r"(?s)needs Triton.*tracejit\[gpu\]"):
        build(code)


def test_emitting_needs_no_triton():
    script = (
        "import sys, tracejit.codegen.triton.emit, tracejit.codegen.triton.build\n"
        "assert not {'triton', 'torch'} & {*sys.modules}"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
