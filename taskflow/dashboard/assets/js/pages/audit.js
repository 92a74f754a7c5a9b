// Who changed what, newest first.

import { get } from "../api.js";
import { h, keyed, put, redraw } from "../dom.js";
import { plural, time } from "../format.js";
import { Page } from "../page.js";
import { task } from "../router.js";
import { state } from "../store.js";

const SLOW = 5000;
const SIZE = 100;
const TASK = /^[0-9a-f]{8}[0-9a-f-]{8,}$/;

const words = (detail) => (detail === null || detail === undefined || detail === "" ? "" : typeof detail === "string" ? detail : JSON.stringify(detail));

export class AuditPage extends Page {
  #older = [];
  #cursor = null;

  get heading() {
    return "Audit";
  }

  connectedCallback() {
    this.said = h("h1", { class: "sentence" }, "\u00a0");
    this.body = h("tbody", {});
    this.table = h("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": "Actions" }, h("table", { class: "audit" }, h("thead", {}, h("tr", {}, ["when", "who", "what", "on what", "", "detail"].map((name) => h("th", { scope: "col" }, name || h("span", { class: "away" }, "result"))))), this.body));
    this.foot = h("p", { class: "foot muted" });
    this.append(this.said, h("section", { class: "panel", "aria-label": "Audit" }, this.table, this.foot));
    this.on("refresh", (why) => why !== "look" && this.refresh());
    this.every(SLOW, () => state.paused || this.refresh());
    this.refresh();
  }

  arrive() {}

  async load() {
    let page;
    try {
      page = await get(["audit"], { limit: SIZE });
    } catch (error) {
      if (error.status !== 404) throw error;
      put(this.said, "This app keeps no record of who changed what.");
      this.table.hidden = true;
      return;
    }
    if (!this.isConnected) return;
    if (!this.#older.length) this.#cursor = page.next_cursor;
    this.#show([...page.items, ...this.#older]);
  }

  #show(items) {
    // Rows have no number: what is equal in all is told apart by how many of its kind came before.
    const seen = new Map();
    const rows = [...items].reverse().map((item) => {
      const key = JSON.stringify([item.at, item.user, item.action, item.target, item.ok]);
      seen.set(key, (seen.get(key) ?? 0) + 1);
      return { ...item, key: `${key}${seen.get(key)}` };
    }).reverse();
    const unique = [...new Map(rows.map((row) => [row.key, row])).values()];
    put(this.said, unique.length ? `${plural(unique.length, "action")}${this.#cursor ? ", the newest" : ""}.` : "Nothing was changed over the API so far.");
    this.table.hidden = unique.length === 0;
    keyed(this.body, unique, (row) => row.key, (row) => h("tr", {}, h("td", { class: "when" }, time(row.at)), h("td", {}, row.user ?? h("span", { class: "muted" }, "anybody here")), h("td", { class: "mono" }, row.action),
      h("td", { class: "mono" }, TASK.test(row.target ?? "") ? h("a", { href: task(row.target) }, row.target) : row.target ?? ""), h("td", {}, row.ok ? h("span", { class: "muted" }, "done") : h("span", { class: "bad" }, "refused")), h("td", { class: "mono detail" }, words(row.detail).slice(0, 2000))));
    redraw(this.foot, this.#cursor, (cursor) => (cursor ? h("button", { type: "button", onclick: () => this.#more() }, "Older") : null));
  }

  async #more() {
    const page = await get(["audit"], { limit: SIZE, cursor: this.#cursor });
    this.#older.push(...page.items);
    this.#cursor = page.next_cursor;
    await this.refresh();
  }
}
customElements.define("tf-audit", AuditPage);
