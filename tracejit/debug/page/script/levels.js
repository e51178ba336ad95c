// What each list shows: its lines, what a line belongs to, and what selecting it means.

function widest(texts) {
  let width = 0;
  for (const text of texts) width = Math.max(width, text.length);
  return width;
}

/** Add the text of a line, in one element: spaces at its start count. */
function addCode(row, text, language, indent = 0) {
  const code = made("span", "code");
  if (indent) code.style.paddingLeft = `${indent}ch`;
  paint(code, text, language);
  row.append(code);
}

function addGutter(row, text, className = "") {
  row.append(made("span", `gutter ${className}`, text));
}

function shortCount(count) {
  return count < 1000 ? String(count) : `${(count / 1000).toPrecision(2)}k`;
}

// --- source

function sourceLevel(app) {
  const rows = [];
  for (const file of app.doc.files) {
    rows.push({ file, text: file.name + (file.note ? ` · ${file.note}` : "") });
    for (const [number, text] of file.lines) {
      const source = app.index.sourceByName.get(`${file.name}:${number}`) ?? -1;
      rows.push({ number, text, source });
    }
  }
  return {
    count: rows.length,
    width: widest(rows.map((r) => r.text)) + 12,
    language: "python",
    text: (i) => rows[i].text,
    where: (i) => (rows[i].file ? "" : `line ${rows[i].number}`),
    strength: (i, selection) => (selection.source.has(rows[i].source) ? 2 : 0),
    choose: (i) => (rows[i].source >= 0 ? selectionOfSource(app, rows[i].source) : null),
    paint(i, row) {
      const { file, number, text, source } = rows[i];
      if (file) {
        row.classList.add("file");
        row.title = file.path;
        row.append(text);
        return;
      }
      const values = app.index.valuesOfSource.get(source)?.size ?? 0;
      addGutter(row, String(number), "number");
      addGutter(row, values ? shortCount(values) : "", "count");
      if (values) row.title = plural(values, "value");
      else row.classList.add("idle");
      addCode(row, text, "python");
    },
  };
}

// --- the graph after a pass

const MARKS = {
  [SAME]: ["", "", ""],
  [CHANGED]: ["~", "changed", "changed to"],
  [ADDED]: ["+", "added", "added"],
  [REMOVED]: ["−", "removed", "removed"],
};

/** Return the rows of a stage; without those that are gone if no changes are shown. */
function graphRows(stage, withChanges) {
  const rows = [];
  for (const [line, depth, mark, before] of stage.rows) {
    if (!withChanges) {
      if (mark !== REMOVED) rows.push([line, depth, SAME]);
      continue;
    }
    if (mark === CHANGED) rows.push([before, depth, REMOVED, "was"]);
    rows.push([line, depth, mark]);
  }
  return rows;
}

function graphLevel(app) {
  const stage = app.doc.stages[app.stage];
  const rows = graphRows(stage, app.withChanges);
  const lines = app.doc.lines;
  const sourceText = (line) => lines[line][3].map((s) => app.doc.source[s]).join(", ");
  return {
    count: rows.length,
    width: widest(rows.map(([l, d]) => lines[l][0] + " ".repeat(2 * d + 8) + sourceText(l))),
    text: (i) => lines[rows[i][0]][0],
    where: () => `after ${stage.name}`,
    strength(i, selection) {
      const [, defines, uses, source] = lines[rows[i][0]];
      if (selection.by === "source") return overlaps(source, selection.source) ? 2 : 0;
      if (overlaps(defines, selection.values)) return 2;
      return overlaps(uses, selection.values) ? 1 : 0;
    },
    choose(i) {
      const [, defines, uses, source] = lines[rows[i][0]];
      const values = defines.length ? defines : uses;
      if (!values.length) return null;
      return selectionOfValues(app, values, valueNames(app, values), source);
    },
    paint(i, row) {
      const [line, depth, mark, word] = rows[i];
      const [sign, className, spoken] = MARKS[mark];
      addGutter(row, word ? "~" : sign, "sign");
      if (className) {
        row.classList.add(word ? "was" : className);
        row.firstChild.setAttribute("aria-label", word ?? spoken);
        row.firstChild.setAttribute("role", "img");
      }
      addCode(row, lines[line][0], "graph", 2 * depth);
      const from = sourceText(line);
      if (from) row.append(made("span", "from", from));
    },
  };
}

// --- kernels and the Program

function kernelsLevel(app) {
  const rows = [];
  app.doc.kernels.forEach((kernel, k) => {
    kernel.lines.forEach(([depth, text, values], i) => {
      rows.push({ k, depth, text, values, isHead: i === 0 });
    });
    rows.push({ k: -1, depth: 0, text: "", values: [] });
  });
  rows.pop();
  const head = (row) => {
    const { source, runs } = app.doc.kernels[row.k];
    const from = source.map((s) => app.doc.source[s]).join(", ");
    return runs > 1 ? `${from} · run ${runs} times` : from;
  };
  return {
    count: rows.length,
    width: widest(rows.map((r) => r.text + (r.isHead ? head(r) : ""))) + 12,
    text: (i) => rows[i].text,
    where: (i) => (rows[i].k < 0 ? "" : `@${app.doc.kernels[rows[i].k].name}`),
    strength(i, selection) {
      const { k, values, isHead } = rows[i];
      if (k < 0 || !selection.kernels.has(k)) return 0;
      if (isHead || overlaps(values, selection.values)) return 2;
      return selection.by === "kernel" ? 1 : 0;
    },
    choose(i) {
      const { k, values } = rows[i];
      if (k < 0) return null;
      if (!values.length) return selectionOfKernels(app, [k]);
      const label = `${valueNames(app, values)} in @${app.doc.kernels[k].name}`;
      return selectionOfValues(app, values, label, [], [k]);
    },
    paint(i, row) {
      const { depth, text, isHead } = rows[i];
      if (isHead) row.classList.add("head");
      addCode(row, text, "graph", 2 * depth + 1);
      if (isHead) row.append(made("span", "from", head(rows[i])));
    },
  };
}

function programLevel(app) {
  const rows = app.doc.program;
  return {
    count: rows.length,
    width: widest(rows.map(([d, text]) => text + " ".repeat(2 * d))) + 24,
    text: (i) => rows[i][1],
    where: () => "Program",
    strength(i, selection) {
      const [, , source, kernel, values] = rows[i];
      if (selection.by === "source") return overlaps(source, selection.source) ? 2 : 0;
      if (overlaps(values, selection.values)) return 2;
      return kernel >= 0 && selection.kernels.has(kernel) && selection.by === "kernel" ? 1 : 0;
    },
    choose(i) {
      const [, text, source, kernel, values] = rows[i];
      if (values.length) {
        const kernels = kernel >= 0 ? [kernel] : null;
        return selectionOfValues(app, values, text.split("(")[0], source, kernels);
      }
      return source.length ? selectionOfSource(app, source[0]) : null;
    },
    paint(i, row) {
      const [depth, text, source] = rows[i];
      addCode(row, text, "graph", 2 * depth + 1);
      row.append(made("span", "from", source.map((s) => app.doc.source[s]).join(", ")));
    },
  };
}

// --- machine code

const LANGUAGES = { llvm: "llvm", asm: "asm", triton: "python" };

function codeLevel(app, code, text) {
  const lines = text.split("\n");
  const owners = new Array(lines.length).fill(null);
  const computed = new Array(lines.length).fill(null);
  const told = new Set(); // owners of functions whose lines say what they compute
  const heads = new Map();
  const symbols = new Set(app.doc.kernels.map((k) => k.name.replaceAll(/[^\w.]/gu, "_")));
  for (const [name, first, last, kernels] of code.sections) {
    if (name) heads.set(first, name);
    for (let i = first; i <= last; i++) owners[i] = kernels;
  }
  for (const [first, last, values] of code.marks) {
    told.add(owners[first]);
    for (let i = first; i <= last; i++) computed[i] = values;
  }
  return {
    count: lines.length,
    width: Math.min(widest(lines), 600) + 8,
    text: (i) => lines[i],
    where: (i) => `${code.title} line ${i + 1}`,
    strength(i, selection) {
      if (!owners[i] || !overlaps(owners[i], selection.kernels)) return 0;
      if (heads.has(i) || owners[i] !== owners[i - 1]) return 2;
      if (selection.by === "kernel" || !told.has(owners[i])) return 1;
      return computed[i] && overlaps(computed[i], selection.values) ? 2 : 0;
    },
    // What computes a value tells more of it than a kernel's own function, and that
    // more than what it calls.
    best: (hits) => hits.find((i) => computed[i]) ?? hits.find((i) => symbols.has(heads.get(i))),
    choose(i) {
      if (!owners[i]?.length) return null;
      if (!computed[i]) return selectionOfKernels(app, owners[i]);
      const label = `${valueNames(app, computed[i])} in ${code.title}`;
      return selectionOfValues(app, computed[i], label, [], owners[i]);
    },
    paint(i, row) {
      if (heads.has(i)) row.classList.add("head");
      addGutter(row, String(i + 1), "number");
      addCode(row, lines[i].replaceAll("\t", "    "), LANGUAGES[code.id]);
    },
  };
}
