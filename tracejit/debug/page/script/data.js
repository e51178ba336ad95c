"use strict";

// The document, and what belongs to what: read once, never changed afterwards.

const SAME = 0, CHANGED = 1, ADDED = 2, REMOVED = 3;

/** Return the text that is packed as base64 of gzip. */
async function unpacked(text) {
  const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const stream = new Blob([bytes]).stream();
  return new Response(stream.pipeThrough(new DecompressionStream("gzip"))).text();
}

async function readDocument() {
  const found = JSON.parse(document.getElementById("document").textContent);
  return found.packed ? JSON.parse(await unpacked(found.packed)) : found;
}

function addTo(map, key, value) {
  const known = map.get(key);
  if (known) known.add(value);
  else map.set(key, new Set([value]));
}

/** Which values a source line computes, which kernels compute a value, and so on. */
function indexOf(doc) {
  const index = {
    valuesOfSource: new Map(),
    sourceOfValue: new Map(),
    kernelsOfValue: new Map(),
    kernelsOfSource: new Map(),
    sourceByName: new Map(doc.source.map((name, i) => [name, i])),
  };
  for (const [, defines, , source] of doc.lines) {
    for (const s of source) {
      for (const v of defines) {
        addTo(index.valuesOfSource, s, v);
        addTo(index.sourceOfValue, v, s);
      }
    }
  }
  doc.kernels.forEach((kernel, k) => {
    for (const v of kernel.values) addTo(index.kernelsOfValue, v, k);
    for (const s of kernel.source) addTo(index.kernelsOfSource, s, k);
  });
  return index;
}

function union(map, keys) {
  const found = new Set();
  for (const key of keys) for (const x of map.get(key) ?? []) found.add(x);
  return found;
}

function overlaps(items, set) {
  for (const x of items) if (set.has(x)) return true;
  return false;
}

// --- selections: what is lit up in every level

/** Everything of one line of the user. */
function selectionOfSource(app, source) {
  return {
    by: "source",
    label: app.doc.source[source],
    source: new Set([source]),
    values: app.index.valuesOfSource.get(source) ?? new Set(),
    kernels: app.index.kernelsOfSource.get(source) ?? new Set(),
  };
}

/** Some values of the graph, with the lines and kernels that compute them. */
function selectionOfValues(app, values, label, source = [], kernels = null) {
  return {
    by: "value",
    label,
    source: new Set([...source, ...(source.length ? [] : union(app.index.sourceOfValue, values))]),
    values: new Set(values),
    kernels: new Set(kernels ?? union(app.index.kernelsOfValue, values)),
  };
}

/** Whole kernels: all that they compute. */
function selectionOfKernels(app, kernels) {
  const chosen = kernels.map((k) => app.doc.kernels[k]);
  return {
    by: "kernel",
    label: chosen.map((k) => `@${k.name}`).join(", "),
    source: new Set(chosen.flatMap((k) => k.source)),
    values: new Set(chosen.flatMap((k) => k.values)),
    kernels: new Set(kernels),
  };
}

function valueName(app, value) {
  return `%${app.doc.values[value][0]}`;
}

function valueNames(app, values) {
  const names = values.slice(0, 3).map((v) => valueName(app, v));
  return names.join(", ") + (values.length > 3 ? ", …" : "");
}
