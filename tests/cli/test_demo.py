"""`tracejit demo`: its step against the hand-written one, its data, its report."""

import copy
import re
import sys

import numpy as np
import pytest
from click.testing import CliRunner

import tracejit as tj
from tracejit.cli.demo import demo
from tracejit.cli.demo.command import require_extra
from tracejit.cli.demo.data import load_digits, one_hot
from tracejit.cli.demo.figures import confusion
from tracejit.cli.demo.levels import Level, write_levels
from tracejit.cli.demo.measure import largest_difference, milliseconds
from tracejit.cli.demo.model import (
    backpropagate,
    cross_entropy,
    forward,
    initial_state,
    numpy_step,
    train_step,
)
from tracejit.cli.demo.run import arguments, compile_step
from tracejit.cli.demo.train import (
    History,
    Settings,
    batches,
    learning_rate,
    predict,
    steps_per_epoch,
    train,
)

SETTINGS = Settings()


@pytest.fixture(scope="module")
def digits():
    return load_digits()


def state_after(digits, steps):
    """The state of training after some steps of the hand-written step."""
    state = initial_state(np.random.default_rng(0))
    for t in range(1, steps + 1):
        _, state = numpy_step(*arguments(digits, SETTINGS, state, t))
    return state


def in_float64(layers):
    return [{k: a.astype(np.float64) for k, a in layer.items()} for layer in layers]


def test_hand_written_gradients_are_central_differences():
    rng = np.random.default_rng(1)
    params = in_float64(initial_state(rng, (5, 7, 6, 3))["params"])
    x, y = rng.normal(size=(4, 5)), np.eye(3)[[0, 2, 1, 2]]
    loss, grads = backpropagate(params, x, y)
    assert loss == pytest.approx(cross_entropy(params, x, y), rel=1e-12)
    for i, layer in enumerate(params):
        for name, array in layer.items():
            for index in np.ndindex(array.shape):
                found = central_difference(params, i, name, index, x, y)
                assert grads[i][name][index] == pytest.approx(found, abs=1e-7)


def central_difference(params, i, name, index, x, y, h=1e-6):
    losses = []
    for change in (h, -h):
        moved = copy.deepcopy(params)
        moved[i][name][index] += change
        losses.append(cross_entropy(moved, x, y))
    return (losses[0] - losses[1]) / (2 * h)


def test_jitted_step_is_the_hand_written_step(digits):
    step, t = tj.jit(train_step), 20
    args = arguments(digits, SETTINGS, state_after(digits, t - 1), t)
    loss, state = step(*args)
    expected_loss, expected = numpy_step(*args)
    assert loss.dtype == np.float32
    assert loss == pytest.approx(expected_loss, rel=1e-5)
    for kind in ("params", "mean", "square"):
        for got, want in zip(state[kind], expected[kind], strict=True):
            assert got.keys() == want.keys()
            for k in want:
                assert got[k].dtype == np.float32
                scale = np.max(np.abs(want[k]))
                np.testing.assert_allclose(got[k], want[k], rtol=0, atol=1e-5 * scale)


def test_jitted_steps_train_as_the_hand_written_steps_do(digits):
    step = tj.jit(train_step)
    jitted = by_hand = initial_state(np.random.default_rng(0))
    for t in range(1, 11):
        loss, jitted = step(*arguments(digits, SETTINGS, jitted, t))
        expected, by_hand = numpy_step(*arguments(digits, SETTINGS, by_hand, t))
        assert loss == pytest.approx(expected, rel=1e-3)


def test_step_leaves_its_arguments_alone(digits):
    args = arguments(digits, SETTINGS, state_after(digits, 1), 2)
    before = copy.deepcopy(args)
    tj.jit(train_step)(*args)
    assert largest_difference(args[0], before[0]) == 0
    np.testing.assert_array_equal(args[2], before[2])


def test_step_counter_and_learning_rate_compile_twice_at_most(digits):
    step, state = tj.jit(train_step), state_after(digits, 1)
    with tj.testing.count_traces() as counter:
        for t in range(1, 6):
            args = arguments(digits, SETTINGS, state, t)
            _, state = step(*args[:-1], learning_rate(t, 5, 1e-3))
    assert counter.compiles == 2


def test_graph_names_lines_of_the_model_and_its_stages_take_time(digits):
    args = arguments(digits, SETTINGS, state_after(digits, 1), 2)
    stages = compile_step(tj.jit(train_step), args)
    text = stages.traced.as_text()
    assert "; model.py:" in text
    assert "core.py" not in text
    assert all(seconds > 0 for seconds in stages.compiled.timings.values())


def test_split_is_stratified_disjoint_and_the_same_each_time(digits):
    assert digits.train_x.shape == (1437, 64)
    assert digits.test_x.shape == (360, 64)
    assert digits.train_x.dtype == np.float32
    assert (digits.train_x.min(), digits.train_x.max()) == (0, 1)
    counts = np.bincount(digits.test_labels)
    assert counts.min() >= 33
    assert counts.max() <= 38
    np.testing.assert_array_equal(load_digits().test_x, digits.test_x)


def test_one_hot():
    np.testing.assert_array_equal(one_hot(np.array([1, 0]))[:, :3], np.eye(3)[[1, 0]])


def test_batches_are_whole_and_see_an_image_once_at_most(digits):
    clean = Settings(noise=0)
    found = list(batches(digits, clean, np.random.default_rng(0)))
    assert len(found) == steps_per_epoch(digits, clean) == 22
    assert {x.shape for x, _ in found} == {(64, 64)}
    assert {x.dtype for x, _ in found} == {np.dtype(np.float32)}
    shown = [x.tobytes() for batch, _ in found for x in batch]
    images = [x.tobytes() for x in digits.train_x]
    assert all(shown.count(x) <= images.count(x) for x in set(shown))
    assert set(shown) <= set(images)


def test_learning_rate_falls_from_start_to_zero():
    rates = [learning_rate(t, 10, 0.5) for t in range(1, 11)]
    assert rates[0] == 0.5
    assert rates == sorted(rates, reverse=True)
    assert learning_rate(11, 10, 0.5) == 0


@pytest.mark.slow
def test_training_by_hand_reaches_the_goal(digits):
    """The goal is within reach of the network and its settings."""
    seen = []
    state, history = train(
        numpy_step,
        forward,
        digits,
        SETTINGS,
        lambda history: seen.append(history.losses[-1]),
    )
    assert seen == history.losses
    assert len(history.accuracies) == SETTINGS.epochs
    assert history.epoch_losses()[-1] < history.epoch_losses()[0] / 10
    right = predict(forward, state, digits.test_x) == digits.test_labels
    assert history.accuracies[-1] == np.mean(right) >= 0.97


def test_epoch_losses_are_means_of_their_steps():
    history = History(losses=[1.0, 3.0, 5.0, 9.0], accuracies=[0.5, 0.6])
    np.testing.assert_array_equal(history.epoch_losses(), [2, 7])


def test_confusion_counts_true_class_by_row():
    counts = confusion(np.array([0, 1, 1]), np.array([0, 0, 1]), 2)
    np.testing.assert_array_equal(counts, [[1, 1], [0, 1]])


def test_milliseconds_takes_turns():
    order = []
    steps = [lambda *args: order.append("a"), lambda *args: order.append("b")]
    found = milliseconds(steps, (), rounds=2, calls=2)
    assert "".join(order) == "aabb" * 3
    assert all(ms > 0 for ms in found)


def test_writing_levels_removes_graphs_of_another_run(tmp_path):
    (tmp_path / "graph-07-gone.tir").write_text("old")
    (tmp_path / "mine.tir").write_text("kept")
    write_levels([Level("graph-00-trace.tir", "graph", "new\n\n")], tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "graph-00-trace.tir",
        "mine.tir",
    ]
    assert (tmp_path / "graph-00-trace.tir").read_text() == "new\n"


def test_demo_trains_prints_and_reports(tmp_path):
    result = CliRunner().invoke(demo, ["--out", str(tmp_path)])
    assert result.exit_code == 0, result.output
    for text in ("trace", "passes", "schedule", "emit", "build", "kernels"):
        assert re.search(rf"{text} +│", result.output), text
    accuracy = re.search(r"test accuracy +│ +([\d.]+)%", result.output)
    assert float(accuracy[1]) >= 97
    found = re.findall(r"test accuracy +│ +([\d.]+)%", result.output)
    assert float(found[1]) >= 98
    assert re.search(
        r"conv_step_k0\w* +│ convolution +│ convnet.py:\d+ +│", result.output
    )
    assert "2 times in 1320 steps" in result.output
    check_report(tmp_path)


def check_report(folder):
    """Every file is there and linked, and the page needs nothing from elsewhere."""
    names = {p.name for p in folder.iterdir()}
    texts = {"graph-00-trace.tir", "program.txt", "kernels.txt", "step.ll"}
    pictures = {"curves.png", "confusion.png", "convnet-curves.png"}
    assert texts | pictures | {"index.html"} <= names
    assert any(name.startswith("graph-01-") for name in names)
    for name in pictures:
        assert (folder / name).read_bytes().startswith(b"\x89PNG")
    page = (folder / "index.html").read_text("utf-8")
    assert set(re.findall(r'href="([^"]+)"', page)) == names - {"index.html"}
    assert "http" not in page
    assert set(re.findall(r'src="([^,]+),', page)) == {"data:image/png;base64"}
    assert "define" in (folder / "step.ll").read_text()
    assert "kernel @" in (folder / "kernels.txt").read_text()
    assert (folder / "graph-00-trace.tir").read_text().startswith("graph @train_step")


def test_too_few_epochs_fail_and_say_what_to_do(tmp_path):
    result = CliRunner().invoke(
        demo, ["--epochs=1", "--conv-epochs=1", "--out", str(tmp_path)]
    )
    assert result.exit_code == 1
    assert "is below the goal of 97%" in result.output
    assert "try: --epochs 60" in result.output
    check_report(tmp_path)


@pytest.mark.parametrize(
    ("module", "package"), [("sklearn", "scikit-learn"), ("matplotlib", "matplotlib")]
)
def test_missing_package_is_named_before_work_starts(
    tmp_path, monkeypatch, module, package
):
    monkeypatch.setitem(sys.modules, module, None)
    out = tmp_path / "report"
    result = CliRunner().invoke(demo, ["--out", str(out)])
    assert result.exit_code == 1
    assert f"the demo needs {package}, not installed here" in result.output
    assert 'pip install "tracejit[demo]"' in result.output
    assert not out.exists()


def test_nothing_missing_here():
    require_extra()


@pytest.mark.parametrize("option", ["--epochs=0", "--seed=-1", "--device=abacus"])
def test_bad_options_are_refused(option):
    result = CliRunner().invoke(demo, [option])
    assert result.exit_code == 2
    assert option.partition("=")[0] in result.output
