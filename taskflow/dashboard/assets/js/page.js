// What all pages have in common: an element that ends with what it listens to.

import { put } from "./dom.js";
import { bus } from "./store.js";

export class Page extends HTMLElement {
  #ends = [];
  #running = null;
  #again = false;

  /** What the browser calls it. */
  get heading() {
    return "";
  }

  keep(end) {
    this.#ends.push(end);
  }

  on(name, hear) {
    this.keep(bus.on(name, hear));
  }

  listen(target, name, hear, options) {
    target.addEventListener(name, hear, options);
    this.keep(() => target.removeEventListener(name, hear, options));
  }

  every(ms, run) {
    const timer = setInterval(() => document.hidden || run(), ms);
    this.keep(() => clearInterval(timer));
  }

  /** Fetch and show; asked for while it runs, it runs once more. Trouble is said by the page. */
  async refresh() {
    this.#again = true;
    if (this.#running) return this.#running;
    this.#running = (async () => {
      while (this.#again && this.isConnected !== false) {
        this.#again = false;
        try {
          await this.load();
          this.trouble(null);
          this.dataset.ready = ""; // what it shows is there
        } catch (error) {
          if (error.name !== "AbortError") this.trouble(error);
        }
        if (!this.isConnected) break;
      }
      this.#running = null;
    })();
    return this.#running;
  }

  trouble(error) {
    if (!this.isConnected) return;
    const note = document.getElementById("note");
    // That the app does not answer is said beside the pages, once.
    const text = error && error.status !== 0 ? (error.status === undefined ? `this page failed: ${error.message}` : error.message) : "";
    if (error && error.status === undefined) console.error(error);
    put(note, text);
    note.hidden = !text;
  }

  async load() {}

  disconnectedCallback() {
    for (const end of this.#ends.splice(0)) end();
  }
}
