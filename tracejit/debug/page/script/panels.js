// Memory, times and findings, where the document has them.

/** Return ``[id, title, make]`` for each panel that there is something for. */
function extraPanels(app) {
  const { memory, profile, findings } = app.doc;
  const panels = [];
  if (memory?.moments.length) panels.push(["memory", "Memory", () => new MemoryPanel(app)]);
  if (profile) panels.push(["roofline", "Roofline", () => new RooflinePanel(app)]);
  if (findings.length) panels.push(["explain", "Explain", () => explainPanel(app)]);
  return panels;
}

// --- parts that several have

/** Return source lines as buttons that select them, separated by spaces. */
function sourceButtons(app, names) {
  const place = made("span", "lines");
  for (const name of names) {
    const source = app.index.sourceByName.get(name);
    place.append(source === undefined ? name : sourceButton(app, source), " ");
  }
  return place;
}

function sourceButton(app, source) {
  const choice = () => selectionOfSource(app, source);
  return choiceButton(app, app.doc.source[source], choice);
}

/** Return a button that looks like a link, and selects something. */
function choiceButton(app, text, choice) {
  const button = made("button", "link", text);
  button.type = "button";
  button.addEventListener("click", () => app.select(choice()));
  button.addEventListener("pointerenter", () => app.preview(choice()));
  button.addEventListener("pointerleave", () => app.preview(null));
  return button;
}

/** Return a button for a kernel, by its name; text where there is none. */
function kernelButton(app, name) {
  const k = app.doc.kernels.findIndex((kernel) => kernel.name === name);
  if (k < 0) return document.createTextNode(name);
  return choiceButton(app, `@${name}`, () => selectionOfKernels(app, [k]));
}

/** Return a table; cells are text or elements, numbers are aligned to the right. */
function table(caption, heads, rows) {
  const found = made("table", "figures");
  found.append(made("caption", "", caption));
  const head = made("tr");
  for (const text of heads) {
    const cell = made("th", "", text);
    cell.scope = "col";
    head.append(cell);
  }
  const body = made("tbody");
  for (const row of rows) {
    const line = made("tr");
    row.forEach((cell) => {
      const place = made("td", typeof cell === "string" && /^[\d.<]/u.test(cell) ? "number" : "");
      place.append(cell);
      line.append(place);
    });
    body.append(line);
  }
  const top = made("thead");
  top.append(head);
  found.append(top, body);
  return found;
}

// --- memory

const CHART = { width: 640, height: 220, left: 64, right: 12, top: 12, bottom: 26 };

/** What is live at each step; a slider goes through the steps. */
class MemoryPanel {
  constructor(app) {
    this.app = app;
    this.memory = app.doc.memory;
    this.step = this.memory.busiest ?? 0;
    this.element = made("div", "prose");
    this.element.append(this.head(), this.chart(), this.slider(), (this.detail = made("div")));
    this.goTo(this.step);
  }

  head() {
    const m = this.memory;
    const parts = [
      ["inputs", m.input_bytes], ["constants", m.constant_bytes],
      ["results", m.output_bytes], ["arena", m.arena_bytes],
    ].filter(([, bytes]) => bytes).map(([name, bytes]) => `${name} ${bytesText(bytes)}`);
    const text = `A call needs ${bytesText(m.peak)} at most: ${parts.join(", ")}.`;
    return made("p", "", text);
  }

  chart() {
    const { width, height, left, right, top, bottom } = CHART;
    const { moments } = this.memory;
    const most = Math.max(...moments.map((m) => m.live + m.scratch), 1);
    const x = (i) => left + (i / moments.length) * (width - left - right);
    const y = (bytes) => height - bottom - (bytes / most) * (height - top - bottom);
    this.x = x;
    const picture = svg("svg", {
      viewBox: `0 0 ${width} ${height}`, role: "img", class: "chart",
      "aria-label": `Bytes that are live at each of ${moments.length} steps; most are ` +
        `${bytesText(most)} at step ${this.step}`,
    });
    for (const share of [0, 0.5, 1]) {
      const at = y(most * share);
      picture.append(
        svg("line", { class: "grid", x1: left, x2: width - right, y1: at, y2: at }),
        svg("text", { class: "axis end", x: left - 6, y: at + 4 }, bytesText(most * share))
      );
    }
    picture.append(
      svg("path", { class: "scratch", d: area(moments.map((m) => m.live + m.scratch), x, y) }),
      svg("path", { class: "live", d: area(moments.map((m) => m.live), x, y) }),
      (this.cursor = svg("rect", { class: "cursor", y: top, height: height - top - bottom })),
      svg("text", { class: "axis", x: left, y: height - 8 }, "steps, in the order they run")
    );
    picture.addEventListener("click", (event) => {
      const box = picture.getBoundingClientRect();
      const place = ((event.clientX - box.left) / box.width) * width;
      const share = (place - left) / (width - left - right);
      this.goTo(Math.floor(share * moments.length));
    });
    return picture;
  }

  slider() {
    const slider = made("input");
    Object.assign(slider, { type: "range", min: 0, max: this.memory.moments.length - 1 });
    slider.setAttribute("aria-label", "Step");
    slider.addEventListener("input", () => this.goTo(Number(slider.value)));
    this.input = slider;
    return slider;
  }

  goTo(step) {
    const { moments, buffers } = this.memory;
    this.step = Math.max(0, Math.min(moments.length - 1, step));
    const moment = moments[this.step];
    const [from, to] = [this.x(this.step), this.x(this.step + 1)];
    this.cursor.setAttribute("x", from);
    this.cursor.setAttribute("width", Math.max(1.5, to - from));
    this.input.value = this.step;
    const live = `${bytesText(moment.live)} live, ${bytesText(moment.scratch)} scratch`;
    this.input.setAttribute("aria-valuetext", `${this.step}, ${moment.title}, ${live}`);
    const found = buffers.filter((b) => b.first <= this.step && this.step <= b.last);
    found.sort((a, b) => b.bytes - a.bytes);
    const line = made("p", "moment", `Step ${this.step}: `);
    line.append(kernelButton(this.app, moment.title), ` · ${live} · `);
    line.append(sourceButtons(this.app, moment.sources));
    const rows = found.slice(0, 20).map((b) => [
      bytesText(b.bytes), b.kind, b.name, `${b.dtype}[${b.shape.join(",")}]`,
      `steps ${b.first} to ${b.last}`, sourceButtons(this.app, b.sources),
    ]);
    const heads = ["Bytes", "Kind", "Buffer", "Type", "Needed in", "Lines"];
    this.detail.replaceChildren(line, table("The largest buffers then", heads, rows));
  }
}

function area(values, x, y) {
  let path = `M${x(0)} ${y(0)}`;
  values.forEach((value, i) => {
    path += `L${x(i)} ${y(value)}L${x(i + 1)} ${y(value)}`;
  });
  return `${path}L${x(values.length)} ${y(0)}Z`;
}

// --- times beside what the machine can do

class RooflinePanel {
  constructor(app) {
    this.app = app;
    const { function: measured, limits } = app.doc.profile;
    this.measured = measured;
    this.limits = limits[measured.threads] ?? Object.values(limits)[0];
    this.steps = measured.steps.filter((s) => s.seconds > 0);
    this.element = made("div", "prose");
    const each = measured.seconds / measured.calls;
    const text = `${plural(measured.calls, "call")}, ${secondsText(each)} each on ` +
      `${plural(measured.threads, "thread")}.`;
    this.element.append(made("p", "", text), this.chart(), this.table());
  }

  /** The lines of the roof: ``[name, operations a second for an intensity]``. */
  roofs() {
    const used = new Set(this.steps.map((s) => s.arithmetic));
    const memory = Object.entries(this.limits.gb_s).map(([size, rate]) => [Number(size), rate]);
    memory.sort((a, b) => a[0] - b[0]);
    const ends = [memory[0], memory.at(-1)].filter(Boolean);
    const peaks = Object.entries(this.limits.gflop_s).filter(([name]) => used.has(name));
    return { ends, peaks: peaks.length ? peaks : Object.entries(this.limits.gflop_s) };
  }

  chart() {
    const { width, height, left, right, top, bottom } = CHART;
    const points = this.steps.filter((s) => s.flops > 0 && s.intensity > 0);
    const { ends, peaks } = this.roofs();
    const rate = (s) => s.flops / s.seconds / 1e9;
    const most = Math.max(...peaks.map(([, p]) => p), ...points.map(rate));
    const least = Math.min(...points.map(rate), most / 1e3);
    const xs = [Math.min(1 / 16, ...points.map((s) => s.intensity)), Math.max(64, ...points.map((s) => s.intensity))];
    const scale = (value, [from, to], a, b) => a + (Math.log(value / from) / Math.log(to / from)) * (b - a);
    const x = (v) => scale(v, xs, left, width - right);
    const y = (v) => scale(v, [least / 1.5, most * 2], height - bottom, top);
    const picture = svg("svg", {
      viewBox: `0 0 ${width} ${height}`, class: "chart", role: "img",
      "aria-label": "Operations a second of each kernel by operations a byte, under the " +
        "limits of memory and arithmetic; the table below has the numbers",
    });
    for (const [name, peak] of peaks) {
      picture.append(
        svg("line", { class: "roof", x1: left, x2: width - right, y1: y(peak), y2: y(peak) }),
        svg("text", { class: "axis end", x: width - right, y: y(peak) - 5 },
          `${name} ${peak.toFixed(0)} Gflop/s`)
      );
    }
    const top_ = Math.max(...peaks.map(([, p]) => p));
    for (const [size, bandwidth] of ends) {
      const corner = Math.min(xs[1], top_ / bandwidth);
      const start = Math.max(xs[0], least / 1.5 / bandwidth);
      picture.append(
        svg("line", { class: "roof", x1: x(start), y1: y(bandwidth * start), x2: x(corner), y2: y(bandwidth * corner) }),
        svg("text", { class: "axis", x: x(start) + 6, y: y(bandwidth * start) + 14 },
          `${bandwidth.toFixed(0)} GB/s at ${bytesText(size)}`)
      );
    }
    for (const step of points) picture.append(this.point(step, x(step.intensity), y(rate(step))));
    picture.append(svg("text", { class: "axis", x: left, y: height - 8 },
      "operations for each byte, logarithmic →"));
    return picture;
  }

  point(step, x, y) {
    const share = step.seconds / this.measured.seconds;
    const point = svg("circle", { class: "point", cx: x, cy: y, r: 4 + 10 * Math.sqrt(share) });
    point.append(svg("title", {}, document.createTextNode(
      `${step.name}: ${(100 * step.of_limit).toFixed(0)} % of the limit`)));
    const k = this.app.doc.kernels.findIndex((kernel) => kernel.name === step.name);
    if (k >= 0) {
      point.addEventListener("click", () => this.app.select(selectionOfKernels(this.app, [k])));
    }
    return point;
  }

  table() {
    const { calls, seconds } = this.measured;
    const rows = [...this.steps].sort((a, b) => b.seconds - a.seconds).map((s) => [
      secondsText(s.seconds / calls),
      `${((100 * s.seconds) / seconds).toFixed(1)} %`,
      s.of_limit ? `${(100 * s.of_limit).toFixed(0)} %` : "–",
      s.bound || "–",
      s.intensity ? s.intensity.toPrecision(2) : "–",
      kernelButton(this.app, s.name),
      sourceButtons(this.app, s.sources),
    ]);
    const heads = ["Time", "Share", "Of limit", "Bound by", "Flop/byte", "Step", "Lines"];
    return table("Steps by time", heads, rows);
  }
}

function secondsText(seconds) {
  const units = [[1, "s"], [1e-3, "ms"], [1e-6, "µs"], [1e-9, "ns"]];
  const [unit, name] = units.find(([u]) => seconds >= u) ?? units.at(-1);
  return `${(seconds / unit).toPrecision(3)} ${name}`;
}

// --- findings

/** What the compiler did and why, those that cost most first in each group. */
function explainPanel(app) {
  const element = made("div", "prose");
  const groups = new Map();
  for (const finding of app.doc.findings) {
    const kind = `${finding.group}: ${finding.title}`;
    if (!groups.has(kind)) groups.set(kind, []);
    groups.get(kind).push(finding);
  }
  for (const [kind, found] of groups) {
    const box = made("details");
    box.open = groups.size <= 8;
    const head = made("summary");
    const bytes = found.reduce((sum, f) => sum + (f.bytes ?? 0), 0);
    const size = bytes ? `, ${bytesText(bytes)}` : "";
    head.append(made("strong", "", kind), ` · ${found.length}${size}`);
    const list = made("ul", "findings");
    found.sort((a, b) => (b.bytes ?? 0) - (a.bytes ?? 0));
    for (const finding of found.slice(0, 50)) list.append(findingItem(app, finding));
    if (found.length > 50) list.append(made("li", "", `and ${found.length - 50} more`));
    const why = `${sentence(found[0].why)} What can be done: ${found[0].remedy}.`;
    box.append(head, made("p", "why", why), list);
    element.append(box);
  }
  return { element };
}

function sentence(text) {
  return text ? `${text[0].toUpperCase()}${text.slice(1)}.` : "";
}

function findingItem(app, finding) {
  const item = made("li");
  const words = finding.message.split(/([\w.-]+\.py:\d+)/u);
  for (const part of words) {
    const source = app.index.sourceByName.get(part);
    item.append(source === undefined ? part : sourceButton(app, source));
  }
  if (finding.bytes) item.append(` · ${bytesText(finding.bytes)}`);
  return item;
}
