// How an item looks: the pair, and its steps.
"use strict";

import { WORDS, data, make } from "./shared.js";

export function pairOf(item) {
  return [
    item.kind === "reference" ? make("p", { class: "quiet" }, "Read the pair and give your own conclusions.") : null,
    make("h2", { class: "query" }, make("span", { class: "quiet label" }, item.query_heading), data(item.query, "span", { id: "query" })),
    make("dl", { class: "product" }, ...item.fields.flatMap((field) => [
      make("dt", {}, field.heading), make("dd", {}, field.rows.length ? attributes(field) : folded(field.text, field.fold)),
    ])),
  ].filter(Boolean);
}

function attributes(field) {
  return make("table", { "aria-label": field.heading }, make("tbody", {}, ...field.rows.map(([name, value]) =>
    make("tr", {}, data(name, "th", { scope: "row" }), make("td", {}, folded(value, 300))))));
}

// Long text: what the model reads at first, all of it on request.
function folded(text, length) {
  if ([...text].length <= length) return data(text);
  const part = data(`${[...text].slice(0, length).join("")} …`);
  const more = make("button", { type: "button", class: "plain fold", "aria-expanded": "false", onclick: toggle },
    make("kbd", {}, "o"), " all");
  function toggle() {
    const open = more.getAttribute("aria-expanded") === "false";
    more.setAttribute("aria-expanded", String(open));
    part.textContent = open ? text : `${[...text].slice(0, length).join("")} …`;
    more.lastChild.textContent = open ? " less" : " all";
  }
  return make("span", {}, part, " ", more);
}

// The name of a grade beside its code.
function nameOf(shape, text) {
  const name = shape.options.find((option) => option.value === text.split(/[\s(,]/)[0])?.name;
  return name ? make("span", { class: "quiet" }, ` ${name}`) : null;
}

// What the GSRM would say of a step: folded until I look or have judged, so that it does not lead me.
function critiqueOf(step, said) {
  const text = make("span", {}, " ", data(step.critique), step.critique === step.text ? make("span", { class: "quiet" }, " (the same)") : null);
  const button = make("button", { type: "button", class: "plain peek", onclick: () => { step.peeked = text.hidden; unfold(); } }, make("kbd", {}, "e"), " GSRM");
  function unfold() {
    text.hidden = !(step.peeked ?? Boolean(said));
    button.setAttribute("aria-expanded", String(!text.hidden));
  }
  unfold();
  return make("p", { class: "given critique" }, button, text);
}

// One step: its text, what may be concluded, my verdict, and buttons for it. `act(name)` does what a key would.
export function stepOf(item, step, shape, place, said, act) {
  const missing = step.text === null;
  const judged = item.kind === "reference" || !missing;
  const verdicts = item.kind === "reference" ? ["correct", "unsure", "cannot_tell"] : Object.keys(WORDS);
  const names = { ...WORDS, ...(item.kind === "reference" ? { correct: "conclude" } : {}) };
  const buttons = verdicts.map((verdict, n) => make("button", {
    type: "button", "data-verdict": verdict, "aria-pressed": String(said?.verdict === verdict),
    onclick: () => act(place, verdict),
  }, make("kbd", {}, String(n + 1)), ` ${names[verdict]}`));
  return make("article", {
    class: "step", "data-step": step.key, "data-said": said?.verdict ?? "", "aria-label": shape.title,
    onclick: (event) => { if (!event.target.closest("button, textarea")) act(place, "here"); },
  },
  make("h3", {}, shape.title, step.asked ? null : make("span", { class: "quiet" }, " (not asked)")),
  make("p", { class: "quiet guide" }, shape.guide),
  item.kind === "reference" ? null
    : missing ? make("p", { class: "quiet missing" }, "missing in this response")
      : make("p", { class: "text" }, data(step.text), nameOf(shape, step.text)),
  step.critique === null ? null : critiqueOf(step, said),
  said?.conclusion ? make("p", { class: "given" }, make("span", { class: "quiet" }, item.kind === "reference" ? "yours: " : "right: "),
    data(said.conclusion)) : null,
  said?.note ? make("p", { class: "given" }, make("span", { class: "quiet" }, "note: "), data(said.note)) : null,
  judged ? make("div", { class: "verdicts", role: "group", "aria-label": `Verdict: ${shape.title}` }, ...buttons,
    make("button", { type: "button", class: "plain", onclick: () => act(place, "note") }, make("kbd", {}, "n"), " Note")) : null);
}
