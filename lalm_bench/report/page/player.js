"use strict";

/* A clip as it was heard and as it was, over its spectrogram, with what lies where in it. */
LB.player = (() => {
  const el = LB.el;
  const NAMES = { masked: "masked", spoken: "spoken into it", event: "annotated", speech: "speech", true: "true", predicted: "predicted" };
  const ON_EDITED = new Set(["masked", "spoken"]);
  let current = null; // the player that keys talk to
  let frame = 0;

  function make(clip, number, total) {
    const state = { heard: Boolean(clip.heard), clip };
    const two = clip.heard && clip.original && clip.heard.src !== clip.original.src;
    const audio = el("audio", { controls: true, preload: "metadata", "aria-label": total > 1 ? `clip ${number + 1}` : "clip" });
    const head = el("div", { class: "head" });
    const picture = el("div", { class: "picture" });
    const lanes = el("div", { class: "lanes" });
    const note = el("p", { class: "note" });
    const node = el("section", { class: "player", "aria-label": total > 1 ? `Clip ${number + 1} of ${total}` : "Clip" },
      total > 1 ? el("h3", {}, `Clip ${number + 1}: ${clip.file.name}`) : null, head, picture, lanes, audio, note);
    Object.assign(state, { audio, picture, lanes, node });

    const part = () => (clip.heard ? (state.heard ? clip.heard : clip.original) : null);
    const offset = () => (part() ? 0 : clip.file.start || 0);
    const seconds = () => {
      if (part()) return part().seconds;
      const end = clip.file.end ?? audio.duration;
      return Number.isFinite(end) ? end - offset() : 0;
    };

    function source() {
      if (part()) return LB.url(part().src);
      if (!clip.file.src || LB.alone) return null;
      const { start, end } = clip.file;
      return clip.file.src + (start || end ? `#t=${start || 0}${end ? `,${end}` : ""}` : "");
    }

    function show() {
      head.replaceChildren(...(two ? [["As heard", true], ["Original", false]].map(([name, heard]) =>
        el("button", { type: "button", "aria-pressed": state.heard === heard, onclick: () => turn(heard) }, name)) : []),
        el("span", { class: "what" }, describe()));
      const now = part();
      const edited = state.heard && two;
      const marks = [...(clip.marks || []).filter((m) => edited && ON_EDITED.has(m.kind)),
        ...(clip.events || []).filter(() => !(edited && clip.moved))];
      picture.hidden = !now;
      if (now) {
        const image = el("img", { src: LB.url(now.picture), alt: `spectrogram, ${edited ? "as heard" : "original"}, ${now.seconds.toFixed(1)} s` });
        const head = el("i", { class: "playhead" });
        const slider = el("div", { class: "axis", role: "slider", tabindex: 0, "aria-label": "position in the clip", "aria-valuemin": 0,
          "aria-valuemax": now.seconds.toFixed(2), "aria-valuenow": 0 }, image,
          state.heard && clip.attention ? el("img", { class: "attention", src: LB.url(clip.attention), alt: "attention of the last token of the prompt, layers over time" }) : null,
          marks.filter((m) => ON_EDITED.has(m.kind)).map((m) => stretch(m, "over")), head);
        slider.addEventListener("click", (event) => {
          const box = slider.getBoundingClientRect();
          seek(((event.clientX - box.left) / box.width) * now.seconds);
        });
        slider.addEventListener("keydown", (event) => {
          const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
          if (by) {
            event.preventDefault();
            seek(audio.currentTime + by * Math.max(0.1, now.seconds / 50));
          }
        });
        picture.replaceChildren(...[slider, el("div", { class: "scale" }, el("span", {}, "0 s"), el("span", {}, `0 – ${clip.rate / 2000} kHz, mel`), el("span", {}, `${now.seconds.toFixed(2)} s`)),
          state.heard && clip.attention ? el("p", { class: "scale" }, el("span", {}, "below: attention of the prompt's last token, last layer on top"),
            el("span", {}, "times uniform: ≤ 0.1 ", el("i", { class: "shades" }), " ≥ 10")) : null].filter(Boolean));
      }
      const kinds = Object.keys(NAMES).filter((kind) => marks.some((m) => m.kind === kind));
      lanes.replaceChildren(...(seconds() > 0 ? kinds : []).map((kind) => el("div", { class: "lane", role: "img", "aria-label":
        `${NAMES[kind]}: ${marks.filter((m) => m.kind === kind).map((m) => `${m.text || ""} ${m.start.toFixed(2)} to ${m.end.toFixed(2)} s`).join("; ")}` },
        el("span", { class: "name" }, NAMES[kind]),
        el("div", { class: "track" }, marks.filter((m) => m.kind === kind).map((m) => stretch(m, "", m.text))))));
      note.textContent = remark(edited);
      note.hidden = !note.textContent;
      place();
    }

    function describe() {
      if (clip.unheard) return "the model got no audio; this is the clip that it was asked about";
      if (clip.file.whole) return "the recording as a whole";
      if (clip.heard) return two ? (clip.edits || []).join(", ") : clip.edits ? `${clip.edits.join(", ")}: not a sample differs` : "as heard: nothing was changed";
      return clip.edits ? "original (this sample was not rendered as heard)" : "original";
    }

    function remark(edited) {
      if (LB.alone && !source()) return `${clip.file.name}: this clip is not in this file; index.html of the report's folder plays it`;
      if (!clip.heard && !clip.file.src) return `${clip.file.name}: this clip is not in the report; --clips all renders every one`;
      if (edited && clip.moved && (clip.events || []).length) return "Annotations are marked on the original; they do not hold for what was heard.";
      return "";
    }

    function stretch(m, kind, text = "") {
      const title = `${NAMES[m.kind]}${m.text ? `: ${m.text}` : ""}, ${m.start.toFixed(2)}–${m.end.toFixed(2)} s`;
      const node = el("span", { class: `stretch ${m.kind} ${kind}`, title }, text || "");
      const whole = seconds();
      node.style.left = `${(100 * m.start) / whole}%`;
      node.style.width = `${Math.max(0.15, (100 * (Math.min(m.end, whole) - m.start)) / whole)}%`;
      return node;
    }

    function seek(to) {
      audio.currentTime = Math.max(0, Math.min(seconds(), to)) + offset();
      current = state;
      place();
    }

    function place() {
      const head = picture.querySelector(".playhead");
      if (!head) return;
      const share = seconds() ? (audio.currentTime - offset()) / seconds() : 0;
      head.style.left = `${100 * Math.max(0, Math.min(1, share))}%`;
      picture.querySelector("[role=slider]").setAttribute("aria-valuenow", (audio.currentTime - offset()).toFixed(2));
    }

    function turn(heard) {
      if (!two || state.heard === heard) return;
      const { currentTime, paused } = audio;
      const focused = head.contains(document.activeElement);
      state.heard = heard;
      audio.src = source();
      audio.addEventListener("loadedmetadata", () => {
        audio.currentTime = Math.min(currentTime, audio.duration);
        if (!paused) audio.play().catch(() => {});
        place();
      }, { once: true });
      show();
      if (focused) head.querySelector("[aria-pressed=true]").focus();
    }

    const follow = () => {
      place();
      frame = audio.paused ? 0 : requestAnimationFrame(follow);
    };
    audio.addEventListener("play", () => {
      document.querySelectorAll("audio").forEach((other) => { if (other !== audio) other.pause(); });
      current = state;
      cancelAnimationFrame(frame);
      follow();
    });
    audio.addEventListener("seeked", place);
    audio.addEventListener("loadedmetadata", () => { if (!part()) show(); });
    audio.addEventListener("error", () => {
      note.textContent = part() ? "This clip cannot be played here." : `${clip.file.name} cannot be played: it is not where it was, or of a format this browser does not know.`;
      note.hidden = false;
    });
    const from = source();
    if (from) audio.src = from;
    audio.hidden = !from;
    state.swap = () => turn(!state.heard);
    show();
    if (number === 0) current = state;
    return node;
  }

  function toggle() {
    if (!current || current.audio.hidden) return;
    if (current.audio.paused) current.audio.play().catch(() => {});
    else current.audio.pause();
  }

  const pause = () => document.querySelectorAll("audio").forEach((audio) => audio.pause());
  const swap = () => current && current.swap();
  const forget = () => { pause(); current = null; };

  return { make, toggle, pause, swap, forget };
})();
