"use strict";

/* Everything about one sample. */
LB.sample = (() => {
  const el = LB.el;
  const plain = LB.plain;
  const place = () => document.getElementById("sample");

  function show(record, about) {
    LB.player.forget();
    const clips = record.clips || [];
    place().replaceChildren(
      heading(about),
      record.error ? el("section", {}, el("h3", {}, "No answer"), el("p", { class: "said fault" }, record.error)) : "",
      ...clips.map((clip, number) => LB.player.make(clip, number, clips.length)),
      record.error ? "" : asked(record),
      record.error ? "" : answered(record),
      before(record),
      judged(record, about),
      attention(record),
      prompt(record),
      facts(record, about),
    );
    place().scrollTop = 0;
    placed(about.place, about.total);
  }

  /* Where the sample that is open stands among those that pass the filters. */
  function placed(at, total) {
    const steps = place().querySelector(".steps");
    if (!steps || at < 0) return;
    const [previous, where, next] = steps.children;
    where.textContent = `${at + 1} of ${total}`;
    previous.disabled = at === 0;
    next.disabled = at + 1 >= total;
  }

  function none() {
    LB.player.forget();
    place().replaceChildren(el("p", { class: "note" }, "No sample passes the filters."));
  }

  function heading(about) {
    const others = about.others.length > 1 ? el("label", { class: "also" }, el("span", {}, "the same item in"), " ",
      el("select", { onchange: (e) => { document.getElementById("run").value = e.target.value; LB.go(`#samples/${e.target.value}`); } },
        about.others.map((r) => el("option", { value: r.key, selected: r.key === about.run.key }, r.name)))) : null;
    return el("header", {},
      el("button", { type: "button", class: "back", onclick: () => LB.browser.leave() }, "← List"),
      el("h2", {}, el("span", { class: `badge ${about.outcome}` }, `${about.mark} ${about.outcome}`), " ",
        about.id, about.variant ? el("small", {}, ` ${about.variant}`) : null),
      el("div", { class: "steps" },
        el("button", { type: "button", "aria-label": "previous sample", onclick: () => LB.browser.step(-1) }, "↑"),
        el("span", {}),
        el("button", { type: "button", "aria-label": "next sample", onclick: () => LB.browser.step(1) }, "↓")),
      others);
  }

  const same = (a, b) => a !== null && a !== undefined && String(a) === String(b);

  function asked(record) {
    const options = Object.entries(record.options || {});
    return el("section", {}, el("h3", {}, "Question"), el("p", { class: "said" }, record.question || "–"),
      options.length ? el("ol", { class: "options" }, options.map(([label, text]) => {
        const right = same(record.target, label);
        const given = same(record.label, label);
        const tags = [right && "right", given && "given", record.before && same(record.before.label, label) && "baseline's"].filter(Boolean);
        return el("li", { class: `${right ? "right" : ""} ${given ? "given" : ""}` }, el("b", {}, label), el("span", {}, text),
          tags.map((tag) => el("em", {}, tag)));
      })) : record.target !== undefined ? el("p", { class: "target" }, el("b", {}, "True: "), plain(record.target)) : null);
  }

  function answered(record) {
    const how = [record.stage && `read as: ${record.stage}`, record.finish === "length" && "cut at the token limit",
      record.conflict && "label and option text disagree"].filter(Boolean).join(" · ");
    return el("section", {}, el("h3", {}, "Answer"),
      record.reasoning ? el("details", { open: true }, el("summary", {}, "Reasoning"), el("p", { class: "said" }, plain(record.reasoning))) : null,
      Object.entries(record.steps || {}).map(([step, text]) => el("details", {}, el("summary", {}, `Step: ${step}`), el("p", { class: "said" }, plain(text)))),
      el("p", { class: "said answer" }, record.text === undefined ? "(empty)" : plain(record.text)),
      record.label !== undefined && !(record.options && record.label in record.options) ? el("p", {}, el("b", {}, "Read as: "), plain(record.label)) : null,
      how ? el("p", { class: "note" }, how) : null,
      record.scores ? table("Scores", record.scores) : null);
  }

  function before(record) {
    if (!record.before) return "";
    const { label, right, text } = record.before;
    const outcome = right === null ? "" : right ? ", right" : ", wrong";
    return el("section", {}, el("h3", {}, "Baseline"),
      el("p", {}, text === undefined ? `the same answer${outcome}` : `${label === null ? "no label" : label}${outcome}`),
      text !== undefined && text !== label ? el("p", { class: "said answer" }, text || "(empty)") : null);
  }

  function judged(record, about) {
    if (!record.judges) return "";
    return el("section", {}, el("h3", {}, "Judges", about.disagree ? el("em", { class: "tag" }, "disagree") : null),
      record.judges.map((rubric) => {
        const fields = Object.keys(rubric.panel);
        return [el("div", { class: "scroll" }, el("table", {},
          el("thead", {}, el("tr", {}, el("th", { scope: "col" }, rubric.rubric), fields.map((f) => el("th", { scope: "col", class: "num" }, f)))),
          el("tbody", {}, [...rubric.judges.map((j) => [j.judge, j.values]), ...(rubric.judges.length > 1 ? [["panel", rubric.panel]] : [])].map(([name, values]) =>
            el("tr", {}, el("th", { scope: "row" }, name), fields.map((f) => el("td", { class: "num" }, plain(values[f])))))))),
          rubric.judges.map((j) => el("details", {}, el("summary", {}, `${j.judge} says${j.malformed ? ": not in the form asked for" : ""}`), el("p", { class: "said" }, j.text || "(nothing)")))];
      }));
  }

  function attention(record) {
    if (!record.attention) return "";
    const { figure, layers, share, uniform } = record.attention;
    const most = share.indexOf(Math.max(...share));
    const mean = (numbers) => numbers.reduce((a, b) => a + b, 0) / numbers.length;
    return el("details", { class: "section" }, el("summary", {}, "Attention"),
      el("p", { class: "note" }, `Of the attention of the prompt's last token, audio gets ${plain(mean(share))} in the mean over layers (if all tokens got alike: ${plain(mean(uniform))}), `
        + `most in layer ${layers[most]}: ${plain(share[most])}.`),
      figure && LB.url(figure.png) ? el("figure", {}, el("img", { class: "wide", src: LB.url(figure.png), alt: "attention by layer and time, and its share on audio", loading: "lazy" }),
        el("figcaption", { class: "note" }, LB.link(figure.png, "PNG"), " ", LB.link(figure.svg, "SVG"))) : table("Share on audio by layer", Object.fromEntries(layers.map((l, i) => [`layer ${l}`, share[i]]))));
  }

  function prompt(record) {
    if (!record.prompt) return "";
    return el("details", { class: "section" }, el("summary", {}, record.steps ? "Prompt of the first step" : "Prompt as it was asked"),
      record.prompt.map((turn) => el("div", { class: "turn" }, el("b", {}, turn.role),
        turn.parts.map((part) => part.text === undefined ? el("p", { class: "clip" }, `♪ ${part.audio}`) : el("p", { class: "said" }, part.text)))));
  }

  function table(title, values) {
    const rows = Object.entries(values || {});
    if (!rows.length) return "";
    return el("div", { class: "facts" }, el("h4", {}, title),
      el("dl", {}, rows.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, plain(value))))));
  }

  function facts(record, about) {
    return el("details", { class: "section", open: true }, el("summary", {}, "Facts and timings"),
      table("Item", { ...(record.cluster ? { cluster: record.cluster } : {}), ...record.facts }),
      table("Seconds", record.timing), table("Usage", record.usage),
      table("Run", { fingerprint: about.run.fingerprint, model: about.run.model, condition: about.run.condition }));
  }

  return { show, none, placed };
})();
