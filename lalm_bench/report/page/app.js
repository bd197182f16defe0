"use strict";

/* Which view is open, and the keyboard. The address (#samples/<run>/<row>) can be bookmarked. */
(() => {
  const $ = (id) => document.getElementById(id);
  const views = ["overview", "samples"];
  let index = null;

  /* Not by location.hash, which the frame that MLflow shows a file in does not let change. */
  function go(place) {
    history.pushState(null, "", place);
    route().catch(fail);
  }

  function fail(error) {
    $("fault").textContent = error.message || String(error);
    $("fault").hidden = false;
  }

  async function route() {
    const [view, run, row] = location.hash.slice(1).split("/").map(decodeURIComponent);
    const shown = views.includes(view) ? view : "overview";
    for (const name of views) {
      $(name).hidden = name !== shown;
      const link = $(`to-${name}`);
      if (name === shown) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
    document.body.dataset.view = shown;
    if (shown === "samples") {
      const known = (index.listed || index.runs).some((r) => r.key === run);
      await LB.browser.open(known ? run : null, row === undefined ? null : Number(row));
    } else {
      LB.player.pause();
    }
  }

  const typing = (target) =>
    target.closest("textarea, select, input:not([type=checkbox]):not([type=radio])");

  function key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || $("help").open) return;
    const target = event.target instanceof Element ? event.target : document.body;
    if (event.key === "Escape") {
      if (typing(target)) target.blur();
      else if (document.body.classList.contains("reading")) LB.browser.leave();
      return;
    }
    if (typing(target)) {
      if (event.key === "Enter" && target === $("search")) $("list").focus();
      return;
    }
    const inSamples = !$("samples").hidden;
    const pressable = target.closest("button, a, audio, summary, [role=slider]");
    const act = {
      "?": () => $("help").showModal(),
      o: () => go("#overview"),
      s: () => go("#samples"),
      "/": () => { if (!inSamples) go("#samples"); $("samples").hidden = false; LB.browser.search(); },
      ...(inSamples && {
        j: () => LB.browser.step(1),
        k: () => LB.browser.step(-1),
        ...(!target.closest("[role=slider], audio") && {
          ArrowDown: () => LB.browser.step(1),
          ArrowUp: () => LB.browser.step(-1),
        }),
        h: () => LB.player.swap(),
        f: () => LB.browser.filters(),
        w: () => LB.browser.wrongOnly(),
        ...(!pressable && { " ": () => LB.player.toggle() }),
      }),
    }[event.key];
    if (act) {
      event.preventDefault();
      act();
    }
  }

  async function start() {
    try {
      index = await LB.load("index");
      if (!index) throw new Error("data/index.js says nothing: make the report again");
      document.title = index.title;
      $("title").textContent = index.title;
      LB.overview.show($("overview"), index);
      LB.browser.start(index);
      await route();
      document.body.dataset.ready = "yes";
    } catch (error) {
      fail(error);
    }
  }

  $("to-help").addEventListener("click", () => $("help").showModal());
  document.addEventListener("keydown", key);
  document.addEventListener("click", (event) => {
    const link = event.target instanceof Element && event.target.closest("a[href^='#']:not(.skip)");
    if (link && !event.ctrlKey && !event.metaKey && !event.shiftKey) {
      event.preventDefault();
      go(link.getAttribute("href"));
    }
  });
  window.addEventListener("popstate", () => route().catch(fail));
  LB.fail = fail;
  LB.go = go;
  start();
})();
