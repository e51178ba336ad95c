"""`tracejit view`: the file it writes, its options, its errors."""

import json

import pytest
from click.testing import CliRunner

from tracejit.cli.main import main

MODEL = """
import numpy as np

def softmax(x):
    print("traced")
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)
"""


@pytest.fixture
def model(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.py").write_text(MODEL)
    return tmp_path


def run(*words):
    return CliRunner().invoke(main, ["view", *words])


CALL = ("model.py:softmax", "--arg", "f32[4,8]")


def test_it_writes_a_file_named_after_the_function(model):
    done = run(*CALL)
    assert done.exit_code == 0, done.output
    assert done.stdout == "softmax.html\n"
    text = (model / "softmax.html").read_text("utf-8")
    assert text.startswith("<!doctype html>")
    assert "e.sum(axis=1, keepdims=True)" in text


def test_it_writes_where_it_is_told_and_opens_that(model, monkeypatch):
    opened = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    done = run(*CALL, "-o", "a b.html", "--open")
    assert done.exit_code == 0, done.output
    assert done.stdout == "a b.html\n"
    assert opened == [(model / "a b.html").as_uri()]


def test_json_is_the_document(model):
    done = run(*CALL, "--json")
    found = json.loads(done.stdout)
    assert found["name"] == "softmax"
    assert [k["name"] for k in found["kernels"]] == ["softmax_k0_max_exp_sum"]
    assert not (model / "softmax.html").exists()


def test_for_a_gpu(model):
    found = json.loads(run(*CALL, "--gpu", "sm_90", "--json").stdout)
    assert [c["id"] for c in found["code"]] == ["triton"]


def test_a_profile(model):
    found = json.loads(run(*CALL, "--profile", "--json").stdout)
    assert found["profile"]["function"]["calls"] >= 3


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((*CALL, "-o", "no/such/folder.html"), "cannot be written"),
        ((*CALL, "--gpu", "rtx"), "--gpu"),
        ((*CALL, "--gpu", "sm_90", "--profile"), "leave out --gpu"),
        (("model.py:nothing",), "it has softmax"),
    ],
)
def test_errors(model, words, message):
    done = run(*words)
    assert done.exit_code == 2
    assert message in done.output
    assert "Traceback" not in done.output
