// The annotator's page: one item at a time, one key a verdict. Answers go through the outbox; the next items are here
// before they are needed, so a key never waits for the server.
"use strict";

import { editor } from "./editor.js";
import { pairOf, stepOf } from "./item.js";
import { Outbox } from "./outbox.js";
import { Refused, WORDS, call, guidelineOf, make, newKey, token } from "./shared.js";

const AHEAD = 10; // items here at most
const LOW = 6; // fetch more below this
const REMEMBERED = 30; // finished items that an undo can go back to
const LOOK_AGAIN = 15000; // milliseconds, when there is nothing to do
const LONGEST = 600; // seconds: whoever takes longer was not reading
const $ = (id) => document.getElementById(id);

let shapes = new Map(); // step key -> what it may conclude
let ahead = []; // items, the first one is on the screen
let past = []; // finished items, the last one finished last
let history = []; // what an undo takes back: {item, step, keys, before}
const finished = new Set(); // items done or left here, which the server may not know yet
let progress = null;
let here = 0; // the step that keys are about
let open = null; // the editor or the note that has the keys
let since = performance.now();
let fetching = false;
let again = false; // also take what I left before
let trouble = "";
let unsent = 0;

const outbox = new Outbox(({ waiting, stored, trouble: stuck, refused }) => {
  $("saving").textContent = waiting ? `${waiting} not sent yet` : "all saved";
  $("saving").dataset.waiting = String(waiting);
  $("saving").dataset.stored = String(stored); // of these, on this device's disk
  const lines = [stuck, trouble, ...refused.slice(-3).map((one) => `not accepted: ${one.error}`)].filter(Boolean);
  $("trouble").replaceChildren(...lines.map((line) => make("p", {}, line)));
  $("trouble").hidden = !lines.length;
  const allSent = unsent > 0 && waiting === 0;
  unsent = waiting;
  if (allSent && shapes.size && !item()) fetchMore(); // only now the server knows what I left
});

function item() {
  return ahead[0] ?? null;
}

function saidOf(step) {
  return step.said;
}

function draw() {
  const shown = item();
  const place = shown?.steps[here];
  $("item").dataset.item = shown?.id ?? "";
  $("item").dataset.step = place?.key ?? "";
  open = null;
  if (!shown) return drawNothing();
  if (draw.last !== shown) {
    $("pair").replaceChildren(...pairOf(shown));
    $("item").lang = "";
    draw.last = shown;
    window.scrollTo(0, 0);
  }
  $("steps").replaceChildren(...shown.steps.map((step, n) => {
    const article = stepOf(shown, step, shapes.get(step.key), n, saidOf(step), act);
    if (n === here) { article.setAttribute("aria-current", "step"); article.tabIndex = -1; }
    return article;
  }));
  drawCount();
  since = performance.now();
  const current = $("steps").children[here];
  if (!document.querySelector("dialog[open]")) current?.focus({ preventScroll: true });
  current?.scrollIntoView({ block: "nearest" });
  if (shown.kind === "reference" && place && !place.said) edit(here);
}

function drawNothing() {
  draw.last = null;
  $("pair").replaceChildren(make("h2", { id: "nothing" }, fetching ? "Looking for items …" : "Nothing to annotate right now"),
    make("p", { class: "quiet" }, "New items appear here by themselves. Thank you."),
    ...(progress?.left ? [make("button", { type: "button", id: "again", onclick: () => { again = true; fetchMore(); } },
      `Take back the ${progress.left} you left`)] : []));
  $("steps").replaceChildren();
  drawCount();
}

function drawCount() {
  if (!progress) return;
  const left = progress.open >= 1000 ? "1000 or more" : String(progress.open);
  $("count").textContent = `${progress.steps_judged} verdicts, ${progress.items_done} items done, ${left} open`;
}

// What a key or a button does to step `place`.
function act(place, what) {
  const step = item()?.steps[place];
  if (!step) return;
  if (place !== here || what === "here") {
    here = place;
    draw();
    if (what === "here") return;
  }
  if (what === "note") return note(place);
  if (item().kind === "reference") {
    if (what === "correct") edit(place);
    else if (what !== "wrong") { judge(place, what, "", [], step.said); moveOn(); }
  } else if (step.text !== null) {
    const before = step.said;
    const keys = judge(place, what, "", [], before);
    step.peeked ??= false; // what the GSRM would say must not lead the right conclusion either
    if (what === "wrong") { draw(); edit(place, keys, before); } else moveOn();
  }
}

// Keep a verdict: on the screen, in the history, in the outbox. `keys` are those of the same act, which one undo takes back.
function judge(place, verdict, conclusion, keys, before, note = item().steps[place].said?.note ?? "") {
  const shown = item();
  const step = shown.steps[place];
  const key = newKey();
  step.said = { key, verdict, conclusion, note };
  const act = keys.length ? history.find((one) => one.keys === keys) : null;
  keys.push(key);
  if (!act) history.push({ item: shown.id, step: step.key, keys, before });
  progress && (progress.steps_judged += 1);
  const seconds = Math.min(LONGEST, Math.max(0, (performance.now() - since) / 1000));
  outbox.add({ kind: "judge", key, item: shown.id, step: step.key, verdict, conclusion, note, seconds });
  remember();
  $("said").textContent = `${shapes.get(step.key).title}: ${WORDS[verdict]}${conclusion ? `, ${conclusion}` : ""}`;
  return keys;
}

// Ask for the right conclusion of a wrong step, or for a reference.
function edit(place, keys = [], before = item().steps[place].said) {
  const shown = item();
  const step = shown.steps[place];
  const reference = shown.kind === "reference";
  const done = (conclusion) => {
    if (reference) judge(place, "correct", conclusion, [], step.said);
    else if (conclusion && conclusion !== step.text) judge(place, "wrong", conclusion, keys, before);
    moveOn();
  };
  open = editor(shapes.get(step.key), reference ? step.said?.conclusion ?? "" : step.text, done, reference);
  $("steps").children[place].append(open);
  open.start();
  open.scrollIntoView({ block: "nearest" });
}

function note(place) {
  const step = item().steps[place];
  const area = make("textarea", { rows: "2", dir: "auto", "aria-label": "Note" });
  area.value = step.said?.note ?? "";
  const keep = () => {
    const said = step.said;
    judge(place, said?.verdict ?? "unsure", said?.conclusion ?? "", [], said, area.value.trim());
    draw();
  };
  open = make("div", { class: "editor" }, make("p", { class: "quiet" }, step.said ? "Note" : "Note (the verdict becomes unsure until you give one)"), area,
    make("div", { class: "options" }, make("button", { type: "button", onclick: keep }, make("kbd", {}, "Enter"), " Keep"),
      make("button", { type: "button", class: "plain", onclick: draw }, make("kbd", {}, "Esc"), " Back")));
  area.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); keep(); }
  });
  open.key = () => false;
  $("steps").children[place].append(open);
  area.focus();
}

// To the next step without a verdict; to the next item when there is none.
function moveOn() {
  const steps = item().steps;
  delete steps[here].peeked; // from now on it is open
  const order = [...steps.keys()].map((n) => (here + 1 + n) % steps.length);
  const next = order.find((n) => steps[n].asked && !steps[n].said);
  if (next === undefined) return nextItem();
  here = next;
  draw();
}

function nextItem() {
  const left = ahead.shift();
  finished.add(left.id);
  past = [...past, left].slice(-REMEMBERED);
  if (progress) progress.items_done += 1;
  goOn();
}

function show() {
  here = Math.max(0, item()?.steps.findIndex((step) => step.asked && !step.said) ?? 0);
  draw();
}

// The item on the screen is finished or left: the next one, and more of them after it is painted.
function goOn() {
  show();
  setTimeout(() => { if (ahead.length < LOW) fetchMore(); });
}

function leave() {
  if (!item()) return;
  const left = ahead.shift();
  finished.add(left.id);
  outbox.add({ kind: "leave", key: newKey(), item: left.id });
  if (progress) progress.left += 1;
  $("said").textContent = "left";
  goOn();
}

function undo() {
  const act = history.pop();
  if (!act) { $("said").textContent = "nothing to undo"; return; }
  if (item()?.id !== act.item) {
    const back = past.find((one) => one.id === act.item);
    if (!back) return;
    past = past.filter((one) => one !== back);
    ahead.unshift(back);
    finished.delete(back.id);
    if (progress) progress.items_done -= 1;
  }
  for (const of of [...act.keys].reverse()) outbox.add({ kind: "undo", key: newKey(), item: act.item, of });
  here = item().steps.findIndex((step) => step.key === act.step);
  item().steps[here].said = act.before;
  if (progress) progress.steps_judged -= act.keys.length;
  draw();
  $("said").textContent = `taken back: ${shapes.get(act.step).title}`;
  remember();
}

async function fetchMore() {
  if (fetching) return;
  fetching = true;
  clearTimeout(fetchMore.timer);
  let failed = true;
  try {
    const unknown = new Set(outbox.waiting.map((entry) => entry.answer.item)); // to the server, at least in part
    const count = Math.min(50, AHEAD + [...unknown].filter((id) => finished.has(id)).length);
    const found = await call(`/api/items?count=${count}${again ? "&again=true" : ""}`);
    const known = new Set(ahead.map((one) => one.id));
    if (again) for (const one of found.items) if (!unknown.has(one.id)) finished.delete(one.id);
    const fresh = found.items.filter((one) => !known.has(one.id) && !finished.has(one.id) && unfinished(one));
    if (fresh.length) again = false;
    const empty = !item();
    ahead.push(...fresh);
    progress = found.progress;
    failed = false;
    trouble = "";
    fetching = false;
    if (empty) show(); else drawCount();
  } catch (error) {
    trouble = error instanceof Refused ? error.message : trouble;
    fetching = false;
    if (!item()) draw();
  } finally {
    outbox.tell();
    if (ahead.length < LOW) fetchMore.timer = setTimeout(fetchMore, failed ? 2000 : LOOK_AGAIN);
  }
}

// Whether something is left to do, after what waits here to be sent (of a former visit) is put into the item.
function unfinished(one) {
  for (const { answer } of outbox.waiting) {
    if (answer.item !== one.id) continue;
    if (answer.kind === "leave") return false;
    for (const step of one.steps) {
      if (answer.kind === "judge" && step.key === answer.step) step.said = answer;
      if (answer.kind === "undo" && step.said?.key === answer.of) step.said = null;
    }
  }
  return one.steps.some((step) => step.asked && !step.said);
}

// A reload keeps what an undo needs; a new tab starts without. Written after the next paint.
function remember() {
  clearTimeout(remember.timer);
  remember.timer = setTimeout(writeHistory);
}

function writeHistory() {
  const used = new Set(history.slice(-100).map((act) => act.item));
  sessionStorage.setItem(`annotate ${token().slice(0, 8)}`,
    JSON.stringify({ history: history.slice(-100), past: past.filter((one) => used.has(one.id)) }));
}

function recall() {
  const kept = sessionStorage.getItem(`annotate ${token().slice(0, 8)}`);
  if (kept) ({ history, past } = JSON.parse(kept));
  for (const one of past) finished.add(one.id);
}

function showDialog(id) {
  const dialog = $(id);
  if (dialog.open) dialog.close();
  else { document.querySelector("dialog[open]")?.close(); dialog.showModal(); }
}

const KEYS = {
  1: () => act(here, "correct"), 2: () => act(here, item()?.kind === "reference" ? "unsure" : "wrong"),
  3: () => act(here, item()?.kind === "reference" ? "cannot_tell" : "unsure"),
  4: () => item()?.kind === "verdict" && act(here, "cannot_tell"),
  c: () => act(here, "correct"), w: () => act(here, "wrong"), s: () => act(here, "unsure"), t: () => act(here, "cannot_tell"),
  j: () => step(1), ArrowDown: () => step(1), k: () => step(-1), ArrowUp: () => step(-1),
  n: () => item() && note(here), e: () => document.querySelector(".step[aria-current] .peek")?.click(), u: undo, z: undo, x: leave, g: () => showDialog("guideline"), "?": () => showDialog("keys"),
  o: () => { for (const button of document.querySelectorAll("button.fold")) button.click(); },
};

function step(by) {
  if (!item()) return;
  here = Math.min(Math.max(here + by, 0), item().steps.length - 1);
  draw();
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  const dialog = document.querySelector("dialog[open]");
  if (dialog) {
    if (event.key === "g" || event.key === "?") { event.preventDefault(); dialog.close(); }
    return;
  }
  if (event.key === "Escape" && open) { event.preventDefault(); return escape(); }
  if (event.target.closest?.("textarea, input, select")) return;
  if ((event.key === "Enter" || event.key === " ") && event.target.closest?.("button, a, summary")) return;
  if (open?.key(event)) return event.preventDefault();
  const does = Object.hasOwn(KEYS, event.key) ? KEYS[event.key] : null;
  if (does) { event.preventDefault(); does(); }
});

// Out of an editor: a wrong step keeps its verdict without a conclusion, and the next step follows.
function escape() {
  const judged = item().kind === "verdict" && item().steps[here].said?.verdict === "wrong" && !open.querySelector("[aria-label=Note]");
  if (judged) moveOn();
  else { open.remove(); open = null; $("steps").children[here].focus({ preventScroll: true }); }
}

function helpOf() {
  const rows = [["1 or c", "correct"], ["2 or w", "wrong, then the right conclusion"], ["3 or s", "unsure"],
    ["4 or t", "can't tell: what is shown does not decide it"], ["j, k or ↓, ↑", "next step, step before"], ["u or z", "undo, as often as you like"],
    ["n", "note"], ["e", "what the GSRM would say, where that is offered"], ["o", "all of long texts"], ["x", "leave the item: somebody else gets it"], ["g", "rules and guideline"], ["?", "this list"]];
  return [make("h2", { id: "keys-title" }, "Keys"), make("table", {}, make("tbody", {}, ...rows.map(([key, does]) =>
    make("tr", {}, make("th", { scope: "row" }, make("kbd", {}, key)), make("td", {}, does))))),
  make("p", { class: "quiet" }, "A verdict is saved at once and the next step follows. Where you give your own conclusions: 1 conclude, 2 unsure, 3 can't tell.")];
}

function close(dialog) {
  return make("button", { type: "button", onclick: () => dialog.close() }, make("kbd", {}, "Esc"), " Close");
}

async function begin() {
  $("undo").addEventListener("click", undo);
  $("leave").addEventListener("click", leave);
  $("guide").addEventListener("click", () => showDialog("guideline"));
  $("help").addEventListener("click", () => showDialog("keys"));
  try {
    const start = await call("/api/start");
    shapes = new Map(start.steps.map((one) => [one.key, one]));
    $("who").textContent = start.name;
    $("guideline").replaceChildren(close($("guideline")), ...guidelineOf(start));
    $("keys").replaceChildren(close($("keys")), ...helpOf());
    await outbox.open(); // sends what a former visit could not, before the server says what is left to do
    recall();
    fetching = false;
    await fetchMore();
  } catch (error) {
    if (error instanceof Refused) {
      $("trouble").replaceChildren(make("p", {}, token() ? error.message : "this address lacks the link's secret part after #: ask the lead for your link"));
      $("trouble").hidden = false;
    } else {
      $("trouble").replaceChildren(make("p", {}, "no connection to the server, trying again"));
      $("trouble").hidden = false;
      setTimeout(beginAgain, 2000);
    }
  }
}

function beginAgain() {
  location.reload();
}

window.addEventListener("pagehide", () => { if (history.length || past.length) writeHistory(); });
window.addEventListener("hashchange", () => location.reload());
begin();
