// Answers on their way to the server. Each is written to the browser's database before anything else happens to it, and
// removed only when the server says that it is kept. So an answer outlives a cut network, a dead server and a dead
// browser. The server counts each key once, so sending twice does no harm.
"use strict";

import { Refused, call, token } from "./shared.js";

const PAUSES = [500, 1000, 2000, 5000]; // milliseconds between two attempts
const BATCH = 100;

export class Outbox {
  constructor(changed) {
    this.changed = changed; // called with {waiting, trouble} whenever either changes
    this.waiting = []; // in the order in which they were given
    this.refused = [];
    this.trouble = "";
    this.running = null;
    this.attempts = 0;
    this.who = token().slice(0, 8); // answers of several people may wait in one browser
    window.addEventListener("online", () => this.send());
  }

  async open() {
    this.database = await new Promise((resolve, reject) => {
      const asked = indexedDB.open("taosr-she-annotate", 1);
      asked.onupgradeneeded = () => asked.result.createObjectStore("answers", { keyPath: "n", autoIncrement: true });
      asked.onsuccess = () => resolve(asked.result);
      asked.onerror = () => reject(asked.error);
    });
    const kept = await this.request("readonly", (store) => store.getAll());
    this.waiting = kept.filter((entry) => entry.who === this.who);
    this.tell();
    await this.send();
  }

  // `strict`: the browser has written it to the disk when the promise resolves.
  request(mode, action) {
    return new Promise((resolve, reject) => {
      const transaction = this.database.transaction("answers", mode, { durability: "strict" });
      const asked = action(transaction.objectStore("answers"));
      transaction.oncomplete = () => resolve(asked?.result);
      transaction.onabort = transaction.onerror = () => reject(transaction.error);
    });
  }

  add(answer) {
    const entry = { who: this.who, at: Date.now(), answer };
    this.waiting.push(entry);
    entry.stored = this.request("readwrite", (store) => store.add({ who: entry.who, at: entry.at, answer })).then(
      (n) => { entry.n = n; this.tell(); },
      (error) => { this.trouble = `this browser cannot store answers (${error}): keep the page open until all are saved`; },
    );
    this.tell();
    this.send();
  }

  // Resolves when everything is sent, or when that has failed for now.
  send() {
    this.running ??= this.sendAll().finally(() => { this.running = null; this.tell(); });
    return this.running;
  }

  async sendAll() {
    clearTimeout(this.timer);
    try {
      while (this.waiting.length) await this.sendSome();
    } catch (error) {
      const final = error instanceof Refused && (error.status === 401 || error.status === 422);
      this.trouble = final ? error.message : "no connection to the server: your answers are kept here and sent later";
      this.timer = setTimeout(() => this.send(), PAUSES[Math.min(this.attempts, PAUSES.length - 1)]);
      this.attempts += 1;
    }
  }

  async sendSome() {
    const batch = this.waiting.slice(0, BATCH);
    await Promise.all(batch.map((entry) => entry.stored));
    const now = Date.now();
    const answers = batch.map((entry) => ({ ...entry.answer, age: Math.max(0, (now - entry.at) / 1000) }));
    const { saved, refused } = await call("/api/answers", { answers });
    const settled = new Set([...saved, ...refused.map((refusal) => refusal.key)]);
    this.refused.push(...refused);
    const gone = batch.filter((entry) => settled.has(entry.answer.key));
    this.waiting = this.waiting.filter((entry) => !gone.includes(entry));
    this.attempts = 0;
    this.trouble = "";
    this.tell();
    await this.request("readwrite", (store) => { for (const entry of gone) if (entry.n) store.delete(entry.n); });
  }

  tell() {
    const stored = this.waiting.filter((entry) => entry.n).length;
    this.changed({ waiting: this.waiting.length, stored, trouble: this.trouble, refused: this.refused });
  }
}
