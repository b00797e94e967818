// The lead's view: progress, people, agreement, disagreements, export.
"use strict";

import { editor } from "./editor.js";
import { pairOf } from "./item.js";
import { Refused, WORDS, call, data, guidelineOf, make, newKey, token } from "./shared.js";

const $ = (id) => document.getElementById(id);
const NONE = "–";
const LAYOUTS = { jsonl: "JSONL", label_studio: "Label Studio", label_studio_config: "Label Studio's configuration", stepwise: "TRL, stepwise" };
let shapes = new Map();

const percent = (value) => (value === null || value === undefined ? NONE : `${(100 * value).toFixed(1)}%`);
const fixed = (value) => (value === null ? NONE : value.toFixed(2));

function table(heads, rows) {
  return make("table", {}, make("thead", {}, make("tr", {}, ...heads.map((head, n) => make("th", { scope: "col", class: n ? "num" : null }, head)))),
    make("tbody", {}, ...rows.map((row) => make("tr", {}, make("th", { scope: "row" }, row[0]),
      ...row.slice(1).map((cell) => make("td", { class: "num" }, cell))))));
}

// One part of the page fails for itself, in one line.
async function part(id, path, build) {
  try {
    $(id).replaceChildren(...build(await call(path)).filter(Boolean));
  } catch (error) {
    $(id).replaceChildren(make("p", { class: "out" }, error instanceof Refused ? error.message : "no connection to the server: press Refresh"));
  }
}

function progressOf(overview) {
  if (!overview.reasons.length) return [make("p", { class: "quiet" }, "nothing is queued")];
  return [table(["chosen by", "items", "annotations wanted", "done", "in people's hands", "left"], overview.reasons.map((row) =>
    [row.reason, row.items, row.wanted ?? "by everybody", row.done, row.held, row.left].map(String)))];
}

function peopleOf(overview) {
  const others = overview.imported.length ? table(["imported", "records"], overview.imported.map((row) => [data(row.name), String(row.records)])) : null;
  if (!overview.people.length) return [make("p", { class: "quiet" }, "nobody has a link yet"), others];
  return [table(["person", "items", "verdicts", "seconds a verdict", "abstains", "gold right", "differs from GSRM", "last", "link"], overview.people.map((row) => [
    make("span", {}, data(row.name), row.role === "lead" ? " (lead)" : "", row.active ? "" : " (link withdrawn)"),
    String(row.items_done), String(row.steps_judged), row.seconds === null ? NONE : row.seconds.toFixed(1), percent(row.abstained),
    row.gold ? `${row.gold_right} of ${row.gold}` : NONE, row.compared ? `${row.overruled} of ${row.compared}` : NONE,
    row.last ? row.last.slice(0, 16).replace("T", " ") : NONE,
    row.active ? make("span", {}, make("button", { type: "button", onclick: () => invite(row.name, row.role) }, "New link"), " ",
      make("button", { type: "button", class: "plain", onclick: () => withdraw(row.name) }, "Withdraw")) : "",
  ])), make("p", { class: "quiet" }, "Seconds, abstentions and differences are those of the latest 500 verdicts. Times are UTC."), others];
}

function agreementOf(found) {
  const rows = found.pairs.map((row) => [make("span", {}, data(row.first), ", ", data(row.second)),
    row.step === found.all_steps ? "all steps" : shapes.get(row.step)?.title ?? row.step, String(row.items), percent(row.raw), fixed(row.kappa), percent(row.base), fixed(row.weighted)]);
  const others = Object.entries(found.with_others);
  return [
    rows.length ? table(["two people", "step", "items", "the same", "kappa", "base rate of correct", "weighted kappa of grades"], rows) : null,
    rows.length ? make("p", { class: "quiet" }, "Kappa is agreement beyond chance. Where nearly everything is correct (or wrong), it is low whatever people do: read it beside the base rate.") : null,
    others.length ? table(["person", "agrees with the majority of the others", "outlier"], others.map(([name, share]) => [data(name), percent(share),
      found.outliers.includes(name) ? make("span", { class: "out" }, "stands out") : ""])) : null,
    ...found.notes.map((note) => make("p", { class: "quiet" }, note)),
  ];
}

const MEASURES = { right: "agree with gold or settled verdicts", with_gsrm: "agree with the GSRM", seconds: "median seconds a verdict" };

function critiquesOf(found) {
  if (!found.measures.length) return [make("p", { class: "quiet" }, "no verdict on an item with critiques yet: queue examined responses with --critiques 0.5")];
  const cell = (value, ends, show) => (value === null ? NONE : `${show(value)}${ends ? ` [${show(ends[0])}, ${show(ends[1])}]` : ""}`);
  const signed = (show) => (value) => `${value < 0 ? "−" : "+"}${show(Math.abs(value))}`;
  return [table(["verdicts", "critique shown", "kept back", "difference"], found.measures.map((row) => {
    const show = row.name === "seconds" ? (value) => value.toFixed(1) : (value) => `${(100 * value).toFixed(1)}%`;
    return [MEASURES[row.name], `${cell(row.shown, row.shown_ends, show)} of ${row.shown_count}`, `${cell(row.kept, row.kept_ends, show)} of ${row.kept_count}`,
      cell(row.difference, row.difference_ends, signed(show))];
  })), make("p", { class: "quiet" }, `${found.shown_items} items show the GSRM's critiques, ${found.kept_items} keep them back; chance decided which. In brackets: 95% intervals over pairs.`)];
}

function settleOf(found) {
  if (!found.total) return [make("p", { class: "quiet" }, "none")];
  return [make("p", { class: "quiet" }, `${found.total} steps; the first ${found.disagreements.length} are shown`), ...found.disagreements.map(caseOf)];
}

function caseOf(found) {
  const shape = shapes.get(found.step);
  const step = found.item.steps.find((one) => one.key === found.step);
  const reference = found.item.kind === "reference";
  const card = make("article", { class: "case", "aria-label": shape.title }, ...pairOf(found.item), make("h3", {}, shape.title),
    step?.text ? data(step.text, "p", { class: "data text" }) : null,
    make("ul", {}, ...found.voices.map((voice) => make("li", {}, data(voice.person), `: ${reference && voice.verdict === "correct" ? "" : WORDS[voice.verdict]}`,
      voice.conclusion ? make("span", {}, " → ", data(voice.conclusion)) : null, voice.note ? make("span", { class: "quiet" }, " (", data(voice.note), ")") : null))));
  const say = async (verdict, conclusion) => {
    const answer = { kind: "judge", key: newKey(), item: found.item.id, step: found.step, verdict, conclusion };
    const { refused } = await call("/api/lead/answers", { answers: [answer] }).catch((error) => ({ refused: [{ error: error.message }] }));
    if (refused.length) return void card.append(make("p", { class: "out" }, refused[0].error));
    const back = make("button", { type: "button", onclick: async () => {
      await call("/api/lead/answers", { answers: [{ kind: "undo", key: newKey(), item: found.item.id, of: answer.key }] });
      refresh();
    } }, "Undo");
    card.replaceChildren(make("p", {}, `${shape.title}: settled as ${WORDS[verdict]} `, back));
  };
  const ask = () => {
    const asked = editor(shape, reference ? "" : step.text, (conclusion) => say(reference ? "correct" : "wrong", conclusion === step?.text ? "" : conclusion), reference);
    choices.replaceWith(asked);
    asked.start();
  };
  const button = (name, does) => make("button", { type: "button", onclick: does }, name);
  const choices = make("div", { class: "options", role: "group", "aria-label": "Decision" }, ...(reference
    ? [button("Conclude", ask)] : [button("correct", () => say("correct", "")), button("wrong", ask)]));
  card.append(choices);
  return card;
}

async function invite(name, role) {
  try {
    const link = await call("/api/lead/people", { name, role });
    const address = `${location.origin}/${link.role === "lead" ? "lead" : ""}#${link.token}`;
    $("link").replaceChildren(make("p", { class: "link" }, "Link of ", data(link.name), ", shown once: ", data(address, "code")));
  } catch (error) {
    $("link").replaceChildren(make("p", { class: "out" }, error.message));
  }
  await part("people", "/api/lead/overview", peopleOf);
}

async function withdraw(name) {
  await call("/api/lead/people/remove", { name }).catch((error) => $("link").replaceChildren(make("p", { class: "out" }, error.message)));
  await part("people", "/api/lead/overview", peopleOf);
}

async function download(layout) {
  const answer = await fetch(`/api/lead/export/${layout}`, { headers: { Authorization: `Bearer ${token()}` } });
  if (!answer.ok) {
    const said = await answer.json();
    return void $("export").append(make("p", { class: "out" }, said.error));
  }
  const name = /filename="([^"]+)"/.exec(answer.headers.get("Content-Disposition") ?? "")?.[1] ?? layout;
  const link = make("a", { href: URL.createObjectURL(await answer.blob()), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}

async function refresh() {
  await part("progress", "/api/lead/overview", progressOf);
  await part("people", "/api/lead/overview", peopleOf);
  await part("settle", "/api/lead/disagreements", settleOf);
  await part("agreement", "/api/lead/agreement", agreementOf);
  await part("critiques", "/api/lead/critiques", critiquesOf);
}

async function begin() {
  try {
    const start = await call("/api/start");
    shapes = new Map(start.steps.map((one) => [one.key, one]));
    $("who").textContent = `${start.name}: the lead's view`;
    const close = make("button", { type: "button", onclick: () => $("guideline").close() }, "Close");
    $("guideline").replaceChildren(close, ...guidelineOf(start));
  } catch (error) {
    $("trouble").replaceChildren(make("p", {}, token() ? error.message : "this address lacks the link's secret part after #"));
    $("trouble").hidden = false;
    return;
  }
  $("guide").addEventListener("click", () => $("guideline").showModal());
  $("refresh").addEventListener("click", refresh);
  $("invite").addEventListener("submit", (event) => { event.preventDefault(); invite($("name").value, $("role").value); });
  $("export").replaceChildren(...Object.entries(LAYOUTS).map(([layout, name]) =>
    make("button", { type: "button", onclick: () => download(layout) }, name)));
  await refresh();
}

window.addEventListener("hashchange", () => location.reload());
begin();
