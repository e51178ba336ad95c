"""What the tuner measures, what it takes, and the file that keeps it."""

import json
from dataclasses import replace

import numpy as np
import pytest

import tracejit as tj
from tests.codegen.triton.running import runs_of
from tracejit import config
from tracejit.codegen.triton.code import Tuning
from tracejit.codegen.triton.emit import sites_of
from tracejit.codegen.triton.lockfile import LockFile, Measured
from tracejit.codegen.triton.ranking import first
from tracejit.codegen.triton.store import triton_version
from tracejit.errors import InternalError, TracejitError, TuningFileWarning
from tracejit.runtime.cuda import bench as bench_module
from tracejit.runtime.cuda import tuner as tuner_module
from tracejit.runtime.cuda.bench import Bench, are_close
from tracejit.runtime.cuda.tuner import Effort, Tuner, best_of, tuner_of

LITTLE = Effort(rounds=1, window_us=1.0)
X = np.linspace(-1, 1, 20 * 20, dtype=np.float32).reshape(20, 20)
W = np.linspace(1, -2, 20 * 24, dtype=np.float32).reshape(20, 24)


def layer(x, w):
    return np.maximum(x @ w, 0)


def site_of(function, *args):
    (run,) = runs_of(function, *args)
    (site,) = sites_of(*run, Tuning())
    return site


@pytest.fixture
def quick(monkeypatch):
    """Measure little, as time is not that of a device here."""
    monkeypatch.setattr(tuner_module.Tuner, "__init__", quick_init)


def quick_init(self, device, effort=LITTLE, usual=Tuner.__init__):
    usual(self, device, effort)


def narrow(code):
    """The cost of a program, as if wide blocks, as the default has, were slow."""
    return 1.0 if code.constexprs.get("BLOCK_N") == 16 else 3.0


@pytest.fixture
def site():
    return site_of(layer, X, W)


def test_times_are_those_of_runs(fake, device, site):
    fake.cost = narrow
    measured = Tuner(device, LITTLE).measure(site)
    assert 2 <= len(measured) <= 16
    assert {round(m.time_us) for m in measured} <= {1000, 3000}
    fast = {m.choice.blocks["BLOCK_N"] for m in measured if m.time_us < 2e3}
    assert fast == {16} and measured[0].choice.blocks["BLOCK_N"] == 32
    assert not fake.graphs  # recordings are let go of
    assert device.pool.live_bytes == 0


def test_the_fastest_choice_runs_and_is_right(fake, device, quick):
    fake.cost = narrow
    with config.override(tune="on"):
        y = tj.jit(layer, device=device)(X, W)
    (code,) = {code.source: code for code in fake.launches[-1:]}.values()
    assert code.constexprs["BLOCK_N"] == 16
    np.testing.assert_allclose(y.numpy(), layer(X, W), rtol=1e-5, atol=1e-5)


def test_without_the_switch_nothing_is_measured(fake, device):
    tj.jit(layer, device=device)(X, W)
    assert "cuEventElapsedTime" not in fake.names()
    assert len(fake.launches) == 1


def test_a_little_faster_is_not_faster(fake, device, site):
    fake.cost = lambda code: 0.99 if code.constexprs["BLOCK_N"] == 16 else 1.0
    measured = Tuner(device, LITTLE).measure(site)
    assert min(m.time_us for m in measured) < measured[0].time_us
    assert best_of(measured) is measured[0]


def test_wrong_results_are_not_taken(fake, device, site):
    """A choice whose kernel computes something else is dropped, however fast."""
    plain = fake.build

    def broken(code, arch, aligned):
        if code.constexprs.get("BLOCK_N") == 16:
            code = replace(
                code, source=code.source.replace("acc = tl.", "acc = 2 * tl.")
            )
        return plain(code, arch, aligned)

    fake.cost = narrow
    device.builder = broken
    measured = Tuner(device, LITTLE).measure(site)
    assert {m.choice.blocks["BLOCK_N"] for m in measured} == {32}


def test_what_does_not_build_is_left_out(fake, device, site):
    plain = fake.build

    def refused(code, arch, aligned):
        if code.constexprs["BLOCK_N"] == 16:
            raise InternalError("refused")
        return plain(code, arch, aligned)

    everything = Tuner(device, LITTLE).measure(site)
    other = fake.device()
    other.builder = refused
    some = Tuner(other, LITTLE).measure(site)
    assert 0 < len(some) < len(everything)


def test_kernels_have_the_scratch_memory_they_need(fake, device, quick):
    """Descriptors lie there, behind whatever else a call uses."""

    def two(x, w):
        return np.exp(layer(x, w) @ w.T).sum(axis=1)

    fake.scratch = 384
    for tune in ("off", "on"):
        with config.override(tune=tune):
            y = tj.jit(two, device=device)(X / 9, W)
        np.testing.assert_allclose(y.numpy(), two(X / 9, W), rtol=1e-4)


def test_what_cannot_be_recorded_is_not_measured(fake, device, site):
    fake.failing["cuGraphInstantiateWithFlags"] = 801
    assert Tuner(device, LITTLE).measure(site) == []
    assert not fake.recording and device.pool.live_bytes == 0


def test_no_room_to_measure_in(fake, site):
    fake.capacity = 1024
    assert Tuner(fake.device(), LITTLE).measure(site) == []


def test_pieces_of_large_results_are_compared(fake, device, site, monkeypatch):
    monkeypatch.setattr(bench_module, "_PIECES", 5)
    monkeypatch.setattr(bench_module, "_PIECE", 7)
    with Bench(device, site) as bench:
        (found,) = bench.results(bench.trial(first(site)))
        rows = bench.results(bench.trial(first(site)))
        assert bench.agrees(bench.trial(first(site)), rows)
    assert found.shape == (35,) and np.isfinite(found).all()


def test_arguments_are_not_touched(fake, device, quick):
    def step(x):
        x += 1

    x = tj.to_device(X, device)
    with config.override(tune="on"):
        tj.jit(step)(x)
    np.testing.assert_array_equal(x.numpy(), X + 1)


def test_rows_and_splits_have_choices_too(fake, device, quick):
    def softmax(x):
        e = np.exp(x - x.max(axis=-1, keepdims=True))
        return e / e.sum(axis=-1, keepdims=True)

    fake.cost = lambda code: 1.0 / code.num_warps
    with config.override(tune="on"):
        y = tj.jit(softmax, device=device)(X)
    np.testing.assert_allclose(y.numpy(), softmax(X), rtol=1e-5)
    best = fake.launches[-1].num_warps
    assert best == max(code.num_warps for code in fake.launches)


# --- the file


@pytest.fixture
def path(tmp_path):
    return tmp_path / "tuning.json"


def tuned(fake, path, tune):
    device = fake.device()
    with config.override(tune=tune, tuning_file=str(path)):
        y = tj.jit(layer, device=device)(X, W)
    np.testing.assert_allclose(y.numpy(), layer(X, W), rtol=1e-5, atol=1e-5)
    return fake.launches[-1]


def test_choices_are_kept_in_a_file(fake, quick, path):
    fake.cost = narrow
    best = tuned(fake, path, "on")
    text = path.read_text()
    (entry,) = json.loads(text)["sites"].values()
    (about,) = entry["targets"].values()
    assert list(entry["targets"]) == ["sm_90, 132 processors"]
    assert entry["kernel"] == "layer_k0_matmul"
    assert about["choice"]["blocks"]["BLOCK_N"] == 16
    assert about["default_us"] > min(about["times_us"].values())
    fake.calls.clear()
    again = tuned(fake, path, "off")
    assert (again.source, again.constexprs) == (best.source, best.constexprs)
    assert "cuEventElapsedTime" not in fake.names()  # read, not measured
    tuned(fake, path, "on")
    assert "cuEventElapsedTime" not in fake.names()  # known
    assert path.read_text() == text


def changed_file(path, site, change):
    """Write a file with one entry, of which something is wrong."""
    choice = replace(first(site), num_warps=8)
    file = LockFile(path, triton_version())
    file.record(site, choice, [Measured(choice, 1.0)])
    data = json.loads(file.text())
    data["sites"][site.key]["targets"][site.target].update(change)
    path.write_text(json.dumps(data))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"triton": "3.1.0"}, r"is of Triton 3.1.0, not "),
        ({"choice": 3}, "is damaged: a choice is an object"),
        ({"choice": {"blocks": {"BLOCK_M": 5}}}, "is damaged: blocks of a choice"),
        ({"choice": {"num_warps": "8"}}, "is damaged: num_warps of a choice cannot"),
        ({"choice": {"speed": 8}}, "is damaged: there is no 'speed' in a choice"),
        ({"choice": {"form": "magic"}}, "is damaged: form of a choice cannot"),
        ({"choice": {"blocks": {"XBLOCK": 8}}}, "does not fit its kernel: XBLOCK=8"),
    ],
)
def test_damaged_and_old_entries_are_named(fake, site, path, change, said):
    default = tuned(fake, path, "off")
    changed_file(path, site, {})
    assert tuned(fake, path, "off").num_warps == 8
    changed_file(path, site, change)
    with pytest.warns(
        TuningFileWarning, match=rf"entry \w+ \(layer_k0_matmul.*json {said}"
    ):
        code = tuned(fake, path, "off")
    assert (code.source, code.sizes) == (default.source, default.sizes)


@pytest.mark.parametrize(
    ("text", "said"),
    [("{", "cannot be read"), ("[]", "no tuning file"), ('{"format": 9}', "format 1")],
)
def test_damaged_files_are_named(fake, path, text, said):
    path.write_text(text)
    with pytest.warns(
        TuningFileWarning, match=rf"tuning.json .*{said}.*default is used"
    ):
        tuned(fake, path, "off")


def test_entries_of_others_stay(fake, quick, path):
    tuned(fake, path, "on")
    ours = json.loads(path.read_text())["sites"]
    path.write_text(json.dumps({"format": 1, "sites": {"0" * 16: {"kernel": "k"}}}))
    fake.capacity = 1 << 29
    tuned(fake, path, "on")
    assert json.loads(path.read_text())["sites"].keys() == {"0" * 16, *ours}


def test_a_file_that_cannot_be_written_is_an_error(site, tmp_path):
    file = LockFile(tmp_path / "missing" / "tuning.json", triton_version())
    file.record(site, first(site), [Measured(first(site), 1.0)])
    with pytest.raises(
        TracejitError, match=r"cannot be written to .*missing.tuning.json"
    ):
        file.write()


def test_a_missing_file_is_an_empty_one(fake, path):
    tuned(fake, path, "off")
    assert not path.exists()


def test_sites_are_known_by_what_they_compute(site):
    def other_name(a, b):
        return np.maximum(a @ b, 0)

    assert site_of(other_name, X, W).key == site.key
    assert site_of(layer, X, W + 0).key == site.key
    assert site_of(layer, X[:8], W).key != site.key
    first_one = site.piece.kernel.inputs[0].name
    assert replace(site, odd=frozenset({first_one})).key != site.key
    assert replace(site, tuning=Tuning(tf32=True)).key != site.key
    assert replace(site, tuning=Tuning(arch="sm_80")).target != site.target


def test_the_tuner_of_a_device_stays(device):
    assert tuner_of(device) is tuner_of(device)
    assert triton_version()


@pytest.mark.parametrize(
    ("x", "y", "same"),
    [
        ([1.0, np.nan, np.inf], [1.0, np.nan, np.inf], True),
        ([1.0, np.inf], [1.0, -np.inf], False),
        ([1.0, np.nan], [1.0, 0.0], False),
        ([100.0, 1e-3], [100.0, 0.0], True),  # rounding of sums as large as that
        ([100.0, 1.0], [100.0, 0.0], False),
    ],
)
def test_results_are_compared(x, y, same):
    assert are_close(np.float32(x), np.float32(y)) is same


def test_integers_are_compared_exactly():
    assert are_close(np.array([1, 2]), np.array([1, 2]))
    assert not are_close(np.array([1, 2]), np.array([1, 3]))
