// The overview: what is going on, lane by lane, and what went wrong.

import { get, maybe } from "../api.js";
import { lag, throughput } from "../chart.js";
import { copier } from "../dialogs.js";
import { h, keyed, panel, redraw } from "../dom.js";
import { count, plural, rate, short, span, stamp, time } from "../format.js";
import { shortRow } from "../groups.js";
import "../lanecard.js";
import { Page } from "../page.js";
import { go, link, place, task, tasks, word } from "../router.js";
import { sentence, stopped, waitingIn } from "../sentence.js";
import { seedSparks, sparks, state } from "../store.js";

export const LESSON = `@task_manager.task(retries=3)
def send_welcome_email(email: str): ...

@app.post("/signup")
def signup(email: str, background_tasks: BackgroundTasks):
    background_tasks.add_task(send_welcome_email, email=email)`;
const SPANS = { "15m": [900, "15 min"], "1h": [3600, "hour"], "6h": [21600, "6 hours"], "24h": [86400, "24 hours"], "7d": [604800, "7 days"], "30d": [2592000, "30 days"] };
const SLOW = 15_000;
const SOON = 1000;
const TOP = 5;

/** What to write when there is nothing yet. */
export const lesson = (title, text) => h("div", { class: "lesson" }, h("h2", {}, title), h("div", { class: "code" }, h("pre", { tabindex: "0" }, text), copier("Copy", () => text)));

export class OverviewPage extends Page {
  #running = new Map();
  #hour = null;
  #failed = null;
  #soon = 0;

  get heading() {
    return "Overview";
  }

  connectedCallback() {
    this.said = h("h1", { class: "sentence", "aria-live": "polite" }, "\u00a0");
    this.lesson = h("section", { class: "panel", hidden: true });
    this.lanes = h("section", { class: "lanes", "aria-label": "Lanes" });
    this.chart = h("section", { class: "panel wide", hidden: true });
    this.lag = h("section", { class: "panel", hidden: true });
    this.errors = h("section", { class: "panel wide", hidden: true });
    this.schedules = h("section", { class: "panel", hidden: true });
    this.queues = h("section", { class: "panel full", hidden: true });
    this.append(this.said, this.lesson, this.lanes, h("div", { class: "board" }, this.chart, this.lag, this.errors, this.schedules, this.queues));
    this.on("board", (board) => { this.#board(board); this.#sentence(); });
    this.on("metrics", (metrics) => { this.#failures(metrics); this.#sentence(); });
    this.on("tasks", ({ tasks: news }) => this.#hear(news));
    this.on("refresh", (why) => why !== "look" && this.refresh());
    this.on("clock", () => this.#slow());
    this.every(SLOW, () => state.paused || this.#slow());
    if (state.board) this.#board(state.board);
    this.refresh();
  }

  arrive() {
    this.#slow();
  }

  /** Ask for the groups of errors again where another task has failed. */
  #failures(metrics) {
    const failed = metrics.counts.failed + metrics.counts.interrupted;
    if (failed === this.#failed) return;
    const first = this.#failed === null;
    this.#failed = failed;
    if (!first) this.#soon ||= setTimeout(() => { this.#soon = 0; if (this.isConnected) this.#groups(); }, SOON);
  }

  async #groups() {
    const [errors, hour] = await Promise.all([24, 1].map((hours) => maybe(["errors"], { hours }).catch(() => undefined)));
    if (!this.isConnected || !errors) return;
    this.#hour = hour ?? null;
    this.#errors(errors.items);
    this.#sentence();
  }

  #hear(news) {
    for (const it of news) {
      if (it.status === "running") this.#running.set(it.task_id, it);
      else this.#running.delete(it.task_id);
    }
  }

  async load() {
    const [board, metrics, running] = await Promise.all([get(["lanes"]), get(["metrics"]), get([], { status: "running", limit: 50 })]);
    state.board = board;
    state.metrics = metrics;
    this.#running = new Map(running.items.map((it) => [it.task_id, it]));
    this.#board(board);
    await this.#slow();
    this.#sentence();
  }

  async #slow() {
    const span = this.#span();
    const look = (parts, query) => maybe(parts, query).catch(() => undefined);
    const [history, recent, errors, hour, schedules] = await Promise.all([
      look(["history"], { span }), sparks.size && [...sparks.values()].every((line) => line.length > 30) ? null : look(["history"], { span: "15m" }),
      look(["errors"], { hours: 24 }), look(["errors"], { hours: 1 }), look(["schedules"], { limit: 50 }),
    ]);
    if (!this.isConnected) return;
    if (recent) seedSparks(recent);
    this.#hour = hour ?? null;
    if (history) this.#history({ ...history, span: SPANS[span][0] }, span);
    if (errors) this.#errors(errors.items);
    if (schedules) this.#schedules(schedules.items);
    this.#sentence();
  }

  #span() {
    const { span } = place().query;
    return SPANS[span] ? span : "1h";
  }

  #sentence() {
    const { board, metrics } = state;
    if (!board || !metrics) return;
    redraw(this.said, [metrics.total === 0, metrics.counts.running, metrics.counts.pending, metrics.counts.retrying, metrics.counts.failed, metrics.store,
      board.items.map((lane) => [waitingIn(lane), lane.running >= lane.limit, lane.stuck, stopped(lane), span(lane.oldest_age), rate(lane.throughput)]), this.#hour?.items.map((g) => [g.fingerprint, g.count])],
      () => sentence(metrics, board, this.#hour));
    redraw(this.lesson, metrics.total === 0, (empty) => (empty ? lesson("This makes the first one", LESSON) : null));
  }

  #board(board) {
    keyed(this.lanes, board.items, (lane) => lane.name, () => document.createElement("tf-lane"), (card, lane) => card.update(lane, board, this.#running));
    redraw(this.queues, board.queues, (queues) => {
      const shown = queues.items.filter((queue) => queue.concurrency || queue.max_size || queue.rate || queue.paused).slice(0, 8);
      if (!shown.length) return null;
      return [h("h2", {}, "Queues with limits"), h("div", { class: "scroll" }, h("table", {}, h("thead", {}, h("tr", {}, ["queue", "running", "waiting", "held by a key", "rate", ""].map((text, i) => h("th", { scope: "col", class: i && i < 5 ? "number" : "" }, text || h("span", { class: "away" }, "state"))))),
        h("tbody", {}, shown.map((queue) => h("tr", {}, h("td", {}, h("a", { class: "mono", href: tasks(word("queue", queue.name)) }, queue.name)),
          h("td", { class: "number" }, queue.concurrency ? `${count(queue.running)} of ${count(queue.concurrency)}` : count(queue.running)),
          h("td", { class: "number" }, queue.max_size ? `${count(queue.waiting)} of ${count(queue.max_size)}` : count(queue.waiting)), h("td", { class: "number" }, count(queue.blocked)), h("td", { class: "number" }, queue.rate ?? "–"),
          h("td", {}, queue.paused ? h("span", { class: "chip waiting" }, "paused") : queue.opens_at ? ["opens ", time(queue.opens_at)] : ""))))))];
    });
    redraw(this.stall ??= h("div", {}), [board.loop.stalls[0] ?? null, board.loop.stall_threshold], ([stall, threshold]) => (stall
      ? h("p", { class: "why" }, h("b", {}, `${span(stall.duration)} `), time(stall.at), " in ", h("code", {}, stall.culprit), ". ", stall.hint, " ", h("a", { href: link("lanes", {}) }, "Where it was"))
      : h("p", { class: "why" }, threshold === null ? "Stalls are not recorded." : `No stall longer than ${span(threshold)} is known.`)));
  }

  #history(history, chosen) {
    const choice = () => h("select", { "aria-label": "How far back", onchange: (event) => go(link("overview", { span: event.target.value === "1h" ? "" : event.target.value }), true) },
      Object.entries(SPANS).map(([name, [, words]]) => h("option", { value: name, selected: name === chosen }, `last ${words}`)));
    if (!this.choice) this.choice = choice();
    this.choice.value = chosen;
    const ended = history.points.reduce((sum, point) => sum + point.ended, 0);
    const failed = history.points.reduce((sum, point) => sum + point.failed, 0);
    const restarts = history.restarts?.length ?? 0;
    this.chart.hidden = this.lag.hidden = false;
    this.chart.replaceChildren(h("div", { class: "tools" }, h("h2", {}, "Finished"), h("span", { class: "muted" }, `${plural(ended, "attempt")}, ${count(failed)} failed${restarts ? `, ${plural(restarts, "start")} of an instance` : ""}`), this.choice),
      throughput(history, this.#room(this.chart)));
    const threshold = state.board?.loop.stall_threshold ?? null;
    this.lag.replaceChildren(h("div", { class: "tools" }, h("h2", {}, "Event loop lag"), h("span", { class: "muted" }, `p99 now ${span(state.board?.loop.lag.p99)}`)), lag(history, this.#room(this.lag), threshold, span), this.stall ?? "");
  }

  #room(panel) {
    return Math.max(240, panel.clientWidth - 34);
  }

  #errors(groups) {
    redraw(this.errors, groups.slice(0, TOP), (shown) => [h("div", { class: "tools" }, h("h2", {}, "Failures, grouped"), h("a", { href: link("errors") }, shown.length ? `all ${plural(groups.length, "group")}` : "")),
      shown.length ? h("table", { class: "groups" }, h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "error"), h("th", { scope: "col" }, "task"), h("th", { scope: "col", class: "number" }, "tasks"), h("th", { scope: "col", class: "number" }, "last"), h("td", {}))),
        h("tbody", {}, shown.map((group) => shortRow(group, () => this.refresh())))) : h("p", { class: "muted" }, "Nothing has failed for good in the last 24 hours.")]);
  }

  #schedules(items) {
    const next = items.filter((it) => it.next_runs.length).sort((a, b) => (a.next_runs[0].at < b.next_runs[0].at ? -1 : 1)).slice(0, TOP);
    redraw(this.schedules, next.map((it) => [it.name, it.words, it.next_runs[0].at]), (rows) => [h("div", { class: "tools" }, h("h2", {}, "Next schedules"), h("a", { href: link("schedules") }, items.length ? `all ${count(items.length)}` : "")),
      rows.length ? h("table", { class: "next" }, h("tbody", {}, rows.map(([name, words, at]) => h("tr", {}, h("td", {}, h("a", { class: "mono", href: link("schedules", { name }), title: name }, short(name))), h("td", {}, words), h("td", { class: "number", title: stamp(at) }, time(at)))))) : h("p", { class: "muted" }, "None is declared.")]);
  }
}
customElements.define("tf-overview", OverviewPage);

export { panel, task };
