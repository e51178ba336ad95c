"""Pages in a real browser: the system's Chromium without a window.

Run by `make test-view`. The browser opens the file from disk; each test fails if the
page asks for anything else, or logs an error.
"""

import os
import shutil

import numpy as np
import pytest

import tracejit as tj
from tracejit.debug.page.page import page

from . import models

pytestmark = pytest.mark.view

NAMES = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="session")
def browser():
    from playwright.sync_api import sync_playwright  # noqa: PLC0415  # see `view-test`

    path = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)))
    with sync_playwright() as p:
        found = p.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture
def opened(browser, tmp_path):
    """Return a function that opens the page of a compilation; watches it meanwhile."""
    seen = []
    context = browser.new_context(viewport={"width": 1400, "height": 800})
    context.set_default_timeout(60_000)

    def show(shown):
        path = shown.save(tmp_path / "page.html")
        tab = context.new_page()
        tab.on("request", lambda r: seen.append(("request", r.url)))
        tab.on("console", lambda m: seen.append((m.type, m.text)))
        tab.on("pageerror", lambda e: seen.append(("error", str(e))))
        tab.goto(path.as_uri())
        tab.wait_for_selector("html[data-ready]")
        return tab

    yield show
    context.close()
    assert [one for one in seen if not one[1].endswith("/page.html")] == []


@pytest.fixture(scope="module")
def gradient():
    y = np.zeros(16, np.int64)
    f = tj.jit(tj.grad(models.loss))
    args = [models.floats(8, 4), models.floats(4)], models.floats(16, 8), y
    return f.view(*args, profile=f.profile(*args, calls=3))


def texts(tab, selector):
    return tab.eval_on_selector_all(selector, "all => all.map(x => x.textContent)")


def settle(tab):
    """Wait until what was asked for is drawn."""
    tab.evaluate(
        "() => new Promise(r => requestAnimationFrame(() => requestAnimationFrame(r)))"
    )


def show_tab(tab, name):
    tab.click(f"#tab-{name}")
    tab.wait_for_selector(f"#panel-{name} :is(.row, .box, p)")
    settle(tab)


def source_row(text):
    return f"#source .row:has-text('{text}')"


def test_it_opens_and_shows_every_level(opened, gradient):
    tab = opened(gradient)
    assert tab.title() == "grad_loss · tracejit"
    assert any("hidden = np.tanh(x @ w + b)" in t for t in texts(tab, "#source .row"))
    assert any("= fusion" in t for t in texts(tab, "#graph .row"))
    assert any("kernel @grad_loss_k0" in t for t in texts(tab, "#kernels .row"))
    found = texts(tab, "[role=tab]")
    assert found == [
        "Kernels",
        "Drawing",
        "Program",
        "LLVM",
        "Assembly",
        "Memory",
        "Roofline",
        "Explain",
    ]
    for name in ("drawing", "program", "llvm", "asm", "memory", "roofline", "explain"):
        show_tab(tab, name)
        assert tab.is_visible(f"#panel-{name}")


def test_a_source_line_lights_up_what_it_became(opened, gradient):
    tab = opened(gradient)
    tab.click(source_row("hidden = np.tanh"))
    settle(tab)
    graph = texts(tab, "#graph .row.hit")
    assert any("tanh" in t for t in graph)
    assert all(models.line_of("hidden = np.tanh") in t for t in graph)
    kernels = texts(tab, "#kernels .row.hit")
    assert any("tanh(" in t for t in kernels)
    for name, words in (("llvm", "fadd"), ("asm", "add")):
        show_tab(tab, name)
        tab.wait_for_selector(f"#{name} .row.hit")
        assert any(words in t for t in texts(tab, f"#{name} .row.hit"))
    show_tab(tab, "program")
    assert any("run @grad_loss_k0" in t for t in texts(tab, "#program .row.hit"))
    show_tab(tab, "drawing")
    assert any("grad_loss_k0" in t for t in texts(tab, ".box.hit"))


def test_an_equation_a_kernel_and_code_light_up_the_source(opened, gradient):
    tab = opened(gradient)
    line = source_row("hidden = np.tanh")

    def is_lit():
        settle(tab)
        return "hit" in tab.get_attribute(line, "class")

    for name, row in (
        (None, "#graph .row:has-text('= tanh')"),
        ("kernels", "#kernels .row:has-text('tanh(')"),
        ("program", "#program .row:has-text('run @grad_loss_k0')"),
        ("llvm", "#llvm .row:has-text('define internal void @grad_loss_k0')"),
    ):
        tab.click("#clear", force=True) if tab.is_visible("#clear") else None
        assert not is_lit()
        if name:
            show_tab(tab, name)
        if name == "llvm":
            tab.evaluate(
                "() => { const list = app.lists().find(l => l.id === 'llvm');"
                "const n = list.source.count;"
                "for (let i = 0; i < n; i++)"
                " if (list.source.text(i).includes('void @grad_loss_k0'))"
                " { list.moveTo(i); return; } }"
            )
            settle(tab)
        tab.locator(row).first.click()
        assert is_lit(), row


@pytest.mark.parametrize(("name", "words"), [("llvm", "x float>"), ("asm", "ps ")])
def test_lines_of_code_and_values_light_each_other_up(opened, gradient, name, words):
    tab = opened(gradient)
    tab.click("#graph .row:has-text('= tanh')")
    show_tab(tab, name)
    tab.wait_for_selector(f"#{name} .row.hit")
    lit = texts(tab, f"#{name} .row.hit .code")
    assert any(words in t for t in lit)
    tab.keyboard.press("Escape")
    settle(tab)
    assert not texts(tab, "#source .row.hit")
    place = tab.evaluate(
        "(id) => { const list = app.lists().find(l => l.id === id);"
        "const [tanh] = app.doc.lines.find(([text]) => text.includes('= tanh'))[1];"
        "const code = app.doc.code.find((c) => c.id === id);"
        "const at = code.marks.find(([, , values]) => values.includes(tanh))[0];"
        "list.moveTo(at); return at; }",
        name,
    )
    settle(tab)
    tab.locator(f"#{name} [aria-posinset='{place + 1}']").click()
    settle(tab)
    said = tab.text_content("#status")
    assert "hit" in tab.get_attribute(source_row("hidden = np.tanh"), "class")
    assert "in LLVM" in said if name == "llvm" else "in Assembly" in said
    assert all("tanh" in t for t in texts(tab, "#graph .row.hit"))


def test_pointing_is_enough_and_leaves_nothing(opened, gradient):
    tab = opened(gradient)
    tab.hover("#graph .row:has-text('= tanh')")
    settle(tab)
    assert texts(tab, "#source .row.hit")
    tab.mouse.move(5, 5)
    settle(tab)
    assert not texts(tab, "#source .row.hit")


def test_passes_and_what_they_changed(opened, gradient):
    tab = opened(gradient)
    names = texts(tab, "#ticks .tick")
    assert names[0] == "traced"
    assert names[-1] == "fuse"
    assert "windows" in tab.text_content("#unchanged")
    tab.focus("#pass")
    while tab.text_content("#pass-name") != "cse":
        tab.keyboard.press("ArrowLeft")
    settle(tab)
    assert tab.text_content("#title-graph") == "Graph after cse"
    assert "cse, " in tab.get_attribute("#pass", "aria-valuetext")
    gone = texts(tab, "#graph .row.removed .code")
    assert gone
    changed = len(texts(tab, "#graph .row.was")), len(texts(tab, "#graph .row.changed"))
    assert changed[0] == changed[1] > 0
    tab.uncheck("#diff")
    settle(tab)
    assert not texts(tab, "#graph .row:is(.removed, .was, .changed, .added)")
    for t in gone:
        assert t not in texts(tab, "#graph .row .code")


def test_without_a_mouse(opened, gradient):
    """By keys alone: to a line, its selection, its code, other passes, and back."""
    tab = opened(gradient)
    keys = tab.keyboard
    reached = [""]
    while reached[-1] != "tab-kernels":
        keys.press("Tab")
        reached.append(tab.evaluate("document.activeElement.id"))
    order = [
        "search",
        "theme",
        "help",
        "diff",
        "pass",
        "source",
        "graph",
        "tab-kernels",
    ]
    assert [name for name in reached if name] == order
    keys.press("1")
    for _ in range(int(models.line_of("hidden = np.tanh").split(":")[1])):
        keys.press("ArrowDown")
    keys.press("Enter")
    settle(tab)
    assert models.line_of("hidden = np.tanh") in tab.text_content("#status")
    assert "@grad_loss_k0" in tab.text_content("#status")
    keys.press("2")
    keys.press("n")
    settle(tab)
    active = tab.get_attribute("#graph", "aria-activedescendant")
    assert "hit" in tab.get_attribute(f"#{active}", "class")
    before = tab.text_content("#pass-name")
    keys.press("[")
    assert tab.text_content("#pass-name") != before
    keys.press("]")
    assert tab.text_content("#pass-name") == before
    keys.press("3")
    keys.press("ArrowRight")
    tab.wait_for_selector(".box")
    while not tab.evaluate("document.activeElement.matches('.box')"):
        keys.press("Tab")
    keys.press("ArrowDown")
    keys.press("Enter")
    assert tab.evaluate("document.activeElement.classList.contains('hit')")
    keys.press("Escape")
    settle(tab)
    assert not texts(tab, "#source .hit, #graph .hit, .box.hit")
    keys.press("?")
    assert tab.is_visible("#help-dialog")
    keys.press("Escape")
    assert not tab.is_visible("#help-dialog")


def test_search_goes_to_lines(opened, gradient):
    tab = opened(gradient)
    tab.keyboard.press("/")
    tab.keyboard.type("np.tanh")
    tab.wait_for_selector("#results [role=option]")
    tab.keyboard.press("ArrowDown")
    tab.keyboard.press("Enter")
    settle(tab)
    assert "hit" in tab.get_attribute(source_row("hidden = np.tanh"), "class")
    assert tab.evaluate("document.activeElement.id") == "source"
    tab.fill("#search", "no such line anywhere")
    assert texts(tab, "#results li") == ["No line has this"]


def test_everything_has_a_name_and_a_role(opened, gradient):
    tab = opened(gradient)
    for name in ("kernels", "drawing", "llvm", "memory", "roofline", "explain"):
        show_tab(tab, name)
        unnamed = tab.evaluate(UNNAMED)
        assert unnamed == [], (name, unnamed)
    [row] = tab.query_selector_all("#source [aria-posinset='2']")
    assert row.get_attribute("role") == "option"
    assert int(row.get_attribute("aria-setsize")) > 20
    assert tab.get_attribute("#status", "aria-live") == "polite"
    assert tab.get_attribute("html", "lang") == "en"


# What can be focused, or has a role that needs one, and has no accessible name.
UNNAMED = """() => {
  const all = document.querySelectorAll(
    "button, input, summary, [tabindex], [role=listbox], [role=tab], [role=img]");
  return [...all].filter((x) => x.checkVisibility()).filter((x) => {
    const by = (x.getAttribute("aria-labelledby") ?? "").split(" ");
    const named = by.some((id) => document.getElementById(id)?.textContent.trim());
    const labels = [...(x.labels ?? [])].some((l) => l.textContent.trim());
    const own = x.getAttribute("aria-label") || x.textContent.trim();
    return !(named || labels || own);
  }).map((x) => x.outerHTML.slice(0, 120));
}"""


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_can_be_read(opened, gradient, theme):
    """Text has a contrast of 4.5 with what is behind it, lit up and marked too."""
    tab = opened(gradient)
    tab.evaluate(f"document.documentElement.dataset.theme = '{theme}'")
    tab.focus("#pass")
    while tab.text_content("#pass-name") != "fma":
        tab.keyboard.press("ArrowLeft")
    tab.click(source_row("hidden = np.tanh"))
    for name in ("kernels", "llvm", "memory", "roofline", "explain"):
        show_tab(tab, name)
        found = tab.evaluate(FAINT)
        assert found == [], found[:5]


FAINT = """() => {
  const numbers = (c) => c.match(/[\\d.]+/g).map(Number);
  const light = (c) => {
    const [r, g, b] = c.slice(0, 3).map((v) => v / 255)
      .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (x) => {
    for (let e = x; e; e = e.parentElement) {
      const c = numbers(getComputedStyle(e).backgroundColor);
      if (c.length < 4 || c[3] === 1) return c;
    }
    return [255, 255, 255];
  };
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let t = walker.nextNode(); t; t = walker.nextNode()) {
    const x = t.parentElement;
    if (!t.data.trim() || !x.checkVisibility() || x.closest("svg, script")) continue;
    const [a, b] = [light(numbers(getComputedStyle(x).color)), light(ground(x))];
    const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (contrast < 4.5) found.push([t.data.trim().slice(0, 40), contrast, x.className]);
  }
  return found;
}"""


def test_themes(opened, gradient):
    tab = opened(gradient)
    colour = "getComputedStyle(document.body).backgroundColor"
    first = tab.evaluate(colour)
    tab.keyboard.press("t")
    second = tab.evaluate(colour)
    tab.keyboard.press("t")
    assert first != second
    assert tab.evaluate(colour) == first
    tab.emulate_media(color_scheme="dark")
    settle(tab)
    assert tab.evaluate(colour) == second
    tab.emulate_media(color_scheme="light")
    settle(tab)
    assert tab.evaluate(colour) == first


def test_hostile_names_are_text(opened, tmp_path, monkeypatch):
    text = "</script><img src=x onerror=alert(1)>\u2028 é 'quoted' \"twice\" &amp;"
    path = tmp_path / "<b>odd&.py"
    path.write_text(
        f"import numpy as np\ndef f(x):\n    return np.tanh(x)  # {text!r}\n", "utf-8"
    )
    names = {}
    exec(compile(path.read_text("utf-8"), str(path), "exec"), names)
    f = names["f"]
    f.__name__ = "</title><script>alert(1)</script>"
    tab = opened(tj.jit(f).view(models.floats(3)))
    tab.click("#source .row:has-text('np.tanh')")
    settle(tab)
    assert any("</script><img" in t for t in texts(tab, "#source .row.hit"))
    assert tab.query_selector_all("img, b") == []
    assert "<b>odd&.py:3" in tab.text_content("#status")


def test_a_thousand_equations(opened):
    """Only lines in sight are in the page, whichever level is shown."""

    def deep(x, w):
        for i in range(250):
            x = np.tanh(x @ w) * (i % 3 + 1.5) + x
        return x

    with tj.config.override(reroll=False):  # no loops: each equation is there
        shown = page(tj.jit(deep).lower(models.floats(8, 8), models.floats(8, 8)))
    tab = opened(shown)
    assert len(shown.text) < 3e6
    equations = int(tab.evaluate("app.doc.stages[0].equations"))
    assert equations >= 1000
    for name in ("kernels", "program", "llvm", "drawing", "memory", "explain"):
        show_tab(tab, name)
        assert tab.evaluate("document.querySelectorAll('*').length") < 6000
    assert "around the chosen one" in tab.text_content(".drawing .note")
    tab.evaluate("app.graph.element.scrollTop = 1e9")
    settle(tab)
    assert any("return" in t for t in texts(tab, "#graph .row"))
    tab.click("#graph .row:has-text('dot_general')")
    settle(tab)
    assert texts(tab, "#source .row.hit")
