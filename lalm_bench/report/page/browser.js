"use strict";

/* The list of samples: filters over compact columns, a search over everything, a virtual list. */
LB.browser = (() => {
  const $ = (id) => document.getElementById(id);
  const el = LB.el;
  const OUTCOMES = ["right", "wrong", "invalid", "error", "unscored"];
  const MARKS = ["✓", "✗", "∅", "!", "·"];
  const CHANGES = [[2, "right → wrong"], [4, "wrong → right"], [8, "label → none"], [1, "another answer"]];
  const HEIGHT = 58;
  const MARGIN = 8;

  let index = null;
  let key = null; // of the run that is shown
  let data = null; // its columns
  let shown = []; // rows that pass the filters, in order
  let at = -1; // place in `shown` of the sample that is open
  let hits = null; // rows that the search has found, or null
  let searching = 0;
  const texts = new Map(); // run -> lower-case text of every row
  const wanted = fresh();

  function fresh() {
    return { outcomes: new Set(), change: 0, disagree: false, heard: false, attended: false, groups: {}, sort: "order" };
  }

  function start(found) {
    index = { ...found, runs: found.listed || found.runs };
    $("run").append(...index.runs.map((r) => el("option", { value: r.key }, `${r.name} (${r.n})`)));
    $("run").addEventListener("change", () => { LB.go(`#samples/${$("run").value}`); });
    $("more").addEventListener("click", filters);
    let timer = 0;
    $("search").addEventListener("input", () => {
      clearTimeout(timer);
      timer = setTimeout(() => search_now().catch(LB.fail), 150);
    });
    $("list").addEventListener("scroll", draw, { passive: true });
    new ResizeObserver(draw).observe($("list"));
    $("list").addEventListener("click", (event) => {
      const row = event.target.closest("[role=option]");
      if (row) go(Number(row.dataset.place), true);
    });
    $("list").addEventListener("keydown", (event) => {
      const place = { Home: 0, End: shown.length - 1, PageDown: at + 10, PageUp: at - 10 }[event.key];
      if (place !== undefined && shown.length) {
        event.preventDefault();
        go(Math.max(0, Math.min(shown.length - 1, place)), false);
      } else if (event.key === "Enter" && at >= 0) {
        go(at, true);
      }
    });
  }

  async function open(run, row) {
    if (!index.runs.length) {
      LB.sample.none();
      return;
    }
    const chosen = run || key || index.runs[0].key;
    if (chosen !== key) {
      const columns = await LB.load(chosen);
      const id = row === null && data && at >= 0 ? idOf(shown[at]) : null;
      key = chosen;
      data = columns;
      $("run").value = key;
      Object.assign(wanted, fresh(), { outcomes: wanted.outcomes });
      hits = null;
      at = -1;
      controls();
      apply();
      if ($("search").value.trim()) search_now().catch(LB.fail);
      // Another condition of the item that was open.
      if (id !== null) row = find(id);
    }
    if (row !== null && row >= 0 && row < data.n) {
      if (!shown.includes(row)) clear();
      at = shown.indexOf(row);
      await read();
    } else if (at < 0 && shown.length && !narrow()) {
      at = 0;
      await read();
    } else if (at < 0) {
      document.body.classList.remove("reading");
      if (!shown.length) LB.sample.none();
    }
    draw();
  }

  const narrow = () => window.matchMedia("(max-width: 799px)").matches;
  const idOf = (row) => `${data.id[row]}\u0000${data.variant ? data.variant[row] : ""}`;

  function find(id) {
    for (let row = 0; row < data.n; row++) if (idOf(row) === id) return row;
    return null;
  }

  const word = (column, row) => (column.at[row] < 0 ? null : column.words[column.at[row]]);

  /* ---- filters ---- */

  function counted(test) {
    let n = 0;
    for (let row = 0; row < data.n; row++) n += test(row) ? 1 : 0;
    return n;
  }

  function chip(text, count, pressed, press) {
    return el("button", { type: "button", class: "chip", "aria-pressed": pressed, onclick: press },
      text, " ", el("span", { class: "n" }, String(count)));
  }

  function controls() {
    const chips = OUTCOMES.map((name, status) => [name, counted((r) => data.status[r] === status), status])
      .filter(([, n]) => n)
      .map(([name, n, status]) => {
        const pressed = wanted.outcomes.has(status);
        const node = chip(`${MARKS[status]} ${name}`, n, pressed, () => {
          if (!wanted.outcomes.delete(status)) wanted.outcomes.add(status);
          changed();
        });
        node.classList.add(name);
        return node;
      });
    if (data.change) {
      for (const [flag, name] of CHANGES) {
        const n = counted((r) => data.change[r] & flag);
        if (n) {
          chips.push(chip(name, n, wanted.change === flag, () => {
            wanted.change = wanted.change === flag ? 0 : flag;
            changed();
          }));
        }
      }
    }
    $("outcomes").replaceChildren(...chips);
    const boxes = [];
    const box = (name, text, n) => el("label", {},
      el("input", { type: "checkbox", checked: wanted[name], onchange: (e) => { wanted[name] = e.target.checked; changed(); } }),
      ` ${text} (${n})`);
    if (data.disagree) boxes.push(box("disagree", "judges disagree", counted((r) => data.disagree[r] === 1)));
    if (data.clips.length) boxes.push(box("heard", "clip as it was heard", data.clips.length));
    if (data.attended.length) boxes.push(box("attended", "attention captured", data.attended.length));
    for (const [name, column] of Object.entries(data.groups)) {
      const counts = column.words.map(() => 0);
      column.at.forEach((place) => { if (place >= 0) counts[place] += 1; });
      const order = column.words.map((_, i) => i).sort((a, b) => column.words[a].localeCompare(column.words[b], "en", { numeric: true }));
      const options = order.map((i) => el("option", { value: i, selected: wanted.groups[name] === i }, `${column.words[i]} (${counts[i]})`));
      boxes.push(el("label", {}, el("span", {}, name), " ",
        el("select", { "data-group": name, onchange: (e) => {
          if (e.target.value === "") delete wanted.groups[name];
          else wanted.groups[name] = Number(e.target.value);
          changed();
        } }, el("option", { value: "" }, "all"), options)));
    }
    const sorts = [["order", "the task's order"], ["id", "id"], ["wrong", "wrong first"],
      ...(data.value ? [["low", `${data.value_name}, lowest first`], ["high", `${data.value_name}, highest first`]] : [])];
    boxes.push(el("label", {}, el("span", {}, "sort by"), " ",
      el("select", { id: "sort", onchange: (e) => { wanted.sort = e.target.value; changed(); } },
        sorts.map(([value, text]) => el("option", { value, selected: wanted.sort === value }, text)))));
    boxes.push(el("button", { type: "button", id: "clear", onclick: () => { clear(); changed(); } }, "Clear"));
    $("filters").replaceChildren(...boxes);
    const active = wanted.disagree + wanted.heard + wanted.attended + Object.keys(wanted.groups).length;
    $("more").textContent = active ? `Filters (${active})` : "Filters";
  }

  function clear() {
    Object.assign(wanted, fresh());
    $("search").value = "";
    hits = null;
    controls();
    apply();
  }

  function changed() {
    const focused = document.activeElement;
    const name = focused && (focused.id || focused.dataset.group || focused.textContent.replace(/\d+$/, ""));
    controls();
    // The controls are new: the focus goes to the one that had it.
    if (focused && !document.contains(focused)) {
      const again = [...document.querySelectorAll("#outcomes button, #filters select, #filters input, #filters button")]
        .find((n) => (n.id || n.dataset.group || n.textContent.replace(/\d+$/, "")) === name);
      if (again) again.focus();
    }
    const open = at >= 0 ? shown[at] : -1;
    apply();
    at = shown.indexOf(open);
    if (at < 0 && shown.length && !narrow()) {
      at = 0;
      read().catch(LB.fail);
    } else if (!shown.length) {
      LB.sample.none();
    }
    $("list").scrollTop = Math.max(0, (at - 2) * HEIGHT);
    draw();
  }

  function apply() {
    const groups = Object.entries(wanted.groups).map(([name, value]) => [data.groups[name].at, value]);
    const only = [wanted.heard && data.clips, wanted.attended && data.attended].filter(Boolean).map((rows) => new Set(rows));
    shown = [];
    for (let row = 0; row < data.n; row++) {
      if (wanted.outcomes.size && !wanted.outcomes.has(data.status[row])) continue;
      if (wanted.change && !(data.change[row] & wanted.change)) continue;
      if (wanted.disagree && data.disagree[row] !== 1) continue;
      if (only.some((rows) => !rows.has(row))) continue;
      if (hits && !hits.has(row)) continue;
      if (groups.every(([column, value]) => column[row] === value)) shown.push(row);
    }
    const by = {
      id: (a, b) => data.id[a].localeCompare(data.id[b], "en", { numeric: true }),
      wrong: (a, b) => rank(a) - rank(b) || a - b,
      low: (a, b) => value(a, Infinity) - value(b, Infinity) || a - b,
      high: (a, b) => value(b, -Infinity) - value(a, -Infinity) || a - b,
    }[wanted.sort];
    if (by) shown.sort(by);
    const more = searching ? ", searching…" : "";
    $("count").textContent = `${shown.length} of ${data.n} samples${more}`;
    $("rows").style.height = `${shown.length * HEIGHT}px`;
  }

  const rank = (row) => [3, 0, 1, 2, 4][data.status[row]];
  const value = (row, none) => (data.value[row] === null ? none : data.value[row]);

  /* ---- search ---- */

  async function search_now() {
    const words = $("search").value.toLowerCase().split(/\s+/).filter(Boolean);
    const run = key;
    const open = at >= 0 ? shown[at] : -1;
    const settle = async () => {
      searching = 0;
      apply();
      at = shown.indexOf(open);
      $("list").scrollTop = words.length ? 0 : Math.max(0, (at - 2) * HEIGHT);
      if (!shown.length) {
        LB.sample.none();
      } else if (at < 0 && !narrow()) {
        at = 0;
        await read();
      }
      draw();
    };
    if (!words.length) {
      hits = null;
      await settle();
      return;
    }
    const turn = ++searching;
    if (!texts.has(run)) {
      const found = [];
      for (let number = 0; number * data.chunk < data.n; number++) {
        const records = await LB.load(`${run}-${number}`);
        if (turn !== searching || run !== key) return;
        for (const record of records) found.push(said(record));
      }
      texts.set(run, found);
    }
    const all = texts.get(run);
    hits = new Set();
    for (let row = 0; row < data.n; row++) {
      const text = `${data.id[row].toLowerCase()} ${all[row]}`;
      if (words.every((w) => text.includes(w))) hits.add(row);
    }
    await settle();
  }

  function said(record) {
    const parts = [record.question, record.text, record.label, record.reasoning, record.error, record.stage];
    parts.push(...Object.values(record.options || {}), ...Object.values(record.steps || {}));
    if (typeof record.target === "string") parts.push(record.target);
    for (const rubric of record.judges || []) parts.push(...rubric.judges.map((j) => j.text));
    for (const turn of record.prompt || []) if (turn.role !== "user") parts.push(...turn.parts.map((p) => p.text));
    for (const clip of record.clips || []) parts.push(clip.file.name, ...(clip.events || []).map((e) => e.text));
    for (const fact of Object.values(record.facts || {})) if (typeof fact === "string") parts.push(fact);
    return parts.filter(Boolean).join(" ").toLowerCase();
  }

  /* ---- the list ---- */

  function draw() {
    if (!data) return;
    LB.sample.placed(at, shown.length);
    const list = $("list");
    const first = Math.max(0, Math.floor(list.scrollTop / HEIGHT) - MARGIN);
    const last = Math.min(shown.length, Math.ceil((list.scrollTop + list.clientHeight) / HEIGHT) + MARGIN);
    const nodes = [];
    for (let place = first; place < last; place++) nodes.push(line(place));
    $("rows").replaceChildren(...nodes);
    if (at >= first && at < last) list.setAttribute("aria-activedescendant", `row-${at}`);
    else list.removeAttribute("aria-activedescendant");
  }

  function line(place) {
    const row = shown[place];
    const outcome = OUTCOMES[data.status[row]];
    const given = word(data.given, row);
    const target = word(data.target, row);
    const flips = data.change ? CHANGES.filter(([flag]) => data.change[row] & flag).map(([, name]) => name) : [];
    const says = data.status[row] === 3 ? "no answer" : `${given ?? "–"}${data.status[row] !== 0 && target !== null ? ` (${target})` : ""}`;
    const node = el("div", { role: "option", id: `row-${place}`, class: `row ${outcome}`, "aria-selected": place === at,
      "aria-posinset": place + 1, "aria-setsize": shown.length, "data-place": place },
      el("span", { class: "mark", role: "img", "aria-label": outcome }, MARKS[data.status[row]]),
      el("span", { class: "asked" }, word(data.question, row) ?? data.id[row]),
      el("span", { class: "says" }, says),
      el("span", { class: "id" }, data.id[row], data.variant && data.variant[row] ? ` · ${data.variant[row]}` : ""),
      el("span", { class: "flip" }, data.value && data.value[row] !== null ? LB.plain(data.value[row]) : flips[0] ?? ""));
    node.style.top = `${place * HEIGHT}px`;
    return node;
  }

  function scroll() {
    const list = $("list");
    const top = at * HEIGHT;
    if (top < list.scrollTop) list.scrollTop = top;
    else if (top + HEIGHT > list.scrollTop + list.clientHeight) list.scrollTop = top + HEIGHT - list.clientHeight;
  }

  /* ---- one sample ---- */

  function go(place, enter) {
    at = place;
    history.replaceState(null, "", `#samples/${key}/${shown[at]}`);
    scroll();
    draw();
    read(enter).catch(LB.fail);
  }

  async function read(enter = true) {
    const row = shown[at];
    const run = key;
    const records = await LB.load(`${run}-${Math.floor(row / data.chunk)}`);
    if (run !== key || shown[at] !== row) return; // somebody was faster
    const others = index.runs.filter((r) => r.task === index.runs.find((x) => x.key === run).task);
    LB.sample.show(records[row % data.chunk], {
      id: data.id[row],
      variant: data.variant ? data.variant[row] : "",
      outcome: OUTCOMES[data.status[row]],
      mark: MARKS[data.status[row]],
      disagree: data.disagree && data.disagree[row] === 1,
      place: at,
      total: shown.length,
      run: index.runs.find((r) => r.key === run),
      others,
    });
    if (enter && narrow()) {
      document.body.classList.add("reading");
      window.scrollTo(0, 0);
      $("sample").focus({ preventScroll: true });
    }
    if (!narrow()) scroll();
    history.replaceState(null, "", `#samples/${run}/${row}`);
  }

  function step(by) {
    if (!shown.length) return;
    const place = at < 0 ? 0 : at + by;
    if (place >= 0 && place < shown.length) go(place, document.body.classList.contains("reading"));
  }

  function leave() {
    document.body.classList.remove("reading");
    LB.player.pause();
    $("list").focus();
    scroll();
    draw();
  }

  function filters() {
    const hidden = !$("filters").hidden;
    $("filters").hidden = hidden;
    $("more").setAttribute("aria-expanded", String(!hidden));
    if (!hidden) $("filters").querySelector("select, input, button")?.focus();
    draw();
  }

  function wrongOnly() {
    const only = wanted.outcomes.size === 2 && wanted.outcomes.has(1) && wanted.outcomes.has(2);
    wanted.outcomes = only ? new Set() : new Set([1, 2]);
    changed();
  }

  function search() {
    document.body.classList.remove("reading");
    $("search").focus();
    $("search").select();
  }

  return { start, open, step, leave, filters, wrongOnly, search };
})();
