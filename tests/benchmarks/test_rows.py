"""Every program beside every twin that is installed, on sizes of a moment."""

import pytest

from benchmarks import timing
from benchmarks.contenders import PEERS
from benchmarks.measure import measure
from benchmarks.row import OURS, Status
from benchmarks.rows import (
    attention,
    elementwise,
    growing,
    images,
    indexing,
    language,
    loops,
    matmul,
    mlp,
    normalise,
    optimiser,
    overhead,
    reductions,
)

TINY = language.Sizes(layers=2, width=16, heads=2, length=8, batch=2, words=32)
NET = images.ResNet(stages=(1, 1), width=4, image=32, batch=2, classes=8)
HEADS = (1, 2, 16, 8)
ROWS = [
    elementwise.gelu_row(1000),
    elementwise.gelu_row(1000, "bfloat16", "gelu_bf16"),
    elementwise.black_scholes_row(1000, "black_scholes"),
    normalise.softmax_row(16, 32),
    normalise.layernorm_row(16, 32),
    normalise.layernorm_grad_row(16, 32),
    normalise.rms_norm_row(16, 32, "float16"),
    normalise.rms_silu_row(16, 32),
    reductions.sum_of_squares_row(1000, "sum_of_squares"),
    reductions.logsumexp_row(1000, "logsumexp"),
    reductions.column_sum_row(64, 32),
    reductions.argmax_rows_row(64, 32),
    reductions.pairwise_row(32),
    matmul.square(32),
    matmul.square(32, "bfloat16"),
    matmul.product_row("batched", 8, 9, 10, batch=4),
    matmul.layer_row(16, 17, 18),
    *(
        row(HEADS, is_causal, dtype)
        for row in (attention.attention_row, attention.attention_grad_row)
        for is_causal in (False, True)
        for dtype in ("float32", "bfloat16")
    ),
    indexing.embedding_mean_row(8, 4, 50, 16),
    indexing.gather_rows_row(8, 50, 16),
    indexing.scatter_add_row(100, 10, 4),
    indexing.sort_row(100, "sort"),
    indexing.cumsum_row(100, "cumsum"),
    indexing.argmax_row(100, "argmax"),
    loops.mandelbrot_row(1000, 20, "mandelbrot"),
    loops.lstm_row(3, 4, 8),
    loops.lstm_scan_row(3, 4, 8),
    loops.rosenbrock_row(100, "rosenbrock"),
    loops.nbody_row(20),
    mlp.forward_row(4, 5, 6, 7),
    mlp.sgd_row(4, 5, 6, 7),
    mlp.adam_row(4, 5, 6, 7),
    optimiser.adam_row(3, 8),
    language.transformer_step_row(TINY),
    language.gpt_step_row(TINY),
    language.gpt_step_row(TINY, "bfloat16"),
    images.conv_row((2, 4, 8, 8), (6, 4, 3, 3)),
    images.conv_row((2, 4, 8, 8), (4, 1, 3, 3), stride=2, groups=4),
    *images.residual_rows((2, 4, 8, 8)),
    images.resnet_step_row(NET),
    images.resnet_step_row(NET, "bfloat16"),
    growing.chain_row(12),
    growing.layers_row(3),
    *overhead.ROWS,
]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # what peers warn of is their affair
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_every_twin_gives_the_reference(row, monkeypatch):
    monkeypatch.setattr(timing, "WARM_S", 0.0)
    monkeypatch.setattr(timing, "PATIENCE", 1)
    names = [name for name in PEERS if name != "inductor"]
    found = measure(row, [*names, OURS], rounds=1).measurements
    for name, one in found.items():
        unknown = {Status.NO_TWIN, Status.MISSING} if name != OURS else set()
        assert one.status in {Status.OK, *unknown}, f"{name}: {one.note}"
