"""Which rows a device runs, the most telling first: `scale` divides sizes, for tests.

The programs are those of `benchmarks.rows`, larger. Half a run's time goes to each
library's compiler, so what is first has to tell the most.
"""

import dataclasses
from collections.abc import Iterable, Iterator

from ..row import Row
from ..rows import (
    attention,
    elementwise,
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
from ..rows.inputs import normal, shrunk

HALF = "bfloat16"
DENSE = 100  # operations a byte


# --- launches ---------------------------------------------------------------------


def relay(x, w):
    """Products and softmaxes by turns: fifty kernels that do next to nothing."""
    for _ in range(25):
        x = normalise.softmax(x @ w)
    return x


def relay_jax(jax):
    def relay(x, w):
        for _ in range(25):
            x = jax.nn.softmax(x @ w)
        return x

    return relay


def relay_torch(torch):
    def relay(x, w):
        for _ in range(25):
            x = torch.softmax(x @ w, -1)
        return x

    return relay


def relay_row(size: int) -> Row:
    return Row(
        name=f"launch_50_kernels_{size}",
        make_inputs=lambda rng: (normal(rng, size, size), normal(rng, size, size)),
        numpy_fn=relay,
        jax_fn=relay_jax,
        torch_fn=relay_torch,
        flops=25 * 2 * size**3,
        bytes=25 * 4 * 4 * size**2,
        rtol=1e-4,
    )


# --- all rows ---------------------------------------------------------------------


def telling(scale: int) -> Iterator[Row]:
    """One or two rows of each kind, and whole train steps."""
    side, long = shrunk(4096, scale, 16), shrunk(2**26, scale)
    rows, wide = shrunk(8192, scale), shrunk(4096, scale)
    heads = _heads(4096, 64, scale)
    yield overhead.ROWS[0]
    yield elementwise.gelu_row(long, name="gelu_chain_64M")
    yield matmul.square(side, HALF)
    yield matmul.layer_row(side, side, side, HALF)
    yield attention.attention_row(heads, True, HALF)
    yield attention.attention_grad_row(heads, True, HALF)
    yield normalise.softmax_row(rows, wide)
    yield normalise.layernorm_grad_row(rows, wide)
    yield reductions.column_sum_row(rows, rows)
    yield language.gpt_step_row(gpt2(scale), HALF, "gpt2_124m_step")
    yield images.resnet_step_row(resnet50(scale), HALF, "resnet50_step")
    yield mlp.adam_row(*(shrunk(n, scale, 4) for n in (1024, 1024, 4096, 4096, 10)))
    yield optimiser.adam_row(shrunk(100, scale, 3), shrunk(1024, scale))
    yield indexing.gather_rows_row(shrunk(2**20, scale), shrunk(50_000, scale), 64)
    yield indexing.scatter_add_row(shrunk(2**21, scale), shrunk(200_000, scale), 16)
    yield relay_row(shrunk(64, scale, 16))


def others(scale: int) -> Iterator[Row]:
    """More sizes and dtypes of every kind."""
    long = shrunk(2**26, scale)
    yield elementwise.gelu_row(long, HALF, "gelu_chain_64M_bf16")
    yield elementwise.black_scholes_row(shrunk(2**24, scale), "black_scholes_16M")
    yield from row_wise(scale)
    yield from sums(scale)
    yield from products(scale)
    yield from attentions(scale)
    yield from convolutions(scale)
    yield from indexed(scale)
    yield language.transformer_step_row(blocks(scale), "transformer_step_6x512")


def row_wise(scale: int) -> Iterator[Row]:
    """Softmax and norms of rows of 256 to 256k."""
    count = shrunk(2**25, scale, 64)
    for columns in (256, 1024, 16384, 65536, 262144):
        width = shrunk(columns, scale)
        rows = max(count // width, 1)
        yield normalise.softmax_row(rows, width)
        yield normalise.layernorm_row(rows, width)
        yield normalise.rms_norm_row(rows, width)
    width = shrunk(4096, scale)
    yield normalise.softmax_row(count // width, width, HALF)
    yield normalise.rms_norm_row(count // width, width, HALF)


def sums(scale: int) -> Iterator[Row]:
    """Reductions of everything, of columns and of rows, and of pairs."""
    long, side = shrunk(2**26, scale), shrunk(8192, scale)
    yield reductions.sum_of_squares_row(long, "sum_of_squares_64M")
    yield reductions.logsumexp_row(long, "logsumexp_64M")
    yield reductions.column_sum_row(shrunk(2**20, scale), shrunk(64, scale))
    yield reductions.argmax_rows_row(side, side)
    yield reductions.pairwise_row(shrunk(8192, scale, 16))


def products(scale: int) -> Iterator[Row]:
    """Products of 1k to 16k, skinny, batched, of other dtypes, with epilogues."""
    for side in (8192, 1024, 2048, 16384):
        yield matmul.square(shrunk(side, scale, 16), HALF)
    side, wide = shrunk(4096, scale, 16), shrunk(8192, scale, 16)
    yield matmul.square(side, "float16")
    yield matmul.square(side)
    for rows in (1, 16):
        yield matmul.product_row(f"matmul_skinny_{rows}", rows, wide, wide, HALF)
    small = shrunk(512, scale, 16)
    batch = shrunk(64, scale, 2)
    yield matmul.product_row(
        "matmul_batched_64x512", small, small, small, HALF, batch=batch
    )
    yield matmul.layer_row(shrunk(8192, scale, 16), small, wide, HALF)
    yield matmul.layer_row(side, side, side)


def attentions(scale: int) -> Iterator[Row]:
    """Attention, causal and not, of both 16-bit dtypes, wider heads, short rows."""
    heads, wide = _heads(4096, 64, scale), _heads(4096, 128, scale)
    yield attention.attention_row(heads, False, HALF)
    yield attention.attention_grad_row(heads, False, HALF)
    yield attention.attention_row(wide, True, HALF)
    yield attention.attention_grad_row(wide, True, HALF)
    yield attention.attention_row(heads, True, "float16")
    yield attention.attention_grad_row(heads, True, "float16")
    yield attention.attention_row(_heads(512, 64, scale), True)
    yield attention.attention_row(_heads(16384, 64, scale, batch=1), True, HALF)


def convolutions(scale: int) -> Iterator[Row]:
    """3x3, 1x1, strided and depthwise; the residual block."""
    batch, channels, side = (shrunk(n, scale, 4) for n in (64, 256, 56))
    x = (batch, channels, side, side)
    yield images.conv_row(x, (channels, channels, 3, 3), HALF)
    yield images.conv_row(x, (channels, channels, 1, 1), HALF)
    yield images.conv_row(x, (channels, channels, 3, 3), HALF, stride=2)
    yield images.conv_row(x, (channels, 1, 3, 3), HALF, groups=channels)
    yield from images.residual_rows(
        (shrunk(128, scale, 2), shrunk(64, scale, 4), side, side)
    )


def indexed(scale: int) -> Iterator[Row]:
    """Gathers with a mean, cumulative sums, sorts, the largest of everything."""
    yield indexing.embedding_mean_row(
        shrunk(65536, scale), shrunk(32, scale, 4), shrunk(50_000, scale), 64
    )
    long = shrunk(2**24, scale)
    yield indexing.cumsum_row(long, "cumsum_16M")
    yield indexing.argmax_row(long, "argmax_16M")
    yield indexing.sort_row(shrunk(2**20, scale), "sort_1M")
    yield loops.nbody_row(shrunk(8192, scale, 16))


def _heads(
    places: int, width: int, scale: int, batch: int = 4
) -> tuple[int, int, int, int]:
    sizes = shrunk(batch, scale, 1), shrunk(16, scale, 2), shrunk(places, scale, 32)
    return *sizes, shrunk(width, scale, 16)


def gpt2(scale: int) -> language.Sizes:
    """GPT-2 of 124 million parameters, 8 texts of 1024 words."""
    if scale == 1:
        return language.GPT2
    return language.Sizes(layers=1, width=16, heads=2, length=16, batch=2, words=32)


def blocks(scale: int) -> language.Sizes:
    """Six blocks without embeddings, in float32."""
    if scale == 1:
        return language.Sizes(layers=6, width=512, heads=8, length=512, batch=16)
    return language.Sizes(layers=1, width=16, heads=2, length=16, batch=2)


def resnet50(scale: int) -> images.ResNet:
    """ResNet-50 on 64 images of ImageNet's size."""
    if scale == 1:
        return images.RESNET50
    return images.ResNet(stages=(1,), width=4, image=16, batch=2, classes=4)


def unique(rows: Iterator[Row]) -> list[Row]:
    """The rows with different names: sizes that `scale` made equal count once."""
    return [*{row.name: row for row in rows}.values()]


def all_rows(scale: int = 1) -> list[Row]:
    """Every row, in the order in which they are measured."""
    return unique(row for part in (telling, others) for row in part(scale))


def autotuned(rows: Iterable[Row]) -> list[Row]:
    """Rows that compute much for each byte are worth the minutes of max-autotune."""
    return [
        dataclasses.replace(row, name=f"{row.name} (max-autotune)")
        for row in rows
        if row.flops > DENSE * row.bytes
    ]
