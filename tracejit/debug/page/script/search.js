// The search box: lines of every level that contain what is typed.

const MOST_FOUND = 60;

class Search {
  constructor(app) {
    this.app = app;
    this.input = document.getElementById("search");
    this.list = document.getElementById("results");
    this.found = [];
    this.current = -1;
    this.input.addEventListener("input", () => this.search());
    this.input.addEventListener("keydown", (event) => this.onKey(event));
    this.input.addEventListener("blur", () => setTimeout(() => this.close(), 150));
    this.input.addEventListener("focus", () => this.search());
  }

  search() {
    const words = this.input.value.trim().toLowerCase();
    this.found = words ? this.matches(words) : [];
    this.current = -1;
    this.show(words);
  }

  matches(words) {
    const found = [];
    for (const list of this.app.lists()) {
      const each = Math.ceil(MOST_FOUND / 4);
      let count = 0;
      for (let i = 0; i < list.source.count && count < each; i++) {
        if (list.source.text(i).toLowerCase().includes(words)) {
          found.push([list, i]);
          count++;
        }
      }
    }
    return found.slice(0, MOST_FOUND);
  }

  show(words) {
    const options = this.found.map(([list, i], k) => {
      const option = made("li");
      option.id = `result-${k}`;
      option.setAttribute("role", "option");
      option.setAttribute("aria-selected", k === this.current);
      const where = list.source.where(i);
      option.append(made("span", "where", where), made("code", "", list.source.text(i).trim()));
      option.addEventListener("pointerdown", (event) => {
        event.preventDefault();
        this.go(k);
      });
      return option;
    });
    if (words && !options.length) {
      const none = made("li", "none", "No line has this");
      none.setAttribute("role", "option");
      none.setAttribute("aria-selected", "false");
      none.setAttribute("aria-disabled", "true");
      options.push(none);
    }
    this.list.replaceChildren(...options);
    this.list.hidden = !options.length;
    this.input.setAttribute("aria-expanded", !this.list.hidden);
    this.input.removeAttribute("aria-activedescendant");
  }

  onKey(event) {
    const { key } = event;
    if (key === "Escape") {
      this.input.value = "";
      this.close();
    } else if (key === "ArrowDown" || key === "ArrowUp") {
      this.moveTo(this.current + (key === "ArrowDown" ? 1 : -1));
    } else if (key === "Enter" && this.found.length) {
      this.go(Math.max(this.current, 0));
    } else return;
    event.preventDefault();
    event.stopPropagation();
  }

  moveTo(k) {
    if (!this.found.length) return;
    this.current = (k + this.found.length) % this.found.length;
    [...this.list.children].forEach((option, i) => {
      option.setAttribute("aria-selected", i === this.current);
    });
    this.list.children[this.current].scrollIntoView({ block: "nearest" });
    this.input.setAttribute("aria-activedescendant", `result-${this.current}`);
  }

  go(k) {
    const [list, i] = this.found[k];
    this.close();
    this.app.open(list);
    list.moveTo(i);
    list.choose(i);
    list.element.focus();
  }

  close() {
    this.list.hidden = true;
    this.input.setAttribute("aria-expanded", "false");
    this.input.removeAttribute("aria-activedescendant");
  }
}
