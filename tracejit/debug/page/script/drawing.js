// The fused graph, drawn. dagre says where the boxes are; they are laid out when the
// drawing is first looked at. Of a large graph a neighbourhood is drawn.

const SVG = "http://www.w3.org/2000/svg";
const DRAWN_WHOLE = 120; // boxes; dagre takes a second for twice as many
const NEAR = 50; // boxes of a neighbourhood
const ALL_UP_TO = 1000; // boxes that can be asked for
const CHARACTER = 7; // pixels
const READABLE = 0.75; // of the full size: what does not fit is scrolled
const MAX_WORDS = 34;

function svg(tag, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

function short(text, limit = MAX_WORDS) {
  return text.length > limit ? `${text.slice(0, limit - 1)}…` : text;
}

class Drawing {
  constructor(app) {
    this.app = app;
    this.id = "drawing";
    this.boxes = app.doc.drawing.boxes;
    this.edges = app.doc.drawing.edges;
    this.zoom = 1;
    this.center = Math.max(0, this.boxes.findIndex((box) => box.kind === "kernel"));
    this.current = this.center;
    this.isWhole = this.boxes.length <= DRAWN_WHOLE;
    this.hits = [];
    this.nodes = new Map();
    this.element = made("div", "drawing");
    this.element.append(this.toolbar(), (this.canvas = made("div", "canvas")));
    this.boxLines = this.boxes.map((box) => this.linesOf(box));
    const join = (from) => {
      const found = this.boxes.map(() => []);
      for (const edge of this.edges) found[edge[from]].push(edge[1 - from]);
      return found;
    };
    this.after = join(0);
    this.before = join(1);
  }

  toolbar() {
    const bar = made("div", "tools");
    const add = (label, text, act) => {
      const button = made("button", "", text);
      button.type = "button";
      button.setAttribute("aria-label", label);
      button.addEventListener("click", act);
      bar.append(button);
    };
    add("Smaller", "−", () => this.scale(this.zoom / 1.25));
    add("Larger", "+", () => this.scale(this.zoom * 1.25));
    add("Fit", "Fit", () => this.fit());
    if (!this.isWhole && this.boxes.length <= ALL_UP_TO) {
      add("Draw all boxes, which takes a while", "All", () => this.drawAll());
    }
    this.note = made("span", "note");
    bar.append(this.note);
    return bar;
  }

  linesOf(box) {
    const { doc } = this.app;
    if (box.kind === "input" || box.kind === "output") {
      const [name, type] = doc.values[box.values[0]];
      return [box.kind === "input" ? `%${name}` : box.title, type];
    }
    const source = box.source.map((s) => doc.source[s]).join(", ");
    const title = box.kind === "kernel" ? `@${box.title}` : box.title;
    return [title, box.detail, source].filter(Boolean);
  }

  sizeOf(i) {
    const lines = this.boxLines[i].map((line) => short(line).length);
    return [Math.max(...lines, 6) * CHARACTER + 20, lines.length * 16 + 12];
  }

  /** Return the boxes to draw: all, or those around the one that was chosen. */
  chosen() {
    if (this.isWhole) return this.boxes.map((_, i) => i);
    const found = new Set([this.center]);
    for (const i of found) {
      if (found.size >= NEAR) break;
      if (this.boxes[i].kind === "input") continue; // what else reads it is far away
      for (const j of [...this.after[i], ...this.before[i]]) {
        if (found.size < NEAR) found.add(j);
      }
    }
    return [...found].sort((a, b) => a - b);
  }

  // --- layout

  layout(chosen) {
    const graph = new dagre.graphlib.Graph({ compound: true, multigraph: false });
    graph.setGraph({ rankdir: "TB", nodesep: 24, ranksep: 36, marginx: 16, marginy: 16 });
    graph.setDefaultEdgeLabel(() => ({}));
    const isDrawn = new Set(chosen);
    for (const i of chosen) {
      const [width, height] = this.sizeOf(i);
      graph.setNode(i, { width, height });
    }
    for (const i of chosen) this.nest(graph, i, isDrawn);
    for (const [from, to] of this.edges) {
      if (isDrawn.has(from) && isDrawn.has(to)) graph.setEdge(from, to);
    }
    dagre.layout(graph);
    return graph;
  }

  /** Put the box of a loop, and those of its body, into a frame of their own. */
  nest(graph, i, isDrawn) {
    const { kind, parent } = this.boxes[i];
    const frame = (loop) => `frame${loop}`;
    if (kind === "loop") {
      graph.setNode(frame(i), {});
      graph.setParent(i, frame(i));
      if (parent >= 0 && isDrawn.has(parent)) {
        graph.setNode(frame(parent), {});
        graph.setParent(frame(i), frame(parent));
      }
    } else if (parent >= 0 && isDrawn.has(parent)) {
      graph.setNode(frame(parent), {});
      graph.setParent(i, frame(parent));
    }
  }

  // --- drawing

  show() {
    if (this.isDrawn) return;
    this.isDrawn = true;
    const chosen = this.chosen();
    this.shownBoxes = chosen;
    const graph = this.layout(chosen);
    const { width, height } = graph.graph();
    this.size = [width, height];
    this.picture = svg("svg", {
      role: "group",
      "aria-label": `Fused graph, ${plural(chosen.length, "box", "boxes")}`,
      viewBox: `0 0 ${width} ${height}`,
    });
    this.picture.append(arrowHead());
    this.drawFrames(graph);
    this.drawEdges(graph);
    this.nodes.clear();
    if (!chosen.includes(this.current)) this.current = chosen[0];
    for (const i of chosen) this.drawBox(i, graph.node(i));
    this.canvas.replaceChildren(this.picture);
    const all = this.boxes.length;
    this.note.textContent =
      chosen.length < all ? `${chosen.length} of ${all} boxes, around the chosen one` : "";
    this.fit();
    this.light();
    if (!this.isWhole) this.reveal(this.center);
  }

  drawAll() {
    this.isWhole = true;
    this.isDrawn = false;
    this.show();
  }

  drawFrames(graph) {
    for (const name of graph.nodes()) {
      if (!name.startsWith("frame")) continue;
      const { x, y, width, height } = graph.node(name);
      this.picture.append(svg("rect", {
        class: "loop-frame", x: x - width / 2, y: y - height / 2, width, height, rx: 10,
      }));
    }
  }

  drawEdges(graph) {
    this.edgeLines = [];
    for (const { v, w } of graph.edges()) {
      const { points } = graph.edge(v, w);
      const path = svg("path", { class: "edge", d: curve(points), "marker-end": "url(#tip)" });
      this.edgeLines.push([Number(v), Number(w), path]);
      this.picture.append(path);
    }
  }

  drawBox(i, { x, y, width, height }) {
    const box = this.boxes[i];
    const lines = this.boxLines[i];
    const node = svg("g", {
      class: `box ${box.kind}`,
      transform: `translate(${x - width / 2},${y - height / 2})`,
      role: "button",
      tabindex: i === this.current ? 0 : -1,
      "aria-label": `${box.kind} ${lines.join(", ")}`,
      "aria-pressed": "false",
    });
    node.append(svg("rect", { width, height, rx: box.kind === "kernel" ? 6 : height / 4 }));
    lines.forEach((line, k) => {
      const text = svg("text", { x: width / 2, y: 18 + 16 * k, class: k ? "detail" : "title" });
      text.append(short(line));
      node.append(text);
    });
    node.append(svg("title", {}, document.createTextNode(lines.join("\n"))));
    node.addEventListener("click", () => this.choose(i));
    node.addEventListener("keydown", (event) => this.onKey(event, i));
    node.addEventListener("pointerenter", () => this.app.preview(this.selectionOf(i)));
    node.addEventListener("pointerleave", () => this.app.preview(null));
    this.nodes.set(i, node);
    this.picture.append(node);
  }

  // --- selection

  selectionOf(i) {
    const { values, source, kernel } = this.boxes[i];
    const kernels = kernel >= 0 ? [kernel] : null;
    return selectionOfValues(this.app, values, this.boxLines[i][0], source, kernels);
  }

  choose(i) {
    this.current = i;
    this.app.select(this.selectionOf(i), this);
    this.focusBox(i);
  }

  strength(i) {
    const selection = this.app.shown;
    if (!selection) return 0;
    const { values, source } = this.boxes[i];
    if (selection.by === "source") return overlaps(source, selection.source) ? 2 : 0;
    return overlaps(values, selection.values) ? 2 : 0;
  }

  mark(selection) {
    this.hits = selection ? this.boxes.map((_, i) => i).filter((i) => this.strength(i)) : [];
    if (!this.isWhole && this.hits.length && this.isDrawn) {
      if (!this.shownBoxes.includes(this.hits[0])) this.moveTo(this.hits[0]);
    }
    this.light();
    this.onHits?.(this);
  }

  light() {
    for (const [i, node] of this.nodes) {
      const isHit = this.strength(i) === 2;
      node.classList.toggle("hit", isHit);
      node.setAttribute("aria-pressed", isHit);
    }
    for (const [from, to, path] of this.edgeLines ?? []) {
      path.classList.toggle("hit", Boolean(this.strength(from) || this.strength(to)));
    }
  }

  drawSoon() {
    this.light();
  }

  reveal(at = this.hits[0]) {
    if (this.isDrawn && at !== undefined) {
      this.nodes.get(at)?.scrollIntoView({ block: "center", inline: "center" });
    }
  }

  step(by) {
    if (!this.hits.length) return;
    const place = this.hits.indexOf(this.current);
    const next = (place + by + this.hits.length) % this.hits.length;
    this.focusBox(this.hits[place < 0 ? 0 : next]);
  }

  /** Draw the neighbourhood of another box. */
  moveTo(i) {
    this.center = this.current = i;
    this.isDrawn = false;
    this.show();
  }

  focusBox(i) {
    if (!this.nodes.has(i)) this.moveTo(i);
    this.nodes.get(this.current)?.setAttribute("tabindex", -1);
    this.current = i;
    const node = this.nodes.get(i);
    node.setAttribute("tabindex", 0);
    node.focus();
    this.reveal(i);
  }

  onKey(event, i) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const order = this.shownBoxes;
    const beside = (by) => order[(order.indexOf(i) + by + order.length) % order.length];
    const moves = {
      ArrowDown: () => this.after[i][0] ?? i,
      ArrowUp: () => this.before[i][0] ?? i,
      ArrowRight: () => beside(1),
      ArrowLeft: () => beside(-1),
      Home: () => order[0],
      End: () => order.at(-1),
    };
    if (event.key in moves) this.focusBox(moves[event.key]());
    else if (event.key === "Enter" || event.key === " ") this.choose(i);
    else return;
    event.preventDefault();
  }

  // --- size

  scale(zoom) {
    this.zoom = Math.max(0.1, Math.min(4, zoom));
    const [width, height] = this.size;
    this.picture.setAttribute("width", width * this.zoom);
    this.picture.setAttribute("height", height * this.zoom);
  }

  fit() {
    const [width, height] = this.size;
    const { clientWidth, clientHeight } = this.canvas;
    if (!clientWidth) return;
    const whole = Math.min(clientWidth / width, clientHeight / height, 1);
    this.scale(Math.max(Math.min(clientWidth / width, 1), whole, READABLE));
  }
}

function arrowHead() {
  const tip = svg("path", { d: "M0 0 L6 3 L0 6 z" });
  const marker = svg("marker", {
    id: "tip", refX: 6, refY: 3, markerWidth: 6, markerHeight: 6, orient: "auto",
  }, tip);
  return svg("defs", {}, marker);
}

function curve(points) {
  const [first, ...rest] = points;
  let path = `M${first.x} ${first.y}`;
  for (let i = 0; i < rest.length - 1; i++) {
    const middle = { x: (rest[i].x + rest[i + 1].x) / 2, y: (rest[i].y + rest[i + 1].y) / 2 };
    path += ` Q${rest[i].x} ${rest[i].y} ${middle.x} ${middle.y}`;
  }
  const last = rest.at(-1);
  return `${path} L${last.x} ${last.y}`;
}
