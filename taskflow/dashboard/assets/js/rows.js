// A table of tasks of which only the visible rows exist. Rows are of one height.

import { h, mark, put } from "./dom.js";
import { ago, short, stamp } from "./format.js";
import { mayWrite } from "./store.js";
import { address, progressOf, timing, titleOf, why } from "./tasks.js";

const BEYOND = 8; // rows drawn above and below what is seen
const phone = matchMedia("(max-width: 760px)");

/** Says `open`, `select` and `near-end` as events of the DOM. */
export class TaskRows extends HTMLElement {
  items = [];
  selected = new Set();
  cursor = null;
  #shown = new Map();
  #spare = [];
  #planned = 0;
  #changed = new Set();
  #ends = [];

  connectedCallback() {
    if (!this.body) this.#build();
    const draw = () => this.draw();
    const resize = () => { this.#forget(); draw(); };
    addEventListener("scroll", draw, { passive: true });
    addEventListener("resize", resize);
    phone.addEventListener("change", resize);
    const timer = setInterval(() => document.hidden || this.#tick(), 1000);
    this.#ends = [() => removeEventListener("scroll", draw), () => removeEventListener("resize", resize),
      () => phone.removeEventListener("change", resize), () => clearInterval(timer)];
    draw();
  }

  disconnectedCallback() {
    for (const end of this.#ends.splice(0)) end();
    cancelAnimationFrame(this.#planned);
    this.#planned = 0;
  }

  get #height() {
    return phone.matches ? 62 : 37;
  }

  #build() {
    const head = (text, kind = "") => h("span", { role: "columnheader", class: kind }, text);
    this.body = h("div", { class: "rows-body", role: "rowgroup" });
    this.table = h("div", { role: "table", class: "rows", "aria-label": "Tasks" },
      h("div", { role: "rowgroup", class: "rows-head" }, h("div", { role: "row", class: "row" },
        h("span", { role: "columnheader", class: "c-pick" }, h("span", { class: "away" }, "selected")),
        head("status", "c-status"), head("task", "c-task"), head("lane", "c-lane"), head("time", "c-time"), head("why", "c-why"), head("added", "c-added"))),
      this.body);
    this.append(this.table);
    this.body.addEventListener("change", (event) => this.#pick(event.target));
    this.body.addEventListener("animationend", (event) => event.target.classList.remove("changed"));
  }

  /** Show these; `changed` are the ids of rows to be lit up once. */
  show(items, changed = []) {
    this.items = items;
    for (const id of changed) this.#changed.add(id);
    this.draw();
  }

  draw() {
    if (!this.#planned && this.isConnected) this.#planned = requestAnimationFrame(() => { this.#planned = 0; this.#draw(); });
  }

  #range() {
    const height = this.#height;
    const top = this.body.getBoundingClientRect().top;
    const first = Math.max(0, Math.floor(-top / height) - BEYOND);
    return [first, Math.min(this.items.length, Math.ceil((innerHeight - top) / height) + BEYOND)];
  }

  #draw() {
    const height = this.#height;
    const total = `${this.items.length * height}px`;
    if (this.body.style.height !== total) this.body.style.height = total;
    mark(this.table, "aria-rowcount", String(this.items.length + 1));
    const [first, last] = this.#range();
    const wanted = new Set();
    for (let i = first; i < last; i += 1) wanted.add(this.items[i].task_id);
    for (const [id, row] of this.#shown) {
      if (wanted.has(id)) continue;
      this.#shown.delete(id);
      row.remove();
      this.#spare.push(row);
    }
    for (let i = first; i < last; i += 1) this.#place(this.items[i], i, height);
    this.#changed.clear();
    if (last >= this.items.length - 20) this.dispatchEvent(new Event("near-end"));
  }

  #place(task, i, height) {
    let row = this.#shown.get(task.task_id);
    if (!row) {
      row = this.#spare.pop() ?? this.#empty();
      row.classList.remove("changed");
      row.dataset.id = task.task_id;
      this.#shown.set(task.task_id, row);
    }
    row.task = task;
    const where = `translateY(${i * height}px)`;
    if (row.style.transform !== where) row.style.transform = where;
    mark(row, "aria-rowindex", String(i + 2));
    fillRow(row.parts, task);
    if (this.#changed.has(task.task_id)) row.classList.add("changed");
    row.classList.toggle("cursor", task.task_id === this.cursor);
    row.classList.toggle("picked", this.selected.has(task.task_id));
    if (row.parts.pick) row.parts.pick.checked = this.selected.has(task.task_id);
    // In the order of the rows, so that the Tab key goes from one to the next.
    const before = i > 0 ? this.#shown.get(this.items[i - 1].task_id) : null;
    if (before ? before.nextSibling !== row : this.body.firstChild !== row) {
      if (before) before.after(row);
      else this.body.prepend(row);
    }
  }

  #empty() {
    const cell = (kind, ...children) => h("span", { role: "cell", class: kind }, ...children);
    const pick = mayWrite() ? h("input", { type: "checkbox" }) : null;
    const parts = { pick, chip: h("span", { class: "chip" }), link: h("a", {}), bar: h("i", { class: "meter", hidden: true }, h("b", {})), reason: h("span", { class: "reason" }) };
    parts.lane = cell("c-lane");
    parts.time = cell("c-time");
    parts.added = cell("c-added");
    parts.why = cell("c-why", parts.bar, parts.reason);
    const row = h("div", { role: "row", class: "row" }, cell("c-pick", pick), cell("c-status", parts.chip), cell("c-task", parts.link), parts.lane, parts.time, parts.why, parts.added);
    row.parts = parts;
    return row;
  }

  #forget() {
    for (const row of this.#shown.values()) row.remove();
    this.#shown.clear();
  }

  #tick() {
    for (const row of this.#shown.values()) fillRow(row.parts, row.task);
  }

  #pick(box) {
    const id = box.closest(".row")?.dataset.id;
    if (id) this.select(id, box.checked);
  }

  select(id, on = !this.selected.has(id)) {
    if (on) this.selected.add(id);
    else this.selected.delete(id);
    this.draw();
    this.dispatchEvent(new Event("select"));
  }

  clear() {
    this.selected.clear();
    this.cursor = null;
    this.draw();
    this.dispatchEvent(new Event("select"));
  }

  /** Move the cursor by so many rows and see to it that it is seen. */
  move(by) {
    if (!this.items.length) return;
    const at = this.items.findIndex((task) => task.task_id === this.cursor);
    const next = at < 0 ? 0 : Math.max(0, Math.min(this.items.length - 1, at + by));
    this.cursor = this.items[next].task_id;
    const height = this.#height;
    const y = this.body.getBoundingClientRect().top + next * height;
    if (y < 90) scrollBy(0, y - 90);
    else if (y + height * 2 > innerHeight) scrollBy(0, y + height * 2 - innerHeight);
    this.#draw();
    this.#shown.get(this.cursor)?.parts.link.focus({ preventScroll: true });
  }

  get current() {
    return this.items.find((task) => task.task_id === this.cursor) ?? null;
  }
}
customElements.define("tf-rows", TaskRows);

function fillRow(parts, task) {
  if (parts.chip.textContent !== task.status) {
    parts.chip.className = `chip ${task.status}`;
    put(parts.chip, task.status);
  }
  put(parts.link, short(task.func_name));
  mark(parts.link, "href", address(task.task_id));
  mark(parts.link, "title", titleOf(task));
  if (parts.pick) mark(parts.pick, "aria-label", `select ${short(task.func_name)} ${task.task_id}`);
  put(parts.lane, task.lane);
  put(parts.time, timing(task));
  const progress = task.status === "running" ? progressOf(task) : null;
  parts.bar.hidden = progress === null || progress.share === null;
  if (!parts.bar.hidden) parts.bar.firstChild.style.width = `${progress.share * 100}%`;
  put(parts.reason, why(task));
  mark(parts.why, "title", task.error ? String(task.error).slice(0, 1000) : null);
  put(parts.added, ago(task.created_at));
  mark(parts.added, "title", stamp(task.created_at));
}
