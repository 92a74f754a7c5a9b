// The lines that a task wrote: by level, at their end while they grow, as a file.

import { h, mark, put } from "./dom.js";
import { day, hour, plural } from "./format.js";

const LEVELS = ["debug", "info", "warning", "error", "critical"];
const rank = (level) => Math.max(1, LEVELS.indexOf(level));

export class Logs extends HTMLElement {
  #shown = [];

  connectedCallback() {
    if (this.list) return;
    this.level = h("select", { "aria-label": "Lines from this level on" }, ["debug", "warning", "error"].map((level) => h("option", { value: level }, level === "debug" ? "all levels" : level === "error" ? "errors" : "warnings and errors")));
    this.count = h("span", { class: "muted" });
    this.list = h("ol", { class: "lines mono", tabindex: "0", "aria-label": "Log" });
    this.end = h("button", { type: "button", class: "quiet", onclick: () => this.#toEnd() }, "To the end");
    this.save = h("button", { type: "button", class: "quiet", onclick: () => this.#download() }, "Download");
    this.append(h("div", { class: "tools" }, h("h2", {}, "Log"), this.count, this.level, this.end, this.save), this.list);
    this.level.addEventListener("change", () => { this.#shown = []; this.list.replaceChildren(); this.update(this.lines, this.task); });
  }

  update(lines, task) {
    this.lines = lines;
    this.task = task;
    this.hidden = lines.length === 0;
    put(this.count, plural(lines.length, "line"));
    const wanted = lines.filter((line) => rank(line.level) >= LEVELS.indexOf(this.level.value));
    const same = this.#shown.length <= wanted.length && this.#shown.every((line, i) => line.at === wanted[i].at && line.message === wanted[i].message);
    if (!same) {
      this.list.replaceChildren();
      this.#shown = [];
    }
    const news = wanted.slice(this.#shown.length);
    if (!news.length) return;
    const follows = this.#atEnd();
    const attempts = new Set(lines.map((line) => line.attempt)).size > 1;
    this.list.append(...news.map((line) => this.#line(line, attempts)));
    this.#shown = wanted;
    if (follows && task.status === "running") this.#toEnd();
  }

  #line(line, attempts) {
    return h("li", { class: line.level }, h("span", { class: "muted", title: line.at }, hour(line.at, "ms")), attempts ? h("span", { class: "muted", title: `attempt ${line.attempt}` }, `#${line.attempt}`) : null,
      line.level === "info" ? null : h("span", { class: "level" }, line.level.toUpperCase()), h("span", { class: "message" }, line.message));
  }

  #atEnd() {
    return this.list.scrollHeight - this.list.scrollTop - this.list.clientHeight < 24;
  }

  #toEnd() {
    this.list.scrollTop = this.list.scrollHeight;
  }

  #download() {
    const text = this.lines.map((line) => `${line.at} attempt=${line.attempt} ${line.level.toUpperCase()} ${line.message}\n`).join("");
    const url = URL.createObjectURL(new Blob([text], { type: "text/plain" }));
    const anchor = h("a", { href: url, download: `task-${this.task.task_id}-${day(Date.now())}.log` });
    anchor.click();
    setTimeout(() => URL.revokeObjectURL(url), 10_000);
    mark(anchor, "href", null);
  }
}
customElements.define("tf-logs", Logs);
