"""The file: one, whole, asking nothing of the network, with text as text."""

import json
import re
from importlib.resources import files

import pytest

import tracejit as tj
from tracejit.debug.page import page as module
from tracejit.debug.page.page import Page, file_name, page, page_of

from . import models

HOSTILE = "</script><!--<script>\u2028'\"&é"


def document_of(text):
    found = re.search(
        r'<script type="application/json" id="document">(.*?)</script>', text, re.S
    )
    return json.loads(found[1])


@pytest.fixture(scope="module")
def shown():
    return page(tj.jit(models.softmax).lower(models.floats(4, 8)))


def test_it_is_one_file(shown):
    assert shown.text.startswith("<!doctype html>")
    assert "default-src &#x27;none&#x27;" in shown.text
    # What would load something; the icon is in the page.
    assert not re.findall(
        r"<(?:img|iframe|link)[^>]+(?:src|href)=\"(?!data:)", shown.text
    )
    assert not re.findall(r"<script[^>]+src=|@import|url\(http|fetch\(", shown.text)
    assert "sourceMappingURL" not in shown.text


def test_the_layout_library_comes_with_its_licence(shown):
    folder = files("tracejit.debug.page") / "dagre"
    licence = (folder / "LICENSE").read_text("utf-8")
    assert "Permission is hereby granted" in licence
    assert licence in shown.text
    assert (folder / "VERSION").read_text("utf-8").strip() in (
        files("tracejit.debug.page").joinpath("dagre/README.md").read_text("utf-8")
    )


def test_text_cannot_end_the_script():
    found = {"name": HOSTILE, "files": [HOSTILE]}
    text = page_of(found)
    assert HOSTILE not in text
    assert text.count("</script>") == text.count("<script")
    assert document_of(text) == found


def test_large_documents_are_packed(monkeypatch):
    monkeypatch.setattr(module, "PACK_FROM", 10)
    assert set(document_of(page_of({"name": "f", "lines": ["x" * 100]}))) == {"packed"}


def test_the_document_is_in_the_page(shown):
    assert document_of(shown.text)["name"] == "softmax"


def test_saving_and_opening(shown, tmp_path, monkeypatch):
    path = tmp_path / "a.html"
    assert shown.save(path) == path
    assert path.read_text("utf-8") == shown.text
    opened = []
    monkeypatch.setattr(module.webbrowser, "open", opened.append)
    monkeypatch.setattr(module.tempfile, "mkdtemp", lambda prefix: str(tmp_path))
    place = shown.open()
    assert place == tmp_path / "softmax.html"
    assert opened == [place.as_uri()]


def test_notebooks_show_it_in_a_frame():
    frame = Page("f", "<p>\"quoted\" & 'so'</p>")._repr_html_()
    assert frame.startswith('<iframe title="Compilation of f"')
    assert "&lt;p&gt;&quot;quoted&quot; &amp; &#x27;so&#x27;&lt;/p&gt;" in frame
    assert repr(Page("f", "x" * 200_000)) == "<Page of @f: 0.2 MB; save(), open()>"


def test_functions_have_pages(tmp_path):
    f = tj.jit(models.softmax)
    path = tmp_path / "f.html"
    shown = f.view(models.floats(4, 8), path=path)
    assert path.read_text("utf-8") == shown.text
    assert document_of(shown.text)["files"][0]["path"] == models.__file__
    lowered = f.lower(models.floats(4, 8))
    assert lowered.view(path).name == "softmax"
    assert lowered.compile().view().name == "softmax"


def test_names_of_files():
    assert file_name("a<b>:c") == "a_b__c"
    assert file_name("") == "view"


def test_pages_of_odd_functions():
    for f, args in (
        (lambda x: x, (models.floats(3),)),
        (lambda x: 1.0, (models.floats(3),)),
        (lambda x: (x + 1, x[::2], x), (models.floats(0),)),
        (models.walk, (models.floats(2),)),
        (lambda a: models.np.linalg.solve(a, a), (models.floats(3, 3),)),
        (lambda z: models.np.abs(z * 1j), (models.floats(3),)),
        (
            lambda x: tj.cond(x[0] > 0, lambda v: v + 1, lambda v: v, x),
            (models.floats(3),),
        ),
    ):
        shown = page(tj.jit(f).lower(*args))
        assert document_of(shown.text)["stages"], f
