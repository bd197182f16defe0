"use strict";

/* Tables and figures of all runs. */
LB.overview = (() => {
  const el = LB.el;
  let listed = new Set(); // runs whose samples are here

  function show(place, index) {
    listed = new Set((index.listed || index.runs).map((run) => run.key));
    const sections = index.sections || [];
    place.replaceChildren(
      el("p", { class: "note" }, `Made ${index.made.slice(0, 16).replace("T", " ")} UTC · ${index.runs.length} run${index.runs.length === 1 ? "" : "s"}`),
      index.notes.length ? el("details", { class: "notes", open: index.notes.length < 4 }, el("summary", {}, `${index.notes.length} note${index.notes.length === 1 ? "" : "s"}`),
        el("ul", {}, index.notes.map((note) => el("li", {}, note)))) : "",
      ...sections.map((section) => part(section)));
  }

  function part(section) {
    const content = [
      section.note ? el("p", { class: "note" }, section.note) : null,
      (section.tables || []).map(table),
      (section.figures || []).length ? el("div", { class: "figures" }, section.figures.map(figure)) : null,
    ];
    return section.fold
      ? el("details", { class: "part" }, el("summary", {}, el("h2", {}, section.title)), content)
      : el("section", { class: "part" }, el("h2", {}, section.title), content);
  }

  function table(t) {
    const cell = (text, column, row) => {
      const numeric = t.numeric[column] ? "num" : "";
      if (column) return el("td", { class: numeric }, text);
      const run = t.runs && listed.has(t.runs[row]) && t.runs[row];
      return el("th", { scope: "row" }, run ? el("a", { href: `#samples/${run}` }, text) : text);
    };
    return el("figure", { class: "table" },
      el("figcaption", {}, el("h3", {}, t.title), el("span", { class: "files" },
        Object.entries(t.files).map(([kind, path]) => LB.link(path, kind)))),
      el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": t.title }, el("table", {},
        el("thead", {}, el("tr", {}, t.columns.map((name, column) => el("th", { scope: "col", class: t.numeric[column] ? "num" : "" }, name.replace("95 %", "95\u00a0%"))))),
        el("tbody", {}, t.rows.map((row, number) => el("tr", {}, row.map((text, column) => cell(text, column, number))))))),
      t.note ? el("p", { class: "note" }, t.note) : null);
  }

  function figure(f) {
    const image = el("img", { src: LB.url(LB.alone ? f.png : f.svg), alt: f.title, loading: "lazy" });
    return el("figure", { class: f.broad ? "broad" : "" }, LB.alone ? image : el("a", { href: f.svg }, image),
      el("figcaption", {}, f.title, " ", LB.link(f.png, "PNG"), " ", LB.link(f.svg, "SVG")));
  }

  return { show };
})();
