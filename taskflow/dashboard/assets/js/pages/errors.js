// Failures by what went wrong: each group with its trend, its tasks and what to do with all of them.

import { maybe } from "../api.js";
import { h, keyed, put, redraw } from "../dom.js";
import { plural } from "../format.js";
import { groupCard, total } from "../groups.js";
import { Page } from "../page.js";
import { go, link, place } from "../router.js";
import { state } from "../store.js";

const SLOW = 5000;
const HOURS = { 1: "hour", 6: "6 hours", 24: "24 hours", 168: "7 days" };
const ORDERS = { last: "newest first", count: "most first" };

export class ErrorsPage extends Page {
  get heading() {
    return "Errors";
  }

  connectedCallback() {
    this.said = h("h1", { class: "sentence", "aria-live": "polite" }, "\u00a0");
    const choose = (name, label, options) => h("select", { "aria-label": label, onchange: (event) => go(link("errors", { ...place().query, [name]: event.target.value }), true) },
      Object.entries(options).map(([value, words]) => h("option", { value }, name === "hours" ? `last ${words}` : words)));
    this.hours = choose("hours", "How far back", HOURS);
    this.order = choose("order", "Order", ORDERS);
    this.groups = h("section", { class: "stack", "aria-label": "Groups" });
    this.empty = h("p", { class: "muted", hidden: true });
    this.append(this.said, h("div", { class: "tools" }, this.hours, this.order), this.groups, this.empty);
    this.on("refresh", (why) => why !== "look" && this.refresh());
    this.every(SLOW, () => state.paused || this.refresh());
    this.arrive();
  }

  arrive() {
    const { hours, order } = place().query;
    this.hours.value = HOURS[hours] ? hours : "24";
    this.order.value = ORDERS[order] ? order : "last";
    this.refresh();
  }

  async load() {
    const found = await maybe(["errors"], { hours: this.hours.value });
    if (!this.isConnected) return;
    const groups = found?.items ?? [];
    if (this.order.value === "count") groups.sort((a, b) => b.count - a.count);
    redraw(this.said, [groups.length, total(groups), this.hours.value, found === null], () => (found === null ? ["This app does not group errors. ", h("a", { href: link("tasks", { query: "status:failed" }) }, "Tasks that failed")]
      : groups.length ? [`${total(groups)} failed in the last ${HOURS[this.hours.value]}, in ${plural(groups.length, "group")}.`] : [`Nothing has failed for good in the last ${HOURS[this.hours.value]}.`]));
    keyed(this.groups, groups, (group) => group.fingerprint, () => h("div", {}), (node, group) => redraw(node, [group, Number(this.hours.value)], ([one, hours]) => groupCard(one, hours, () => this.refresh())));
    put(this.empty, "");
  }
}
customElements.define("tf-errors", ErrorsPage);
