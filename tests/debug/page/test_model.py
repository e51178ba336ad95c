"""The document of a page: what belongs to what, at every level."""

import gzip
import itertools
import json
import re
from base64 import b64decode

import numpy as np
import pytest

import tracejit as tj
from tracejit import config
from tracejit.codegen.llvm.program import emit_program
from tracejit.codegen.llvm.target import host_target
from tracejit.codegen.triton.limits import TRITON
from tracejit.debug.page.code import native_code
from tracejit.debug.page.model import FORMAT, Extras, cut, document
from tracejit.debug.page.sources import AROUND, WHOLE, source_files
from tracejit.errors import TracejitError
from tracejit.runtime.cpu.engine import engine_for
from tracejit.runtime.cpu.externs import resolve_loop

from . import models


@pytest.fixture(scope="module")
def doc():
    return document(models.lowered_gradient())


def text_of(code):
    return gzip.decompress(b64decode(code["packed"])).decode()


def source_number(doc, text):
    return doc["source"].index(models.line_of(text))


def test_it_is_json(doc):
    assert json.loads(json.dumps(doc)) == doc
    assert doc["format"] == FORMAT


def test_lines_of_the_user_are_found(doc):
    [file] = doc["files"]
    assert file["name"] == "models.py"
    with open(models.__file__, encoding="utf-8") as source:
        assert file["lines"] == [
            [n, line.rstrip("\n")] for n, line in enumerate(source, 1)
        ]
    number = source_number(doc, "hidden = np.tanh")
    texts = [text for text, _, _, source in doc["lines"] if number in source]
    assert any("tanh" in text for text in texts)
    assert any("dot_general" in text for text in texts)


def test_every_equation_after_fusion_has_a_kernel_or_a_step(doc):
    last = doc["stages"][-1]
    inside = [row for row in last["rows"] if row[1] > 1]
    computed = {v for line, *_ in inside for v in doc["lines"][line][1]}
    in_kernels = {v for kernel in doc["kernels"] for v in kernel["values"]}
    assert computed <= in_kernels
    assert doc["facts"]["kernels"] == len(doc["kernels"])


def value_named(doc, stage, words):
    """Return the value that the line of a stage with these words defines."""
    lines = [doc["lines"][row[0]] for row in doc["stages"][stage]["rows"]]
    [found] = {tuple(line[1]) for line in lines if words in line[0]}
    return found[0]


def test_operations_of_kernels_are_equations(doc):
    tanh = value_named(doc, -1, "= tanh")
    found = [
        text
        for kernel in doc["kernels"]
        for _, text, values in kernel["lines"]
        if tanh in values
    ]
    assert len(found) == 1
    assert "tanh(" in found[0]


def test_sums_maxima_and_products_of_kernels_are_equations(doc):
    for words, text in (
        ("= reduce_max", "reduce max"),
        ("= dot_general %x, %params0 {contract=((1)", "contract over"),
        ("= exp", "exp("),
    ):
        value = value_named(doc, 0 if "dot" in words else -1, words)
        found = {
            line[1]
            for kernel in doc["kernels"]
            for line in kernel["lines"]
            if value in line[2]
        }
        assert any(text in line for line in found), (words, found)


def test_the_program_runs_the_kernels(doc):
    runs = [row for row in doc["program"] if row[1].startswith("run @")]
    assert [doc["kernels"][row[3]]["name"] for row in runs] == [
        row[1].removeprefix("run @").split("(")[0] for row in runs
    ]
    for row in runs:
        assert row[4], row[1]
        assert set(row[4]) <= set(doc["kernels"][row[3]]["values"])


def test_kernels_that_are_run_again_have_the_values_of_all_runs():
    def block(x):
        return np.tanh(np.sort(x) * 2) + 1

    found = document(tj.jit(lambda x: block(block(block(x)))).lower(models.floats(64)))
    shared = [k for k in found["kernels"] if k["runs"] > 1]
    assert shared
    for kernel in shared:
        tanh = [v for _, text, v in kernel["lines"] if " tanh(" in text]
        assert len(tanh[0]) >= kernel["runs"]


def test_kernels_that_were_merged_compute_all():
    def update(w, v, g, h):
        return w - 0.1 * np.tanh(g), v - 0.1 * np.tanh(h)

    args = models.floats(64), models.floats(32), models.floats(64), models.floats(32)
    found = document(tj.jit(update).lower(*args))
    [kernel] = found["kernels"]
    made = {v for row in found["stages"][-1]["rows"] for v in found["lines"][row[0]][1]}
    inputs = set(found["lines"][found["stages"][0]["rows"][0][0]][1])
    assert set(kernel["values"]) == made - inputs


def test_code_is_of_kernels(doc):
    llvm, assembly = doc["code"]
    assert (llvm["id"], assembly["id"]) == ("llvm", "asm")
    for code, start in ((llvm, "define"), (assembly, "")):
        lines = text_of(code).split("\n")
        assert code["lines"] == len(lines)
        owners = {k for _, _, _, kernels in code["sections"] for k in kernels}
        assert owners == set(range(len(doc["kernels"])))
        for name, first, last, kernels in code["sections"]:
            assert 0 <= first <= last < len(lines)
            if name:
                assert name in lines[first]
                assert lines[first].startswith(start)
            for k in kernels if name.startswith(doc["name"]) else ():
                kernel = doc["kernels"][k]["name"]
                assert name == kernel or name.startswith(f"{kernel}.")


def test_calls_in_the_host_function_are_of_kernels(doc):
    llvm = doc["code"][0]
    lines = text_of(llvm).split("\n")
    calls = [
        (first, kernels) for name, first, _, kernels in llvm["sections"] if not name
    ]
    assert len(calls) == sum(k["runs"] for k in doc["kernels"])
    for at, [kernel] in calls:
        assert f"@{doc['kernels'][kernel]['name']}(" in lines[at]


def test_helpers_are_of_the_kernels_that_call_them(doc):
    shared = [s for s in doc["code"][0]["sections"] if s[0].startswith("tracejit_tile")]
    assert shared
    assert all(kernels for *_, kernels in shared)


def test_the_drawing_has_kernels_inputs_and_results(doc):
    boxes, edges = doc["drawing"]["boxes"], doc["drawing"]["edges"]
    kinds = [b["kind"] for b in boxes]
    assert kinds.count("kernel") == len(doc["kernels"])
    assert kinds.count("output") == 2
    assert {"input", "kernel", "output"} <= set(kinds)
    for start, end, value in edges:
        assert start != end
        assert value in boxes[start]["values"]
    reached = {end for _, end, _ in edges}
    # An array of one number is computed of nothing.
    alone = {i for i, kind in enumerate(kinds) if kind in ("input", "step")}
    assert reached | alone == {*range(len(boxes))}


def test_loops_hold_the_boxes_of_their_bodies():
    def heavy(x):
        def turn(carry, step):
            return np.sort(np.sin(carry)) + step, carry

        return tj.scan(turn, x, np.ones((5, 4), np.float32))

    found = document(tj.jit(heavy).lower(models.floats(4)))
    boxes = found["drawing"]["boxes"]
    [loop] = [i for i, b in enumerate(boxes) if b["kind"] == "loop"]
    inside = [b for b in boxes if b["parent"] == loop]
    assert "sort" in {b["title"] for b in inside}
    depths = [row[0] for row in found["program"]]
    assert max(depths) == 2


def test_passes_that_change_nothing_are_named(doc):
    shown = [s["name"] for s in doc["stages"]]
    assert "fuse" in shown
    assert "windows" in doc["unchanged"]
    assert not set(shown) & set(doc["unchanged"])


def test_memory_and_findings_are_those_of_the_other_commands(doc):
    lowered = models.lowered_gradient()
    explanation = lowered.explain().as_json()
    assert doc["findings"] == explanation["findings"]
    assert len(doc["memory"]["moments"]) == doc["facts"]["steps"]
    assert doc["profile"] is None


def lines_computing(doc, code, words):
    """Return the lines of code that compute what a line of the graph does."""
    wanted = {v for text, defines, *_ in doc["lines"] if words in text for v in defines}
    lines = text_of(code).split("\n")
    return [
        lines[i]
        for first, last, values in code["marks"]
        for i in range(first, last + 1)
        if wanted & {*values}
    ]


def test_lines_of_code_say_which_values_they_compute(doc):
    llvm, assembly = doc["code"]
    assert any("llvm.fabs" in x for x in lines_computing(doc, llvm, "= tanh"))
    assert any(
        re.search("mul|fn?madd", x) for x in lines_computing(doc, assembly, "= tanh")
    )
    assert any("fcmp" in x for x in lines_computing(doc, llvm, "= reduce_max"))
    for code in (llvm, assembly):
        text = text_of(code)
        assert not re.search(r"; %|!dbg|\.loc\b|\.cfi_|debug_", text)
        inside = {
            i
            for _, first, last, kernels in code["sections"]
            for i in range(first, last + 1)
            if kernels
        }
        marked = [*itertools.chain(*(range(a, b + 1) for a, b, _ in code["marks"]))]
        assert inside.issuperset(marked)
        assert marked == sorted({*marked})
        assert marked


def test_locations_leave_the_assembly_as_it_is():
    lowered = models.lowered_gradient()
    target = host_target(config.get("isa"))
    noted, plain = (
        emit_program(lowered.native, target, resolve_loop, annotated=annotated).text
        for annotated in (True, False)
    )
    llvm, assembly = native_code(noted, target, lowered.native)
    assert llvm.text == plain
    assert assembly.text == engine_for(target).assembly(plain)


def test_lines_of_triton_say_which_values_they_compute():
    step = tj.jit(models.predict).trace(
        *(models.floats(*shape) for shape in ((16, 8), (8, 4), (4,)))
    )
    found = document(step.lower(TRITON), Extras(arch="sm_90"))
    [code] = found["code"]
    lines = lines_computing(found, code, "= tanh")
    assert any(x.strip().startswith("hidden") and "tanh" in x for x in lines)


def test_a_profile_of_the_function():
    f = tj.jit(models.predict)
    args = models.floats(16, 8), models.floats(8, 4), models.floats(4)
    profile = f.profile(*args, calls=3)
    found = document(f.lower(*args), Extras(profile=profile))
    assert found["profile"]["function"]["name"] == "predict"
    assert found["profile"]["limits"]
    with pytest.raises(TracejitError, match="the profile is of predict, not of layers"):
        document(
            tj.jit(models.layers).lower(models.floats(4), 2), Extras(profile=profile)
        )


def test_triton_source_for_a_gpu():
    traced = tj.jit(models.predict).trace(
        models.floats(16, 8), models.floats(8, 4), models.floats(4)
    )
    found = document(traced.lower(TRITON), Extras(arch="sm_90"))
    [code] = found["code"]
    assert code["id"] == "triton"
    lines = text_of(code).split("\n")
    owners = [kernels for *_, kernels in code["sections"]]
    assert sorted(k for own in owners for k in own) == [*range(len(found["kernels"]))]
    for _, first, last, _ in code["sections"]:
        assert any("@triton.jit" in line for line in lines[first : last + 1])
    assert found["memory"] is None


def test_compiled_and_lowered_give_one_page():
    lowered = tj.jit(models.softmax).lower(models.floats(4, 8))
    one, two = document(lowered), document(lowered.compile())
    assert {**one, "facts": 0} == {**two, "facts": 0}


def test_large_modules_have_no_assembly(monkeypatch):
    monkeypatch.setattr("tracejit.debug.page.code.ASSEMBLY_LIMIT", 10)
    found = document(tj.jit(models.softmax).lower(models.floats(4, 8)))
    assert found["code"][1]["lines"] == 0
    assert "tracejit emit --target asm" in found["code"][1]["note"]


def test_long_lines_lose_their_middle():
    text = "a" * 1000 + "b" * 9000 + "c" * 1000
    short = cut(text)
    assert len(short) < 1600
    assert short.startswith("aaa")
    assert short.endswith("ccc")
    assert "9,500 more characters" in short
    assert cut("a" * 100) == "a" * 100


# --- files ------------------------------------------------------------------------


def test_files_of_one_name(tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "net.py").write_text(f"# {folder}\nx = 1\n")
    paths = [str(tmp_path / f / "net.py") for f in ("b", "a")]
    [file] = source_files(["net.py:2"], paths)
    assert file.lines[0] == (1, "# b")
    assert file.note == "1 more loaded files have this name"
    [short] = source_files(["net.py:7"], paths)
    assert (short.path, short.lines) == ("", [(7, "")])
    assert "not found" in short.note


def test_long_files_are_cut(tmp_path):
    path = tmp_path / "long.py"
    path.write_text("\n" * (WHOLE + 1))
    [file] = source_files(["long.py:1000"], [str(path)])
    assert [n for n, _ in file.lines] == [*range(1000 - AROUND, 1000 + AROUND + 1)]


def test_names_that_are_no_lines_are_left_out():
    assert source_files(["nothing", "x.py:", ""]) == []
