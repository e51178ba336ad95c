// A list of lines of which only those in sight are in the page, so that a hundred
// thousand of them cost what fifty do. Screen readers are told the place of each.

const ROW = 20; // pixels, as in the style
const SPARE = 12; // rows beyond those in sight

class LineList {
  /**
   * @param {string} id
   * @param {string} label what screen readers call it
   * @param {object} source `count`, `width` in characters, `text(i)`, `paint(i, row)`,
   *   `strength(i, selection)` 0, 1 or 2, and `choose(i)`, what selecting line i selects
   * @param {object} app
   */
  constructor(id, label, source, app) {
    this.id = id;
    this.source = source;
    this.app = app;
    this.active = 0;
    this.hits = [];
    this.element = made("div", "list");
    Object.assign(this.element, { id, tabIndex: 0 });
    this.element.setAttribute("role", "listbox");
    this.element.setAttribute("aria-label", label);
    this.sizer = made("div", "sizer");
    this.sizer.setAttribute("role", "presentation");
    this.stripe = made("canvas", "stripe");
    this.stripe.setAttribute("aria-hidden", "true");
    this.element.append(this.sizer);
    this.frame = made("div", "frame");
    this.frame.append(this.element, this.stripe);
    this.listen();
    this.reset();
  }

  listen() {
    const element = this.element;
    element.addEventListener("scroll", () => this.drawSoon(), { passive: true });
    element.addEventListener("keydown", (event) => this.onKey(event));
    element.addEventListener("click", (event) => {
      const at = this.rowAt(event);
      if (at >= 0) this.choose(at);
    });
    element.addEventListener("pointermove", (event) => {
      if (event.pointerType !== "mouse") return;
      const at = this.rowAt(event);
      if (at !== this.hovered) this.hover(at);
    });
    element.addEventListener("pointerleave", () => this.hover(-1));
    element.addEventListener("focus", () => {
      this.app.focused = this;
      this.drawSoon();
    });
    element.addEventListener("blur", () => this.drawSoon());
    this.stripe.addEventListener("click", (event) => {
      const share = event.offsetY / this.stripe.clientHeight;
      element.scrollTop = share * this.source.count * ROW - element.clientHeight / 2;
    });
    new ResizeObserver(() => {
      this.drawSoon();
      this.drawStripe();
    }).observe(element);
  }

  /** The lines are others now. */
  reset(source = this.source) {
    this.source = source;
    this.active = Math.min(this.active, Math.max(source.count - 1, 0));
    this.hovered = -1;
    this.sizer.style.height = `${source.count * ROW}px`;
    this.sizer.style.minWidth = `${source.width + 2}ch`;
    this.mark(this.app.selection);
  }

  rowAt(event) {
    const row = event.target.closest?.("[data-at]");
    return row && this.sizer.contains(row) ? Number(row.dataset.at) : -1;
  }

  // --- what is lit up

  /** Find the lines of a selection; all of them, as the stripe shows them. */
  mark(selection) {
    this.hits = [];
    if (selection) {
      for (let i = 0; i < this.source.count; i++) {
        if (this.source.strength(i, selection) === 2) this.hits.push(i);
      }
    }
    this.drawStripe();
    this.drawSoon();
    this.onHits?.(this);
  }

  hover(at) {
    this.hovered = at;
    const selection = at < 0 ? null : this.source.choose(at);
    this.app.preview(selection);
  }

  choose(at) {
    this.active = at;
    this.app.select(this.source.choose(at), this);
    this.drawSoon();
  }

  /** Scroll to a line; to the nearest that is lit up if none is said. */
  reveal(at = this.nearestHit()) {
    if (at < 0 || at === undefined) return;
    const { scrollTop, clientHeight } = this.element;
    const top = at * ROW;
    if (top < scrollTop || top + 2 * ROW > scrollTop + clientHeight) {
      this.element.scrollTop = Math.max(0, top - clientHeight / 3);
    }
    this.drawSoon();
  }

  nearestHit() {
    if (!this.hits.length) return -1;
    const best = this.source.best?.(this.hits);
    if (best !== undefined) return best;
    const { scrollTop, clientHeight } = this.element;
    const inSight = this.hits.find(
      (i) => i * ROW >= scrollTop && (i + 1) * ROW <= scrollTop + clientHeight
    );
    return inSight ?? this.hits[0];
  }

  /** Go to the next line that is lit up, or to the one before. */
  step(by) {
    if (!this.hits.length) return;
    const later = this.hits.findIndex((i) => i > this.active);
    const after = later < 0 ? 0 : later;
    const before = this.hits.findLastIndex((i) => i < this.active);
    const place = by > 0 ? after : before < 0 ? this.hits.length - 1 : before;
    this.moveTo(this.hits[place]);
  }

  moveTo(at) {
    this.active = Math.max(0, Math.min(this.source.count - 1, at));
    this.reveal(this.active);
    this.draw();
  }

  onKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const page = Math.max(1, Math.floor(this.element.clientHeight / ROW) - 1);
    const moves = {
      ArrowDown: this.active + 1,
      ArrowUp: this.active - 1,
      PageDown: this.active + page,
      PageUp: this.active - page,
      Home: 0,
      End: this.source.count - 1,
    };
    if (event.key in moves) this.moveTo(moves[event.key]);
    else if (event.key === "Enter" || event.key === " ") this.choose(this.active);
    else return;
    event.preventDefault();
  }

  // --- drawing

  drawSoon() {
    if (this.waiting) return;
    this.waiting = requestAnimationFrame(() => this.draw());
  }

  draw() {
    cancelAnimationFrame(this.waiting);
    this.waiting = 0;
    const { scrollTop, clientHeight } = this.element;
    const first = Math.max(0, Math.floor(scrollTop / ROW) - SPARE);
    const last = Math.min(
      this.source.count, Math.ceil((scrollTop + clientHeight) / ROW) + SPARE
    );
    const rows = [];
    const isFocused = document.activeElement === this.element;
    if (isFocused && (this.active < first || this.active >= last)) {
      if (this.active < this.source.count) rows.push(this.row(this.active, isFocused));
    }
    for (let i = first; i < last; i++) rows.push(this.row(i, isFocused));
    this.sizer.replaceChildren(...rows);
    if (this.source.count) {
      this.element.setAttribute("aria-activedescendant", `${this.id}-${this.active}`);
    }
  }

  row(i, isFocused) {
    const row = made("div", "row");
    row.id = `${this.id}-${i}`;
    row.dataset.at = i;
    row.style.top = `${i * ROW}px`;
    row.setAttribute("role", "option");
    row.setAttribute("aria-setsize", this.source.count);
    row.setAttribute("aria-posinset", i + 1);
    const selection = this.app.shown;
    const strength = selection ? this.source.strength(i, selection) : 0;
    row.setAttribute("aria-selected", strength === 2);
    if (strength) row.classList.add(strength === 2 ? "hit" : "near");
    if (isFocused && i === this.active) row.classList.add("active");
    this.source.paint(i, row);
    return row;
  }

  /** Show where in the whole list lines are lit up. */
  drawStripe() {
    const { clientWidth: width, clientHeight: height } = this.stripe;
    if (!width || !height) return;
    Object.assign(this.stripe, { width, height });
    const context = this.stripe.getContext("2d");
    context.fillStyle = getComputedStyle(this.stripe).color;
    const scale = Math.min(ROW, height / Math.max(1, this.source.count));
    for (const i of this.hits) {
      context.fillRect(0, Math.floor(i * scale), width, Math.max(2, scale));
    }
  }
}
