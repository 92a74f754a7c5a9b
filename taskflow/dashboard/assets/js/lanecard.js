// A lane as a picture: slots that fill, what waits and for how long, who works.

import { h, keyed, mark, put, redraw } from "./dom.js";
import { bytes, count, percent, plural, rate, short, span } from "./format.js";
import { link, task, tasks } from "./router.js";
import { waitingIn, whyLine } from "./sentence.js";
import { sparks } from "./store.js";
import { progressOf } from "./tasks.js";
import "./chart.js";

const ONE = { threads: "thread", processes: "process" };
const MOST_SLOTS = 24;

/** `{node, update(lane, tasks)}`: `tasks` has what is known of running tasks, by id. */
export class LaneCard extends HTMLElement {
  connectedCallback() {
    if (this.slots) return;
    this.classList.add("panel", "lane");
    this.slots = h("div", { class: "slots", role: "img" });
    this.facts = {};
    const fact = (key, name) => [h("dt", {}, name), this.facts[key] = h("dd", {})];
    this.headline = { name: h("a", { class: "name" }), kind: h("span", { class: "muted" }), busy: h("a", { class: "busy plain" }) };
    this.times = h("tbody", {});
    this.spark = document.createElement("tf-spark");
    this.workers = h("table", { class: "workers" });
    this.why = h("p", { class: "why" });
    this.append(
      h("h2", { class: "top" }, this.headline.name, this.headline.kind, this.headline.busy),
      this.slots,
      h("dl", { class: "facts" }, fact("waiting", "waiting"), fact("oldest", "oldest"), fact("done", "done"), fact("last", "cpu")),
      h("table", { class: "times" }, h("thead", {}, h("tr", {}, h("td", {}, "last minute"), ["p50", "p95", "p99"].map((text) => h("th", { scope: "col" }, text)))), this.times),
      this.spark, this.workers, this.why,
    );
  }

  update(lane, board, running = new Map()) {
    const { name, kind, busy } = this.headline;
    put(name, lane.name);
    mark(name, "href", link("lanes", { lane: lane.name }));
    put(kind, lane.kind === "event loop" ? "event loop" : plural(lane.limit, ONE[lane.kind] ?? lane.kind, lane.kind));
    put(busy, `${count(lane.running)} of ${count(lane.limit)} busy`);
    mark(busy, "href", tasks(`lane:${lane.name} status:running`));
    this.#slots(lane);
    this.#facts(lane, board);
    this.spark.update(sparks.get(lane.name) ?? [], { words: `done a second; now ${rate(lane.throughput)}` });
    this.#workers(lane.workers ?? [], running);
    redraw(this.why, [lane.name, lane.running, lane.limit, waitingIn(lane), lane.brakes, lane.refusing, rate(lane.throughput), lane.blocked, lane.parked], () => whyLine(lane));
  }

  #slots(lane) {
    const drawn = Math.min(lane.limit, MOST_SLOTS);
    const filled = Math.min(drawn, Math.ceil((lane.running / Math.max(1, lane.limit)) * drawn));
    if (this.slots.children.length !== drawn) this.slots.replaceChildren(...Array.from({ length: drawn }, () => document.createElement("i")));
    [...this.slots.children].forEach((slot, i) => slot.classList.toggle("busy", i < filled));
    mark(this.slots, "aria-label", `${lane.running} of ${plural(lane.limit, "slot")} busy`);
    this.slots.classList.toggle("halted", Boolean(lane.refusing) || lane.brakes.length > 0);
  }

  #facts(lane, board) {
    const { waiting, oldest, done, last } = this.facts;
    redraw(waiting, [lane.name, waitingIn(lane)], ([name, n]) => h("a", { class: "plain", href: tasks(`lane:${name} status:pending`) }, count(n)));
    put(oldest, lane.oldest_age === null ? "none" : span(lane.oldest_age));
    put(done, rate(lane.throughput));
    const label = last.previousElementSibling;
    if (lane.workers) {
      put(label, "cpu");
      const known = lane.workers.filter((worker) => worker.cpu_percent !== null);
      put(last, known.length ? percent(known.reduce((sum, worker) => sum + worker.cpu_percent, 0)) : "–");
    } else if (lane.kind === "event loop") {
      put(label, "loop lag p99");
      put(last, span(board.loop.lag.p99));
    } else {
      put(label, "stuck");
      put(last, lane.stuck === null ? "–" : `${count(lane.stuck)} of ${count(lane.max_stuck)}`);
    }
    const rows = [["wait", lane.wait.last_minute], ["run", lane.run.last_minute]];
    keyed(this.times, rows, ([what]) => what, ([what]) => h("tr", {}, h("th", { scope: "row" }, what), h("td", {}), h("td", {}), h("td", {})),
      (row, [, d]) => [d.p50, d.p95, d.p99].forEach((value, i) => put(row.children[i + 1], span(value))));
  }

  #workers(workers, running) {
    this.workers.hidden = workers.length === 0;
    if (!this.workers.tBodies.length) {
      this.workers.append(h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "worker"), h("th", { scope: "col" }, "runs"), h("th", { scope: "col", class: "number" }, "cpu"), h("th", { scope: "col", class: "number" }, "memory"))), h("tbody", {}));
    }
    keyed(this.workers.tBodies[0], workers, (worker) => worker.pid,
      () => h("tr", {}, h("td", { class: "mono" }), h("td", { class: "runs" }, h("a", {}), h("span", { class: "muted" }), h("i", { class: "meter" }, h("b", {}))), h("td", { class: "number" }), h("td", { class: "number" })),
      (row, worker) => {
        const [pid, runs, cpu, memory] = row.children;
        const [anchor, idle, meter] = runs.children;
        put(pid, worker.pid);
        put(anchor, worker.task_id ? short(worker.func_name ?? worker.task_id) : "");
        mark(anchor, "href", worker.task_id ? task(worker.task_id) : null);
        put(idle, worker.task_id ? "" : worker.busy ? "starts" : "idle");
        const progress = worker.task_id ? progressOf(running.get(worker.task_id) ?? {}) : null;
        meter.firstChild.style.width = `${(progress?.share ?? 0) * 100}%`;
        meter.classList.toggle("none", progress?.share == null);
        put(cpu, percent(worker.cpu_percent));
        put(memory, bytes(worker.rss));
      });
  }
}
customElements.define("tf-lane", LaneCard);
