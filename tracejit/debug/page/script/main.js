// The page: its lists, the pass slider, the tabs, keys, and one selection for all.

class App {
  constructor(doc) {
    this.doc = doc;
    this.index = indexOf(doc);
    this.selection = null; // chosen by a click or a key
    this.shown = null; // that, or what the pointer is on
    this.stage = doc.stages.length - 1;
    this.withChanges = true;
    this.tabs = [];
  }

  start() {
    this.showFacts();
    this.source = this.addList("panel-source", "source", "Source lines", sourceLevel(this));
    this.graph = this.addList("panel-graph", "graph", "Equations", graphLevel(this));
    this.addTabs();
    this.startPasses();
    this.search = new Search(this);
    startTheme(() => this.lists().forEach((list) => list.drawStripe()));
    startSplitters();
    this.startKeys();
    document.getElementById("clear").addEventListener("click", () => this.select(null));
    this.showStage();
    this.say(null);
    document.documentElement.dataset.ready = "yes";
  }

  showFacts() {
    const { facts, name } = this.doc;
    document.getElementById("name").textContent = `@${name}`;
    const [before, after] = facts.equations;
    const seconds = Object.values(facts.seconds).reduce((a, b) => a + b, 0);
    const rows = [
      ["Equations", before === after ? `${before}` : `${before} → ${after}`],
      ["Kernels", `${facts.kernels}`],
      ["Steps", `${facts.steps}`],
      ["Arena", bytesText(facts.arena)],
      ["Compiled in", `${(seconds * 1e3).toFixed(0)} ms`],
      ...(facts.device ? [["Device", facts.device]] : []),
    ];
    const list = document.getElementById("facts");
    for (const [term, text] of rows) {
      const pair = made("div");
      pair.append(made("dt", "", term), made("dd", "", text));
      list.append(pair);
    }
  }

  // --- lists and tabs

  addList(panel, id, label, source) {
    const place = document.getElementById(panel);
    const list = new LineList(id, label, source, this);
    place.querySelector(".body").append(list.frame);
    list.onHits = () => showHits(place.querySelector(".hits"), list);
    return list;
  }

  addTabs() {
    const { doc } = this;
    this.addListTab("kernels", "Kernels", () => kernelsLevel(this));
    if (doc.drawing.boxes.length) {
      this.addTab("drawing", "Drawing", () => new Drawing(this));
    }
    this.addListTab("program", "Program", () => programLevel(this));
    for (const code of doc.code) this.addCodeTab(code);
    for (const [id, title, make] of extraPanels(this)) this.addTab(id, title, make);
    this.showTab(this.tabs[0]);
  }

  addListTab(id, title, level) {
    this.addTab(id, title, () => new LineList(id, title, level(), this));
  }

  addCodeTab(code) {
    if (!code.packed || !code.lines) {
      if (code.note) this.addTab(code.id, code.title, () => notePanel(code.note));
      return;
    }
    this.addTab(code.id, code.title, async () => {
      const text = await unpacked(code.packed);
      return new LineList(code.id, code.title, codeLevel(this, code, text), this);
    });
  }

  addTab(id, title, make) {
    const button = made("button", "tab", title);
    button.type = "button";
    button.id = `tab-${id}`;
    button.setAttribute("role", "tab");
    button.setAttribute("aria-controls", `panel-${id}`);
    const panel = made("div", "tab-panel");
    panel.id = `panel-${id}`;
    panel.hidden = true;
    panel.setAttribute("role", "tabpanel");
    panel.setAttribute("aria-labelledby", button.id);
    document.getElementById("tabs").append(button);
    document.getElementById("tab-panels").append(panel);
    const tab = { id, button, panel, make, view: null };
    button.addEventListener("click", () => this.showTab(tab));
    button.addEventListener("keydown", (event) => this.onTabKey(event, tab));
    this.tabs.push(tab);
  }

  onTabKey(event, tab) {
    const at = this.tabs.indexOf(tab);
    const last = this.tabs.length - 1;
    const moves = {
      ArrowRight: at === last ? 0 : at + 1,
      ArrowLeft: at === 0 ? last : at - 1,
      Home: 0,
      End: last,
    };
    if (!(event.key in moves)) return;
    event.preventDefault();
    const next = this.tabs[moves[event.key]];
    this.showTab(next);
    next.button.focus();
  }

  async showTab(tab) {
    this.tab = tab;
    for (const other of this.tabs) {
      const isShown = other === tab;
      other.button.setAttribute("aria-selected", isShown);
      other.button.tabIndex = isShown ? 0 : -1;
      other.panel.hidden = !isShown;
    }
    await this.made(tab);
    if (this.tab !== tab) return;
    tab.view.show?.();
    tab.view.mark?.(this.selection);
    tab.view.reveal?.();
    if (!tab.view.mark) document.querySelector("#panel-levels .hits").replaceChildren();
  }

  /** Make what a tab shows, when it is first needed. */
  async made(tab) {
    tab.making ??= Promise.resolve(tab.make()).then((view) => {
      tab.view = view;
      view.onHits = () => {
        if (this.tab === tab) showHits(document.querySelector("#panel-levels .hits"), view);
      };
      tab.panel.append(view.frame ?? view.element);
    });
    await tab.making;
  }

  /** All lists of lines that were opened so far. */
  lists() {
    const opened = this.tabs.map((tab) => tab.view);
    return [this.source, this.graph, ...opened.filter((v) => v instanceof LineList)];
  }

  /** Bring a list into sight. */
  open(list) {
    const tab = this.tabs.find((t) => t.view === list);
    if (tab) this.showTab(tab);
  }

  // --- selection

  views() {
    return [this.source, this.graph, ...(this.tab?.view?.mark ? [this.tab.view] : [])];
  }

  /** Light up what belongs to a selection, everywhere, until another one. */
  select(selection, from = null) {
    this.selection = this.shown = selection;
    for (const view of this.views()) {
      view.mark(selection);
      if (view !== from && selection) view.reveal();
    }
    this.say(selection);
  }

  /** Light up what is pointed at, in the lines in sight. */
  preview(selection) {
    const shown = selection ?? this.selection;
    if (shown === this.shown) return;
    this.shown = shown;
    for (const view of this.views()) view.drawSoon();
  }

  say(selection) {
    const status = document.getElementById("status");
    document.getElementById("clear").hidden = !selection;
    if (!selection) {
      status.textContent = "Select a line in any level to see what belongs to it.";
      return;
    }
    const source = [...selection.source].map((s) => this.doc.source[s]);
    const parts = [
      selection.by === "source" ? "" : source.join(", "),
      plural(this.graph.hits.length, "line of the graph", "lines of the graph"),
      selection.kernels.size
        ? [...selection.kernels].slice(0, 6).map((k) => `@${this.doc.kernels[k].name}`).join(", ") +
          (selection.kernels.size > 6 ? ` and ${selection.kernels.size - 6} more kernels` : "")
        : "no kernel",
    ];
    status.textContent = `${selection.label}: ${parts.filter(Boolean).join(" · ")}`;
  }

  // --- passes

  startPasses() {
    const { stages, unchanged } = this.doc;
    const slider = document.getElementById("pass");
    slider.max = stages.length - 1;
    slider.value = this.stage;
    slider.disabled = stages.length < 2;
    slider.addEventListener("input", () => this.goToStage(Number(slider.value)));
    const ticks = document.getElementById("ticks");
    stages.forEach((stage, i) => {
      const tick = made("li");
      const name = made("span", "tick", stage.name);
      tick.append(name);
      const counts = countsText(stage);
      if (counts) tick.append(made("small", "", counts));
      tick.addEventListener("click", () => this.goToStage(i));
      ticks.append(tick);
    });
    document.getElementById("unchanged").textContent = unchanged.length
      ? `Nothing to do for: ${unchanged.join(", ")}`
      : "";
    const diff = document.getElementById("diff");
    diff.addEventListener("change", () => this.setChanges(diff.checked));
  }

  goToStage(i) {
    const stage = Math.max(0, Math.min(this.doc.stages.length - 1, i));
    if (stage === this.stage) return;
    this.stage = stage;
    document.getElementById("pass").value = stage;
    this.showStage();
  }

  setChanges(isOn) {
    this.withChanges = isOn;
    document.getElementById("diff").checked = isOn;
    this.showStage();
  }

  showStage() {
    const stage = this.doc.stages[this.stage];
    const slider = document.getElementById("pass");
    const spoken = [
      [stage.added, "added"], [stage.removed, "removed"], [stage.changed, "changed"],
    ].filter(([n]) => n).map(([n, word]) => `${n} ${word}`).join(", ");
    const groups = stage.groups ? `, ${plural(stage.groups, "group")}` : "";
    const counts = `${plural(stage.equations, "equation")}${groups}${spoken && `: ${spoken}`}`;
    slider.setAttribute("aria-valuetext", `${stage.name}, ${counts}`);
    document.getElementById("pass-name").textContent = stage.name;
    document.getElementById("pass-counts").textContent = counts;
    document.getElementById("pass-doc").textContent = stage.doc;
    document.getElementById("title-graph").textContent =
      this.stage ? `Graph after ${stage.name}` : "Graph as traced";
    [...document.getElementById("ticks").children].forEach((tick, i) => {
      tick.classList.toggle("current", i === this.stage);
    });
    this.graph.reset(graphLevel(this));
    if (this.selection) this.graph.reveal();
  }

  // --- keys

  startKeys() {
    const focus = (element) => element?.focus();
    const keys = {
      "/": ["Search", () => focus(this.search.input)],
      "[": ["The graph before the pass", () => this.goToStage(this.stage - 1)],
      "]": ["The graph after the next pass", () => this.goToStage(this.stage + 1)],
      d: ["Show what the pass changed, or only what it gave", () => this.setChanges(!this.withChanges)],
      1: ["To the source", () => focus(this.source.element)],
      2: ["To the graph", () => focus(this.graph.element)],
      3: ["To the kernels, code and drawing", () => focus(this.tab.button)],
      n: ["Next line that is lit up", () => (this.focused ?? this.graph).step(1)],
      p: ["The one before", () => (this.focused ?? this.graph).step(-1)],
      t: ["Light or dark", () => document.getElementById("theme").click()],
      "?": ["These keys", () => document.getElementById("help").click()],
      Escape: ["Clear the selection", () => this.select(null)],
    };
    document.addEventListener("keydown", (event) => {
      const isTyping = event.target.matches?.("input[type=search]");
      const isOpen = document.getElementById("help-dialog").open;
      if (isTyping || isOpen || event.ctrlKey || event.metaKey || event.altKey) return;
      if (!(event.key in keys)) return;
      event.preventDefault();
      keys[event.key][1]();
    });
    const rows = document.getElementById("help-rows");
    const others = [
      ["↑ ↓ Page Home End", "Move in a list; in the drawing, from box to box"],
      ["Enter", "Select the line or box"],
      ["← →", "Move between tabs, passes, and the widths of columns"],
    ];
    const own = Object.entries(keys).map(([key, [what]]) => [key, what]);
    for (const [key, what] of [...others, ...own]) {
      const row = made("tr");
      const name = made("th");
      name.scope = "row";
      name.append(made("kbd", "", key));
      row.append(name, made("td", "", what));
      rows.append(row);
    }
    const dialog = document.getElementById("help-dialog");
    document.getElementById("help").addEventListener("click", () => dialog.showModal());
  }
}

// --- small parts

function countsText({ added, removed, changed }) {
  return [[added, "+"], [removed, "−"], [changed, "~"]]
    .filter(([n]) => n).map(([n, sign]) => `${sign}${n}`).join(" ");
}

function bytesText(bytes) {
  const units = ["B", "KiB", "MiB", "GiB"];
  let size = bytes;
  let unit = 0;
  while (size >= 1024 && unit < units.length - 1) {
    size /= 1024;
    unit++;
  }
  return `${size >= 10 || !unit ? Math.round(size) : size.toFixed(1)} ${units[unit]}`;
}

/** Say how many lines of a list are lit up, with buttons to go through them. */
function showHits(place, view) {
  place.replaceChildren();
  if (!view.hits.length) return;
  place.append(made("span", "", plural(view.hits.length, "hit")));
  for (const [label, text, by] of [["Previous hit", "↑", -1], ["Next hit", "↓", 1]]) {
    const button = made("button", "small", text);
    button.type = "button";
    button.setAttribute("aria-label", label);
    button.addEventListener("click", () => view.step(by));
    place.append(button);
  }
}

function notePanel(text) {
  const element = made("div", "prose");
  element.append(made("p", "", text));
  return { element };
}

function startTheme(changed) {
  const root = document.documentElement;
  const prefersDark = matchMedia("(prefers-color-scheme: dark)");
  const button = document.getElementById("theme");
  let isDark = prefersDark.matches;
  const show = () => {
    root.dataset.theme = isDark ? "dark" : "light";
    button.textContent = isDark ? "Light" : "Dark";
    button.setAttribute("aria-label", `Switch to ${isDark ? "light" : "dark"} colours`);
  };
  const choose = (dark) => {
    isDark = dark;
    show();
    changed();
  };
  button.addEventListener("click", () => choose(!isDark));
  prefersDark.addEventListener("change", () => choose(prefersDark.matches));
  show();
}

function startSplitters() {
  const columns = document.getElementById("columns");
  document.querySelectorAll(".splitter").forEach((splitter, i) => {
    const property = `--column-${i}`;
    const panel = document.getElementById(splitter.getAttribute("aria-controls"));
    const resize = (width) => {
      const most = columns.clientWidth - 320;
      const pixels = Math.round(Math.max(160, Math.min(most, width)));
      columns.style.setProperty(property, `${pixels}px`);
      tell();
    };
    const tell = () => {
      splitter.setAttribute("aria-valuenow", Math.round(panel.clientWidth));
      splitter.setAttribute("aria-valuemin", 160);
      splitter.setAttribute("aria-valuemax", Math.max(160, columns.clientWidth - 320));
    };
    tell();
    splitter.addEventListener("keydown", (event) => {
      const by = { ArrowLeft: -40, ArrowRight: 40 }[event.key];
      if (!by) return;
      event.preventDefault();
      resize(panel.clientWidth + by);
    });
    splitter.addEventListener("pointerdown", (event) => {
      splitter.setPointerCapture(event.pointerId);
      const left = panel.getBoundingClientRect().left;
      const move = (e) => resize(e.clientX - left);
      splitter.addEventListener("pointermove", move);
      splitter.addEventListener("pointerup", () => {
        splitter.removeEventListener("pointermove", move);
      }, { once: true });
    });
  });
}

readDocument().then((doc) => {
  window.app = new App(doc);
  window.app.start();
});
