// Further panels, where the document has something for them.

/** Return ``[id, title, make]`` for each. */
function extraPanels(app) {
  const panels = [];
  if (app.doc.notes.length) panels.push(["notes", "Notes", () => notesPanel(app)]);
  return panels;
}

const PLACE = /[\w.-]+\.py:\d+/u;

/** Why kernels were not fused, each with the lines that it names. */
function notesPanel(app) {
  const element = made("div", "prose");
  const list = made("ul", "notes");
  for (const note of app.doc.notes) {
    const item = made("li");
    for (const part of note.split(/([\w.-]+\.py:\d+)/u)) {
      const source = PLACE.test(part) ? app.index.sourceByName.get(part) : undefined;
      item.append(source === undefined ? part : sourceButton(app, source));
    }
    list.append(item);
  }
  element.append(list);
  return { element };
}

/** Return a button that selects a source line. */
function sourceButton(app, source) {
  const button = made("button", "link", app.doc.source[source]);
  button.type = "button";
  button.addEventListener("click", () => app.select(selectionOfSource(app, source)));
  button.addEventListener("pointerenter", () => app.preview(selectionOfSource(app, source)));
  button.addEventListener("pointerleave", () => app.preview(null));
  return button;
}
