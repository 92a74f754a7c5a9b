// The query bar: words, some with a name before them, and what they could be.

import { maybe } from "./api.js";
import { h, mark, put } from "./dom.js";
import { state } from "./store.js";
import { STATUSES } from "./tasks.js";

const WORDS = {
  "status:": "failed,retrying", "task:": "send_* or a part of the name", "lane:": "io", "queue:": "email", "tag:": "vip or team=blue",
  "source:": "schedule", "error:": "\"SMTP*\"", "fingerprint:": "of an error group", "instance:": "who ran it", "id:": "of a task",
  "key:": "of idempotency or concurrency", "wait>": "5s", "run>": "2m", "attempt>": "1", "after:": "-2h or 2026-11-22T10:00", "before:": "-1d",
};
const TIMES = ["-15m", "-1h", "-6h", "-24h", "-7d"];
const DELAY = 300;
const MOST = 10;

async function names() {
  state.names ??= (await maybe(["names"]).catch(() => null)) ?? { tasks: [], queues: [], lanes: [], statuses: STATUSES };
  return state.names;
}

function values(name, known) {
  return {
    "status:": known.statuses, "task:": known.tasks.map((task) => task.slice(task.lastIndexOf(":") + 1)), "lane:": known.lanes, "queue:": known.queues,
    "source:": ["request", "schedule", "retry"], "after:": TIMES, "before:": TIMES,
  }[name] ?? [];
}

/** Says `query` as an event whenever the text has come to rest. */
export class QueryBar extends HTMLElement {
  #typing = 0;
  #offers = [];
  #at = -1;

  connectedCallback() {
    if (this.input) return;
    this.input = h("input", {
      type: "text", role: "combobox", "aria-label": "Filter tasks", "aria-expanded": "false", "aria-controls": "query-offers", "aria-autocomplete": "list",
      autocomplete: "off", autocapitalize: "off", spellcheck: "false", maxlength: "2000", placeholder: "status:failed task:send_* lane:io wait>5s \"text\"",
    });
    this.paint = h("div", { class: "paint", "aria-hidden": "true" });
    this.list = h("ul", { id: "query-offers", role: "listbox", "aria-label": "Words", hidden: true });
    this.append(this.paint, this.input, h("kbd", { class: "wide-only", "aria-hidden": "true" }, "/"), this.list);
    this.input.addEventListener("input", () => this.#typed());
    this.input.addEventListener("scroll", () => { this.paint.scrollLeft = this.input.scrollLeft; });
    this.input.addEventListener("keydown", (event) => this.#key(event));
    this.input.addEventListener("focus", () => this.#offer());
    this.input.addEventListener("click", () => this.#offer());
    this.input.addEventListener("blur", () => this.#close());
    this.list.addEventListener("pointerdown", (event) => {
      const item = event.target.closest("li");
      event.preventDefault(); // the field keeps the focus
      if (item) this.#take([...this.list.children].indexOf(item));
    });
  }

  get value() {
    return this.input.value.trim();
  }

  set value(text) {
    if (document.activeElement === this.input && this.input.value.trim() === text) return;
    this.input.value = text;
    this.#color();
  }

  #typed() {
    this.#color();
    this.#offer();
    clearTimeout(this.#typing);
    this.#typing = setTimeout(() => this.#say(), DELAY);
  }

  #say() {
    clearTimeout(this.#typing);
    this.dispatchEvent(new Event("query"));
  }

  #color() {
    const pieces = this.input.value.match(/\s+|(?:[^\s"]|"[^"]*"?)+|"/g) ?? [];
    this.paint.replaceChildren(...pieces.map((piece) => h("span", { class: /^-?[a-z]+[:<>]./.test(piece) ? "word" : "" }, piece)));
    this.paint.scrollLeft = this.input.scrollLeft;
  }

  #word() {
    const end = this.input.selectionStart ?? this.input.value.length;
    const start = this.input.value.lastIndexOf(" ", end - 1) + 1;
    return { start, end, text: this.input.value.slice(start, end) };
  }

  async #offer() {
    const known = await names();
    if (document.activeElement !== this.input) return;
    const { text } = this.#word();
    const found = /^(-?)([a-z]+[:<>])(.*)$/.exec(text);
    if (found) {
      const [, not, name, rest] = found;
      const comma = rest.lastIndexOf(",") + 1;
      const done = rest.slice(0, comma);
      this.#offers = values(name, known).filter((value) => value.includes(rest.slice(comma)) && value !== rest.slice(comma))
        .map((value) => ({ text: `${not}${name}${done}${/[\s"]/.test(value) ? `"${value}"` : value}`, help: "", ends: true }));
    } else {
      const bare = text.replace(/^-/, "");
      this.#offers = Object.entries(WORDS).filter(([name]) => name.startsWith(bare) && !text.startsWith('"'))
        .map(([name, help]) => ({ text: (text.startsWith("-") ? "-" : "") + name, help, ends: false }));
    }
    this.#offers = this.#offers.slice(0, found ? MOST : 16);
    this.#at = -1;
    this.#show();
  }

  #show() {
    this.list.hidden = this.#offers.length === 0;
    this.list.replaceChildren(...this.#offers.map((offer, i) => h("li", { role: "option", id: `query-offer-${i}`, "aria-selected": String(i === this.#at) },
      h("code", {}, offer.text), h("span", { class: "muted" }, offer.help))));
    mark(this.input, "aria-expanded", String(!this.list.hidden));
    mark(this.input, "aria-activedescendant", this.#at >= 0 ? `query-offer-${this.#at}` : null);
    this.list.children[this.#at]?.scrollIntoView({ block: "nearest" });
  }

  #close() {
    this.#offers = [];
    this.#at = -1;
    this.#show();
  }

  #take(i) {
    const offer = this.#offers[i];
    const { start, end } = this.#word();
    const tail = this.input.value.slice(end);
    const text = offer.text + (offer.ends && !tail.startsWith(" ") ? " " : "");
    this.input.value = this.input.value.slice(0, start) + text + tail;
    this.input.setSelectionRange(start + text.length, start + text.length);
    this.#typed();
  }

  #key(event) {
    const open = !this.list.hidden;
    if (open && (event.key === "ArrowDown" || event.key === "ArrowUp")) {
      event.preventDefault();
      const number = this.#offers.length;
      this.#at = (this.#at + (event.key === "ArrowDown" ? 1 : this.#at < 0 ? 0 : -1) + number) % number;
      this.#show();
    } else if (open && this.#at >= 0 && (event.key === "Enter" || event.key === "Tab")) {
      event.preventDefault();
      this.#take(this.#at);
    } else if (event.key === "Enter") {
      this.#close();
      this.#say();
    } else if (open && event.key === "Escape") {
      event.stopPropagation();
      this.#close();
    }
  }

  focus() {
    this.input.focus();
    this.input.select();
  }

  /** Say what is wrong with the query, or nothing. */
  complain(text) {
    this.classList.toggle("wrong", Boolean(text));
    mark(this.input, "aria-invalid", text ? "true" : null);
    this.help ??= this.parentElement?.querySelector(".query-help");
    if (this.help) put(this.help, text ?? "");
  }
}
customElements.define("tf-query", QueryBar);
