"""Every primitive: its cells are filled, and `impl` gives what `abstract_eval` says."""

import itertools

import numpy as np
import pytest

from tracejit.errors import TracejitError
from tracejit.ir import dtypes as dt
from tracejit.ir.aval import ShapedArray
from tracejit.ir.primitive import REGISTRY, Kind, Linearity, Primitive
from tracejit.transforms.linearize import SUBGRAPH_RULES

from .samples import ELEMENTWISE, SAMPLES, Sample, sample_id


def has_derivative(p: Primitive) -> bool:
    return (
        p.nondifferentiable
        or p.partials is not None
        or p.jvp is not None
        or p.linearity is not Linearity.NONE
        or p in SUBGRAPH_RULES
        or p.expand is not None
    )


@pytest.mark.parametrize("name", REGISTRY)
def test_cells_are_filled(name):
    p = REGISTRY[name]
    assert callable(p.impl)
    assert has_derivative(p)
    if p.linearity is not Linearity.NONE:
        assert p.transpose is not None
    if p.kind is Kind.ELEMENTWISE:
        assert p.partials is not None


def test_every_primitive_has_a_sample():
    assert {s.name for s in SAMPLES} == set(REGISTRY)


@pytest.mark.parametrize("sample", SAMPLES, ids=sample_id)
def test_impl_gives_the_avals(sample: Sample):
    arrays = sample.make(np.random.default_rng(0))
    check_avals(sample.primitive, arrays, sample.params)


def check_avals(p: Primitive, arrays: list[np.ndarray], params) -> None:
    want = p.out_avals([ShapedArray(x.shape, x.dtype) for x in arrays], params)
    with np.errstate(all="ignore"):
        got = p.evaluate(arrays, params)
    for aval, out in zip(want, got, strict=True):
        out = np.asarray(out)
        assert (out.shape, out.dtype) == (aval.shape, aval.dtype), (p, arrays, aval)


@pytest.mark.parametrize("p", ELEMENTWISE, ids=str)
def test_elementwise_impl_gives_the_avals_for_every_dtype(p: Primitive):
    """Whatever `abstract_eval` accepts, `impl` computes, in the dtype promised."""
    rng = np.random.default_rng(1)
    assert p.partials is not None
    accepted = 0
    for dtype in dt.NAME_TO_DTYPE.values():
        first = dt.BOOL if p.name == "select" else dtype
        dtypes = [first, *[dtype] * (len(p.partials) - 1)]
        for shapes in itertools.product(((), (2, 3)), repeat=len(dtypes)):
            arrays = [
                np.asarray(rng.integers(0, 2, s)).astype(d)
                for s, d in zip(shapes, dtypes, strict=True)
            ]
            for params in _params(p):
                try:
                    p.out_avals([ShapedArray(x.shape, x.dtype) for x in arrays], params)
                except TracejitError:
                    continue
                check_avals(p, arrays, params)
                accepted += 1
    assert accepted


def _params(p: Primitive) -> list[dict[str, np.dtype]]:
    if p.name not in ("convert", "bitcast"):
        return [{}]
    return [{"dtype": d} for d in dt.NAME_TO_DTYPE.values()]


@pytest.mark.parametrize(
    ("name", "shapes", "params"),
    [
        ("add", [(2,), (3,)], {}),
        ("reduce_sum", [(2, 3)], {"axes": (2,)}),
        ("reduce_sum", [(2, 3)], {"axes": (0, 0)}),
        ("reduce_max", [(0, 3)], {"axes": (0,)}),
        ("reshape", [(2, 3)], {"shape": (5,)}),
        ("transpose", [(2, 3)], {"perm": (0, 0)}),
        ("broadcast_in_dim", [(2, 3)], {"shape": (3, 2), "dims": (1, 0)}),
        ("broadcast_in_dim", [(2,)], {"shape": (3,), "dims": (1,)}),
        ("slice", [(4,)], {"start": (0,), "stop": (5,), "stride": (1,)}),
        ("update_slice", [(4,), (3,)], {"start": (2,), "stride": (1,)}),
        ("pad", [(4,), ()], {"low": (-1,), "high": (0,)}),
        ("concatenate", [(2, 3), (3, 3)], {"axis": 1}),
        ("gather", [(4,)], {"axes": (0,), "batch": 0, "mode": "raise"}),
        ("rev", [(2,)], {"axes": (1,)}),
        ("iota", [], {"shape": (2,), "axis": 1, "dtype": np.dtype("f8")}),
        ("solve", [(2, 3), (2, 1)], {}),
        ("sort", [(2, 3)], {"axis": 2}),
        ("cumsum", [(2, 3)], {"axis": 2, "reverse": False}),
        ("argmax", [(0,)], {"axis": 0}),
        ("fft", [(4,)], {"form": "rfft", "axis": 0, "n": 3}),
        (
            "dot_general",
            [(2, 3), (2, 3)],
            {"contract": ((1,), (0,)), "batch": ((), ())},
        ),
    ],
)
def test_abstract_eval_rejects(name, shapes, params):
    avals = [ShapedArray(s, np.dtype("f8")) for s in shapes]
    with pytest.raises(TracejitError):
        REGISTRY[name].out_avals(avals, params)


def test_flops_are_finite():
    for sample in SAMPLES:
        arrays = sample.make(np.random.default_rng(0))
        avals = tuple(ShapedArray(x.shape, x.dtype) for x in arrays)
        outs = sample.primitive.out_avals(avals, sample.params)
        flops = sample.primitive.flops(avals, outs, sample.params)
        assert np.isfinite(flops), sample.name
        assert flops >= 0
