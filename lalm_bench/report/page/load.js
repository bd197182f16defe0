"use strict";

/* Data comes as scripts that call LB.put, because a page opened from disk can load nothing else.
   Where the report is one file, data and files are blocks in it. */
const LB = (() => {
  const held = new Map();
  const asked = new Map();

  const alone = "alone" in document.documentElement.dataset;
  // MLflow's frame: nothing can be downloaded from it.
  const framed = location.protocol === "blob:";

  const put = (name, value) => held.set(name, value);
  const block = (id) => document.getElementById(id)?.textContent ?? null;

  /* Where a file of the report is; null where it is not in the one file. */
  const url = (path) => (alone && path ? block(`file:${path}`) : path);

  function load(name) {
    if (!asked.has(name)) {
      const inside = block(`data:${name}`);
      asked.set(name, inside !== null ? Promise.resolve(JSON.parse(inside)) : new Promise((resolve, reject) => {
        const script = document.createElement("script");
        script.src = `data/${name}.js`;
        script.onload = () => resolve(held.get(name));
        script.onerror = () => {
          asked.delete(name);
          reject(new Error(`data/${name}.js is missing: copy the whole folder of the report`));
        };
        document.head.append(script);
      }));
    }
    return asked.get(name);
  }

  /* An element. Texts of models and data sets enter the page through text nodes alone. */
  function el(tag, attributes = {}, ...children) {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (value === null || value === undefined) continue;
      if (name.startsWith("aria-")) node.setAttribute(name, String(value));
      else if (value === false) continue;
      else if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
      else if (name === "class") node.className = value;
      else node.setAttribute(name, value === true ? "" : String(value));
    }
    node.append(...children.flat(Infinity).filter((c) => c !== null && c !== undefined && c !== false));
    return node;
  }

  /* A link to a file that can be kept. */
  function link(path, text) {
    const href = url(path);
    return href && !framed ? el("a", { href, download: alone ? path.split("/").pop() : null }, text) : null;
  }

  const number = (value) => {
    if (typeof value !== "number") return String(value);
    if (Number.isInteger(value)) return String(value);
    return Math.abs(value) >= 0.001 ? String(Number(value.toFixed(4))) : value.toExponential(2);
  };

  const plain = (value) => {
    if (value === null || value === undefined) return "–";
    if (typeof value === "number") return number(value);
    return typeof value === "string" ? value : JSON.stringify(value);
  };

  return { put, load, el, plain, alone, url, link };
})();
