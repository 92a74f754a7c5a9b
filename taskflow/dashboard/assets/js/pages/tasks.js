// The tasks of a query, live. The address is the only state; dead letters are such a page too.

import { API, maybe, path, post } from "../api.js";
import { bulkButton } from "../bulk.js";
import { act, toast } from "../dialogs.js";
import { h, keyed, mark, put, redraw } from "../dom.js";
import { count, plural, time } from "../format.js";
import { TaskList } from "../list.js";
import { Page } from "../page.js";
import "../querybar.js";
import { go, link, place, word } from "../router.js";
import "../rows.js";
import { state } from "../store.js";
import { address, FINAL, STATUSES } from "../tasks.js";
import { lesson, LESSON } from "./overview.js";

const SOON = 1000;
const COUNTS = 2000;
const AT_ONCE = 4;
const kept = new Map(); // list and place of the pages before, for the way back
const MOST_KEPT = 5;

const statusOf = (query) => /(?:^|\s)status:([a-z,]+)(?=\s|$)/.exec(query)?.[1] ?? "";
const withStatus = (query, status) => [query.replace(/(^|\s)-?status:\S+/g, " ").trim().replace(/\s+/g, " "), status ? `status:${status}` : ""].filter(Boolean).reverse().join(" ");

export class TasksPage extends Page {
  #counts = null;
  #later = new Map();

  get heading() {
    return "Tasks";
  }

  get page() {
    return "tasks";
  }

  /** What all that is shown here is, whatever the query bar says. */
  get base() {
    return "";
  }

  get query() {
    return [this.base, this.bar.value].filter(Boolean).join(" ");
  }

  connectedCallback() {
    this.bar = document.createElement("tf-query");
    this.chips = h("nav", { class: "chips", "aria-label": "Tasks by status" });
    this.about = h("span", { class: "muted about" });
    this.news = h("button", { type: "button", class: "news", hidden: true });
    this.rows = document.createElement("tf-rows");
    this.empty = h("div", { class: "empty", hidden: true });
    this.foot = h("p", { class: "foot muted" });
    this.tools = h("div", { class: "tools acts" });
    this.append(h("h1", { class: "away" }, this.heading), ...this.intro(), this.bar, h("p", { class: "query-help bad", role: "status" }),
      h("div", { class: "above" }, this.chips, this.about, this.news), this.tools, h("section", { class: "panel flush", "aria-label": "Tasks" }, this.rows, this.empty, this.foot));
    this.bar.addEventListener("query", () => go(link(this.page, { query: this.bar.value }), true));
    this.rows.addEventListener("near-end", () => this.#more());
    this.rows.addEventListener("select", () => this.#acts());
    this.news.addEventListener("click", () => { this.rows.clear(); scrollTo(0, 0); this.#show(this.list.release()); });
    this.on("tasks", (news) => this.#hear(news));
    this.on("refresh", () => this.#soon("refresh", 0, () => this.refresh()));
    this.on("metrics", () => this.#soon("counts", COUNTS, () => this.#count()));
    this.on("key", (key) => this.#key(key));
    this.listen(window, "scroll", () => this.list.held && !this.#holds() && this.#show(this.list.release()), { passive: true });
    this.keep(() => this.#later.forEach(clearTimeout));
    this.arrive({ back: true });
  }

  intro() {
    return [];
  }

  /** The address has changed. */
  arrive({ back = false } = {}) {
    this.#keep();
    const { query = "" } = place().query;
    this.bar.value = query;
    const before = back ? kept.get(this.query) : null;
    this.list = before?.list ?? new TaskList(this.query);
    this.rows.clear();
    this.bar.complain("");
    this.shown = this.query;
    this.#drawChips();
    if (before) {
      this.#show([]);
      requestAnimationFrame(() => scrollTo(0, before.y));
    } else {
      this.#show([]); // nothing of another query stands under this one
      if (!back) scrollTo(0, 0);
    }
    this.#acts();
    this.refresh();
  }

  #keep() {
    if (!this.list?.loaded) return;
    kept.delete(this.shown);
    kept.set(this.shown, { list: this.list, y: scrollY });
    if (kept.size > MOST_KEPT) kept.delete(kept.keys().next().value);
  }

  disconnectedCallback() {
    this.#keep();
    super.disconnectedCallback();
  }

  #soon(name, ms, run) {
    if (this.#later.has(name)) return;
    this.#later.set(name, setTimeout(() => { this.#later.delete(name); run(); }, ms));
  }

  /** Whether rows should stay where they are: somebody works with them. */
  #holds() {
    return scrollY > 60 || this.rows.selected.size > 0 || this.rows.cursor !== null;
  }

  async load() {
    const list = this.list;
    try {
      const changed = await list.refresh(this.#holds());
      if (list !== this.list) return;
      this.bar.complain("");
      this.#show(changed);
    } catch (error) {
      if (list !== this.list) return;
      if (error.status === 422) return this.bar.complain(error.message);
      throw error;
    }
    this.#count();
  }

  #hear({ tasks, more }) {
    const { changed, unsure } = this.list.hear(tasks, this.#holds());
    this.#show(changed);
    if (unsure || more) this.#soon("refresh", SOON, () => this.refresh());
    this.#soon("counts", COUNTS, () => this.#count());
  }

  async #more() {
    const list = this.list;
    if (!list.loaded || !list.cursor) return;
    try {
      // A page may come back empty: so much was looked at without a hit. The reader says go on then.
      if (await list.more()) this.#show([]);
    } catch (error) {
      toast(error.message, "bad");
    }
    if (list === this.list) this.#foot();
  }

  #show(changed) {
    this.rows.show(this.list.items, changed);
    put(this.news, `${count(this.list.held)} new`);
    this.news.hidden = this.list.held === 0;
    const nothing = this.list.loaded && this.list.items.length === 0;
    redraw(this.empty, [nothing, this.query, state.metrics?.total === 0, Boolean(this.list.cursor)], ([none, query, first, goesOn]) => {
      if (!none) return null;
      if (first && !this.bar.value) return lesson("No task has been added yet. This makes the first one", LESSON);
      return h("p", {}, goesOn ? "None so far. " : this.base && !this.bar.value ? "Nothing here: no task has failed for good. " : "No task matches. ", query !== this.base ? h("a", { href: link(this.page) }, "Show all") : "");
    });
    this.#foot();
  }

  #foot() {
    const { items, cursor, searchedTo, loaded } = this.list;
    redraw(this.foot, [items.length, cursor, searchedTo, loaded], () => {
      if (!loaded) return "Looking…";
      if (searchedTo) return ["Searched back to ", time(searchedTo, true), "; ", h("button", { type: "button", class: "link", onclick: () => this.#more() }, "search on"), "."];
      return cursor ? `${plural(items.length, "task")} so far` : items.length ? `${plural(items.length, "task")}, all there are` : "";
    });
  }

  async #count() {
    const query = this.query;
    const found = await maybe(["counts"], { query: withStatus(query, "") }).catch(() => undefined);
    if (query !== this.query) return;
    if (found) this.#counts = found;
    else if (found === null && !withStatus(query, "")) this.#counts = { counts: state.metrics?.counts ?? {}, total: state.metrics?.total ?? 0, complete: true };
    this.#drawChips();
  }

  #drawChips() {
    const chosen = statusOf(this.query);
    const counts = this.#counts?.counts;
    const known = this.base ? statusOf(this.base).split(",") : STATUSES;
    const all = this.base ? known.reduce((sum, status) => sum + (counts?.[status] ?? 0), 0) : this.#counts?.total;
    const doors = [["", "all", all], ...known.map((status) => [status, status, counts?.[status]])];
    const more = this.#counts && !this.#counts.complete ? "+" : "";
    keyed(this.chips, doors, ([status]) => status || "all", ([status]) => h("a", { class: `chip ${status || "all"}` }, h("span", {}), " ", h("b", {})), (anchor, [status, name, n]) => {
      put(anchor.children[0], name);
      put(anchor.children[1], n === undefined ? "" : `${count(n)}${more}`);
      anchor.classList.toggle("none", !n && !chosen.includes(status || "-"));
      mark(anchor, "href", link(this.page, { query: this.base ? withStatus(this.bar.value, status) : withStatus(this.query, status) }));
      mark(anchor, "aria-current", (this.base && !this.bar.value.includes("status:") ? "" : chosen) === status ? "true" : null);
    });
  }

  /** What can be done with the selected ones, or with all that match. */
  #acts() {
    const query = this.query;
    const ids = [...this.rows.selected];
    redraw(this.tools, [query, ids, this.base], () => {
      if (ids.length) {
        const each = (action) => () => this.#each(action, ids);
        return [h("b", {}, `${plural(ids.length, "task")} selected`), act("Run again", each("retry")), this.base ? null : act("Cancel", each("cancel")), act("Discard", each("discard")),
          h("button", { type: "button", class: "quiet", onclick: () => this.rows.clear() }, "Clear")];
      }
      const after = () => this.refresh();
      const file = (format) => h("a", { href: new URL(path(["export"], { query, format }), API).pathname + new URL(path(["export"], { query, format }), API).search, download: "" }, format.toUpperCase());
      const all = query ? [h("span", { class: "muted" }, "All that match:"), bulkButton("Retry", "retry", query, after), this.base ? null : bulkButton("Cancel", "cancel", query, after), bulkButton("Discard", "discard", query, after)]
        : [h("span", { class: "muted wide-only" }, "Filter, to act on all that match.")];
      return [...all, h("span", { class: "export" }, h("span", { class: "muted" }, "Export"), file("csv"), file("ndjson"))];
    });
  }

  async #each(action, ids) {
    let done = 0;
    const refused = [];
    const rest = [...ids];
    await Promise.all(Array.from({ length: AT_ONCE }, async () => {
      while (rest.length) {
        try {
          await post([rest.shift(), action]);
          done += 1;
        } catch (error) {
          refused.push(error.message);
        }
      }
    }));
    if (done) toast(`${action}: ${plural(done, "task")}.`, "good");
    if (refused.length) toast(`${count(refused.length)} refused: ${refused[0]}`, "bad");
    this.rows.clear();
    this.refresh();
  }

  #key({ key, taken }) {
    const task = this.rows.current;
    if (key === "/") { taken(); this.bar.focus(); }
    else if (key === "j" || key === "k") { taken(); this.rows.move(key === "j" ? 1 : -1); }
    else if (key === "Enter" && task && document.activeElement === document.body) go(address(task.task_id));
    else if (key === "x" && task && state.me.role !== "view") this.rows.select(task.task_id);
    else if (key === "r" && task && state.me.role !== "view") {
      if (FINAL.has(task.status)) this.#each("retry", [task.task_id]);
      else toast(`It is ${task.status}: only what has ended can be run again.`);
    } else if (key === "Escape") { this.rows.clear(); document.activeElement?.blur?.(); this.#show(this.list.release()); }
  }
}
customElements.define("tf-tasks", TasksPage);
export { word };
