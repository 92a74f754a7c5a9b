// News from the app: a stream of events, or a look every two seconds where there is none.

import { API, get } from "./api.js";
import { bus, state } from "./store.js";

const LOOK = 2000;
const SILENCE = 45_000; // three heartbeats
const LONGEST_PAUSE = 15_000;
const HIDDEN = 30_000; // a tab that nobody sees lets go of its stream
const TRY_STREAM = 60_000;

/** Events of a stream, as `{event, data, id}`. */
async function* read(body, heard) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  let found = { event: "message", data: [], id: undefined };
  while (true) {
    const { value, done } = await reader.read();
    if (done) return;
    heard();
    const lines = (rest + value).split(/\r\n|\n|\r/);
    rest = lines.pop();
    for (const line of lines) {
      if (line === "") {
        if (found.data.length) yield { ...found, data: found.data.join("\n") };
        found = { event: "message", data: [], id: undefined };
        continue;
      }
      const colon = line.indexOf(":");
      const field = colon < 0 ? line : line.slice(0, colon);
      const text = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
      if (field === "data") found.data.push(text);
      else if (field === "event") found.event = text;
      else if (field === "id") found.id = text;
    }
  }
}

class Feed {
  #last = "";
  #instance = "";
  #abort = null;
  #timer = 0;
  #failed = 0;
  #asleep = 0;
  #streamAgain = 0;
  #fresh = true; // whether the page has fetched its data by itself just now
  #missed = new Set(); // tasks that are new since the page was paused

  start() {
    document.addEventListener("visibilitychange", () => this.#seen(!document.hidden));
    addEventListener("pagehide", () => this.#stop());
    addEventListener("pageshow", (event) => event.persisted && this.#connect());
    this.#connect();
  }

  /** Freeze what is shown, or go on. */
  pause(on) {
    state.paused = on;
    this.#missed.clear();
    this.#tell(this.words);
    if (!on) bus.emit("refresh", "resumed");
  }

  #seen(visible) {
    clearTimeout(this.#asleep);
    if (!visible) {
      this.#asleep = setTimeout(() => {
        this.#stop();
        this.#tell({ kind: "asleep", text: "asleep" });
      }, HIDDEN);
    } else if (!this.#abort && !this.#timer) this.#connect();
  }

  #stop() {
    this.#abort?.abort();
    this.#abort = null;
    clearTimeout(this.#timer);
    this.#timer = 0;
  }

  #later(ms, then) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.#timer = 0;
      then();
    }, ms);
  }

  #tell(words) {
    this.words = words;
    bus.emit("link", { ...words, paused: state.paused, missed: this.#missed.size });
  }

  async #connect() {
    this.#stop();
    const abort = new AbortController();
    this.#abort = abort;
    let silence = 0;
    const heard = () => {
      clearTimeout(silence);
      silence = setTimeout(() => abort.abort(), SILENCE);
    };
    try {
      heard();
      const headers = { Accept: "text/event-stream", ...(this.#last ? { "Last-Event-ID": this.#last } : {}) };
      const answer = await fetch(new URL("events", API), { headers, cache: "no-store", signal: abort.signal });
      if (!answer.ok || !answer.headers.get("content-type")?.startsWith("text/event-stream")) {
        await answer.body?.cancel();
        if (answer.status === 401) return this.#tell({ kind: "off", text: "signed out: load the page again" });
        this.#streamAgain = Date.now() + TRY_STREAM;
        return this.#look();
      }
      for await (const event of read(answer.body, heard)) {
        if (event.id !== undefined) this.#last = event.id;
        this.#hear(event);
      }
      throw new Error("ended");
    } catch {
      if (this.#abort !== abort) return; // stopped on purpose
      this.#failed += 1;
      const wait = Math.min(LONGEST_PAUSE, 1000 * 2 ** (this.#failed - 1)) * (0.8 + 0.4 * Math.random());
      this.#tell({ kind: "off", text: this.#failed > 1 ? "the app does not answer; trying again" : "reconnecting" });
      this.#later(wait, () => this.#connect());
    } finally {
      clearTimeout(silence);
    }
  }

  #hear({ event, data }) {
    const body = JSON.parse(data);
    if (event === "hello") {
      this.#failed = 0;
      this.#tell({ kind: "on", text: "live" });
      // Another instance may have started in between, and nobody took notes then.
      if (!this.#fresh && (!body.resumed || body.instance !== this.#instance)) bus.emit("refresh", "hello");
      this.#instance = body.instance;
      this.#fresh = false;
    } else if (event === "bye") {
      this.#failed = 0; // it comes back within a second, or the next attempt says that it does not
    } else if (event === "resync") bus.emit("refresh", body.reason);
    else this.#news(event, body);
  }

  #news(event, body) {
    if (event === "board") state.board = body;
    if (event === "metrics") state.metrics = body;
    if (!state.paused) return bus.emit(event, body);
    if (event !== "tasks") return;
    for (const task of body.tasks) this.#missed.add(task.task_id);
    this.#tell(this.words);
  }

  async #look() {
    if (Date.now() > this.#streamAgain) return this.#connect();
    const abort = this.#abort;
    try {
      const [board, metrics] = await Promise.all([get(["lanes"], {}, abort?.signal), get(["metrics"], {}, abort?.signal)]);
      if (this.#abort !== abort) return;
      this.#tell({ kind: "on", text: "live, every 2 s" });
      this.#news("board", board);
      this.#news("metrics", metrics);
      if (!state.paused && !this.#fresh) bus.emit("refresh", "look");
      this.#fresh = false;
      this.#failed = 0;
    } catch (error) {
      if (this.#abort !== abort) return;
      this.#failed += 1;
      this.#tell({ kind: "off", text: error.status ? error.message : "the app does not answer; trying again" });
    }
    this.#later(this.#failed ? LOOK * 2 : LOOK, () => this.#look());
  }
}

export const feed = new Feed();
