// Editors for a conclusion: a choice by digit, fields whose values are chosen by digit, or text.
"use strict";

import { make } from "./shared.js";

// An element that edits the conclusion of a step. `done(conclusion)` is called when it is given; "" means none.
// The element has a function `key(event)` that returns whether it has used the key, and `start()` to take the focus.
export function editor(shape, text, done, reference) {
  if (shape.form === "choice" || shape.form === "label") return choice(shape, done, reference);
  const fields = parse(text);
  if (shape.form === "fields" && shape.options.length && fields.length && !reference) return values(shape, fields, done);
  return writing(shape, text, done, reference);
}

function choice(shape, done, reference) {
  const buttons = shape.options.map((option, n) => make("button", { type: "button", onclick: () => done(option.value) },
    make("kbd", {}, String(n + 1)), ` ${option.value}`, option.name ? ` ${option.name}` : ""));
  const element = make("div", { class: "editor", role: "group", "aria-label": `Right conclusion: ${shape.title}` },
    make("p", { class: "quiet" }, reference ? "Conclusion:" : "What is right?"), make("div", { class: "options" }, ...buttons,
      reference ? null : skip(done)));
  element.key = (event) => {
    const option = shape.options[Number(event.key) - 1];
    if (/^[1-9]$/.test(event.key) && option) done(option.value);
    else if (!reference && event.key === "Enter") done("");
    else return false;
    return true;
  };
  element.start = () => {};
  return element;
}

function skip(done) {
  return make("button", { type: "button", class: "plain", onclick: () => done("") }, make("kbd", {}, "Enter"), " I do not say");
}

// `color: match; price: conflict`: one row a field; a digit sets the value and goes to the next row.
function values(shape, fields, done) {
  const chosen = fields.map(([key, value]) => ({ key, value }));
  let place = 0;
  const rows = chosen.map((field, n) => make("div", { class: "row", role: "group", "aria-label": field.key },
    make("span", { class: "data name", dir: "auto" }, field.key),
    ...shape.options.map((option, digit) => make("button", {
      type: "button", "data-value": option.value, onclick: () => { set(n, option.value); },
    }, make("kbd", {}, String(digit + 1)), ` ${option.value}`))));
  const finish = () => done(chosen.map(({ key, value }) => `${key}: ${value}`).join("; "));
  const element = make("div", { class: "editor", role: "group", "aria-label": `Right conclusion: ${shape.title}` },
    make("p", { class: "quiet" }, "What is right? A digit sets a value, Enter keeps all of them."), ...rows,
    make("div", { class: "options" },
      make("button", { type: "button", onclick: finish }, make("kbd", {}, "Enter"), " Keep"),
      make("button", { type: "button", class: "plain", onclick: () => write() }, make("kbd", {}, "w"), " Write it"),
      make("button", { type: "button", class: "plain", onclick: () => done("") }, make("kbd", {}, "Esc"), " I do not say")));
  let instead = null;
  function draw() {
    rows.forEach((row, n) => {
      row.classList.toggle("here", n === place);
      for (const button of row.querySelectorAll("button"))
        button.setAttribute("aria-pressed", String(button.dataset.value === chosen[n].value));
    });
  }
  function set(n, value) {
    chosen[n].value = value;
    place = Math.min(n + 1, rows.length - 1);
    draw();
  }
  function write() {
    instead = writing(shape, chosen.map(({ key, value }) => `${key}: ${value}`).join("; "), done, false);
    element.replaceWith(instead);
    instead.start();
  }
  element.key = (event) => {
    const option = shape.options[Number(event.key) - 1];
    if (/^[1-9]$/.test(event.key) && option) set(place, option.value);
    else if (event.key === "Enter") finish();
    else if (event.key === "w") write();
    else if (event.key === "j" || event.key === "ArrowDown") { place = Math.min(place + 1, rows.length - 1); draw(); }
    else if (event.key === "k" || event.key === "ArrowUp") { place = Math.max(place - 1, 0); draw(); }
    else return false;
    return true;
  };
  element.start = draw;
  return element;
}

function writing(shape, text, done, reference) {
  const hint = ["What is right?", shape.keys.length ? `keys: ${shape.keys.join(", ")}` : "",
    shape.form === "fields" && shape.options.length ? `values: ${shape.options.map((o) => o.value).join(", ")}` : "",
  ].filter(Boolean).join(" · ");
  const area = make("textarea", { rows: "2", dir: "auto", "aria-label": `Right conclusion: ${shape.title}`, spellcheck: "false" });
  area.value = text;
  const give = () => { if (area.value.trim() || !reference) done(area.value.trim()); else area.focus(); };
  const element = make("div", { class: "editor" }, make("p", { class: "quiet" }, hint), area,
    make("div", { class: "options" },
      make("button", { type: "button", onclick: give }, make("kbd", {}, "Enter"), " Keep"),
      reference ? null : make("button", { type: "button", class: "plain", onclick: () => done("") },
        make("kbd", {}, "Esc"), " I do not say")));
  area.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); give(); }
  });
  element.key = () => false; // keys go to the text
  element.start = () => { area.focus(); area.setSelectionRange(area.value.length, area.value.length); };
  return element;
}

function parse(text) {
  return (text ?? "").split(";").map((part) => {
    const at = part.indexOf(":");
    return [part.slice(0, at).trim(), part.slice(at + 1).trim(), at];
  }).filter(([key, , at]) => at > 0 && key);
}
