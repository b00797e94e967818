// What both pages use: building elements from data, and talking to the server.
"use strict";

// An element with attributes and children. Strings become text, never markup: nothing here can run what a text contains.
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

// Text from a query, a product, a person or a model: isolated, in its own writing direction.
export function data(text, tag = "span", attributes = {}) {
  return make(tag, { dir: "auto", class: "data", ...attributes }, text);
}

export function token() {
  return location.hash.slice(1);
}

export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

// The server's answer as an object. Throws Refused for an error that the server explains, TypeError without a server.
export async function call(path, body) {
  const options = { headers: { Authorization: `Bearer ${token()}` }, signal: AbortSignal.timeout(15000) };
  if (body !== undefined) {
    options.method = "POST";
    options.headers["Content-Type"] = "application/json";
    options.body = JSON.stringify(body);
  }
  const answer = await fetch(path, options);
  if (answer.ok) return answer.json();
  const said = await answer.json().catch(() => ({}));
  throw new Refused(answer.status, said.error ?? `the server answers ${answer.status}`);
}

// crypto.randomUUID exists only on https and localhost.
export function newKey() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

export const WORDS = { correct: "correct", wrong: "wrong", unsure: "unsure", cannot_tell: "can't tell" };

// The rule book, for the dialog of one key.
export function guidelineOf(start) {
  const rules = start.guideline;
  const parts = [
    make("h2", { id: "guideline-title" }, `Rules and guideline, version ${rules.version}`),
    make("p", { class: "quiet" }, `domain ${rules.domain}`),
  ];
  if (rules.text) parts.push(data(rules.text, "p", { class: "data lines" }));
  parts.push(make("h3", {}, "Steps"), make("dl", {}, ...start.steps.flatMap((step) => [
    make("dt", {}, step.title),
    make("dd", {}, step.guide || "free text", step.options.length && step.form !== "label"
      ? make("span", { class: "quiet" }, ` (${step.options.map((option) => option.value).join(", ")})`) : null),
  ])));
  parts.push(make("h3", {}, "Grades"), make("dl", {}, ...rules.grades.flatMap((grade) => [
    make("dt", {}, `${grade.code} ${grade.name}`), make("dd", {}, grade.meaning || "–"),
  ])));
  if (rules.rules.length) {
    parts.push(make("h3", {}, "Rules"), make("table", {}, make("thead", {}, make("tr", {},
      make("th", { scope: "col" }, "rule"), make("th", { scope: "col" }, "grade"), make("th", { scope: "col" }, "text"))),
    make("tbody", {}, ...rules.rules.map((rule) => make("tr", {},
      make("th", { scope: "row" }, rule.id), make("td", {}, rule.grade), make("td", {}, rule.text))))));
  }
  return parts;
}
