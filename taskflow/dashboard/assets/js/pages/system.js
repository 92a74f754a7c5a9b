// The system: versions, the store, settings with where they come from, instances.

import { get } from "../api.js";
import { chip, h, put, redraw } from "../dom.js";
import { bytes, count, plural, span, time } from "../format.js";
import { Page } from "../page.js";
import { tasks, word } from "../router.js";
import { state } from "../store.js";

const SLOW = 5000;
const pairs = (rows) => h("dl", { class: "pairs" }, rows.filter(([, value]) => value !== null && value !== undefined && value !== "").flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]));

export class SystemPage extends Page {
  get heading() {
    return "System";
  }

  connectedCallback() {
    this.said = h("h1", { class: "sentence", "aria-live": "polite" }, "\u00a0");
    const panel = (name) => h("section", { class: "panel", "aria-label": name, hidden: true });
    this.health = panel("Health");
    this.app = panel("This instance");
    this.store = panel("Store");
    this.instances = panel("Instances");
    this.settings = panel("Settings");
    this.append(this.said, h("div", { class: "columns even" }, h("div", {}, this.app, this.store), h("div", {}, this.health, this.instances)), this.settings);
    this.on("refresh", (why) => why !== "look" && this.refresh());
    this.every(SLOW, () => state.paused || this.refresh());
    this.refresh();
  }

  arrive() {}

  async load() {
    const [system, health] = await Promise.all([get(["system"]).catch((error) => { if (error.status === 404) return null; throw error; }), get(["health"]).catch((error) => (error.status === 503 ? { status: "down", checks: [{ name: "instance", ok: false, detail: error.message }] } : null))]);
    if (!this.isConnected) return;
    if (health) {
      const bad = health.checks.filter((check) => !check.ok);
      put(this.said, bad.length ? `This instance is ${health.status}: ${bad.map((check) => check.detail ?? check.name).join("; ")}.` : "This instance is ready and well.");
      redraw(this.health, health.checks, (checks) => [h("h2", {}, "Health"), h("table", {}, h("tbody", {}, checks.map((check) => h("tr", {}, h("td", {}, check.name), h("td", {}, check.ok ? chip("success", "ok") : chip("failed", "not ok")), h("td", { class: "muted" }, check.detail ?? "")))))]);
    }
    if (system) this.#show(system);
    else put(this.said, "This app tells nothing of its system.");
  }

  #show(system) {
    const { store } = system;
    redraw(this.app, [system.taskflow, system.instance, system.pid, system.started_at], () => [h("h2", {}, "This instance"), pairs([["instance", h("a", { class: "mono", href: tasks(word("instance", system.instance)) }, system.instance)], ["host", h("span", { class: "mono" }, system.host)],
      ["process", String(system.pid)], ["started", time(system.started_at)], ["taskflow", system.taskflow], ["python", system.python], ["fastapi", system.fastapi], ["uvicorn", system.uvicorn], ["sqlite", system.sqlite], ["platform", system.platform]])]);
    redraw(this.store, store, () => [h("h2", {}, "Store"), pairs([["takes writes", store.ok ? chip("success", "yes") : chip("failed", "no")], ["trouble", store.trouble ? h("span", { class: "bad" }, store.trouble) : null], ["where", h("span", { class: "mono" }, store.url)],
      ["database", bytes(store.database_bytes)], ["write-ahead log", bytes(store.wal_bytes)], ["free on its disk", bytes(store.free_bytes)],
      ["commits", store.commit_ms ? `${count(store.commit_ms.count)}: p50 ${ms(store.commit_ms.p50)}, p95 ${ms(store.commit_ms.p95)}, p99 ${ms(store.commit_ms.p99)}` : null]])]);
    redraw(this.instances, system.instances, (all) => [h("h2", {}, plural(all.length, "instance")), h("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": "Instances" }, h("table", {}, h("thead", {}, h("tr", {}, ["instance", "host", "process", "started", "state"].map((name) => h("th", { scope: "col" }, name)))),
      h("tbody", {}, all.map((it) => h("tr", {}, h("td", {}, h("a", { class: "mono", href: tasks(word("instance", it.id)), title: it.id }, it.id.slice(0, 12))), h("td", { class: "mono" }, it.host ?? "–"), h("td", { class: "number" }, it.pid ?? "–"), h("td", {}, it.started_at ? time(it.started_at) : "–"),
        h("td", {}, it.alive ? chip("success", it.self ? "this one" : "alive") : chip("waiting", "ended")))))))]);
    redraw(this.settings, system.settings, (all) => [h("h2", {}, "Settings"), h("p", { class: "muted" }, `${plural(all.filter((it) => it.source !== "default").length, "setting")} of ${all.length} differ from the default.`),
      h("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": "Settings" }, h("table", { class: "settings" }, h("thead", {}, h("tr", {}, ["name", "value", "from", "default", "what it is"].map((name) => h("th", { scope: "col" }, name)))),
        h("tbody", {}, all.map((it) => h("tr", { class: it.source === "default" ? "" : "set" }, h("td", { class: "mono" }, it.name), h("td", { class: "mono" }, String(it.value ?? "")), h("td", {}, it.source), h("td", { class: "mono muted" }, String(it.default ?? "")), h("td", { class: "muted" }, it.help ?? ""))))))]);
  }
}
customElements.define("tf-system", SystemPage);

const ms = (value) => (value === null || value === undefined ? "–" : span(value / 1000));
