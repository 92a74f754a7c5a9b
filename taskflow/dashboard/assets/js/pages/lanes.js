// Lanes, queues and processes: every figure, and what a person may set while the app runs.

import { get, patch } from "../api.js";
import { act, toast } from "../dialogs.js";
import { h, keyed, put, redraw } from "../dom.js";
import { editFields } from "../edit.js";
import { bytes, count, percent, plural, rate, span, time } from "../format.js";
import "../lanecard.js";
import { Page } from "../page.js";
import { task, tasks, word } from "../router.js";
import { mayWrite, state } from "../store.js";

const cell = (text, kind = "number") => h("td", { class: kind }, text);
const heads = (names, left = 1) => h("thead", {}, h("tr", {}, names.map((name, i) => h("th", { scope: "col", class: i >= left ? "number" : "" }, name))));
const WHEN = [["last minute", "last_minute"], ["since the start", "since_start"]];

export class LanesPage extends Page {
  get heading() {
    return "Lanes and processes";
  }

  connectedCallback() {
    this.lanes = h("section", { class: "lanes", "aria-label": "Lanes" });
    const panel = (name) => h("section", { class: "panel", "aria-label": name });
    this.figures = panel("Figures of lanes");
    this.processes = panel("Processes");
    this.queues = panel("Queues");
    this.stalls = panel("Stalls of the event loop");
    this.append(h("h1", { class: "away" }, this.heading), this.lanes, this.figures, this.processes, this.queues, this.stalls);
    this.on("board", (board) => this.#show(board));
    this.on("refresh", (why) => why !== "look" && this.refresh());
    if (state.board) this.#show(state.board);
    this.refresh();
  }

  arrive() {}

  async load() {
    state.board = await get(["lanes"]);
    if (this.isConnected) this.#show(state.board);
  }

  #show(board) {
    keyed(this.lanes, board.items, (lane) => lane.name, () => h("div", { class: "with-tools" }, document.createElement("tf-lane"), mayWrite() ? h("p", { class: "buttons acts" }) : null), (node, lane) => {
      node.children[0].update(lane, board);
      if (node.children[1]) redraw(node.children[1], [lane.paused, lane.limit, lane.configured_limit], () => this.#controls(lane));
    });
    this.#figures(board);
    this.#processes(board);
    redraw(this.queues, board.queues, (queues) => this.#queues(queues));
    redraw(this.stalls, board.loop.stalls.map((stall) => stall.at).concat(board.loop.stall_threshold), () => this.#stalls(board.loop));
  }

  #controls(lane) {
    const set = async (changes, words) => {
      await patch(["lanes", lane.name], changes);
      toast(words, "good");
      await this.refresh();
    };
    const resize = () => editFields(`Slots of the ${lane.name} lane`, "It holds after a restart, and reaches the other instances within a second. Fewer slots interrupt nothing.",
      [{ name: "limit", label: "slots", value: lane.limit, number: true, help: `empty: as configured, ${count(lane.configured_limit)}` }],
      (changes) => set(changes, `The ${lane.name} lane has other slots now.`));
    return [act(lane.paused ? "Resume" : "Pause", () => set({ paused: !lane.paused }, `The ${lane.name} lane ${lane.paused ? "goes on" : "starts nothing more"}.`), { title: `${lane.paused ? "Let" : "Keep"} the ${lane.name} lane ${lane.paused ? "start tasks" : "from starting tasks"}` }),
      act("Set slots", resize), lane.limit === lane.configured_limit ? null : h("span", { class: "muted" }, `configured: ${count(lane.configured_limit)}`)];
  }

  #figures(board) {
    const rows = board.items.flatMap((lane) => WHEN.map(([words, when]) => ({ lane, words, when })));
    if (!this.figures.firstChild) {
      this.figureRows = h("tbody", {});
      this.countRows = h("tbody", {});
      this.figures.append(h("h2", {}, "Figures"),
        h("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": "Waiting and running times" }, h("table", {}, heads(["lane", "", "ended", "wait p50", "p95", "p99", "max", "run p50", "p95", "p99", "max"].map((name) => name || h("span", { class: "away" }, "when"))), this.figureRows)),
        h("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": "Counts" }, h("table", {}, heads(["lane", "slots", "running", "in memory", "on disk", "held by a key", "parked", "room", "free", "rate", "failed", "timed out", "crashed", "rejected", "stuck"]), this.countRows)));
    }
    keyed(this.figureRows, rows, (row) => `${row.lane.name} ${row.when}`, () => h("tr", {}, cell("", "mono"), cell("", "muted"), Array.from({ length: 9 }, () => cell(""))), (row, { lane, words, when }) => {
      const wait = lane.wait[when];
      const run = lane.run[when];
      [lane.name, words, count(run.count), ...["p50", "p95", "p99", "max"].map((key) => span(wait[key])), ...["p50", "p95", "p99", "max"].map((key) => span(run[key]))].forEach((text, i) => put(row.children[i], text));
    });
    keyed(this.countRows, board.items, (lane) => lane.name, () => h("tr", {}, cell("", "mono"), Array.from({ length: 14 }, () => cell(""))), (row, lane) => {
      [lane.name, count(lane.limit), count(lane.running), count(lane.waiting), count(lane.backlog), count(lane.blocked), count(lane.parked), count(lane.room), count(lane.free), rate(lane.throughput), count(lane.failed), count(lane.timed_out),
        count(lane.crashed), count(lane.rejected), lane.stuck === null ? (lane.strays === null ? "–" : count(lane.strays)) : `${count(lane.stuck)} of ${count(lane.max_stuck)}`].forEach((text, i) => put(row.children[i], text));
    });
  }

  #processes(board) {
    const { app, host } = board;
    const workers = board.items.flatMap((lane) => (lane.workers ?? []).map((worker) => ({ ...worker, lane: lane.name })));
    redraw(this.processes, [app, host, workers.map((worker) => [worker.pid, worker.calls_done, worker.task_id, worker.cpu_percent, worker.rss, worker.threads, worker.busy, Math.floor(worker.age / 10)])], () => [
      h("h2", {}, "Processes"),
      host ? h("p", { class: "muted" }, `${plural(host.cpus, "CPU")}, ${percent(host.cpu_percent)} busy${host.load ? `, load ${host.load.map((n) => n.toFixed(2)).join(" ")}` : ""}, memory ${bytes(host.memory_used)} of ${bytes(host.memory_limit)} (${percent(host.memory_percent)})${host.cgroup ? ", limited by a cgroup" : ""}`) : null,
      h("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": "Processes" }, h("table", {}, heads(["process", "runs", "cpu", "memory", "threads", "files", "done", "age"], 2),
        h("tbody", {}, h("tr", {}, h("td", { class: "mono" }, `app ${app.pid}`), cell("the event loop and threads", ""), cell(percent(app.cpu_percent)), cell(bytes(app.rss)), cell(app.threads ?? "–"), cell(app.fds ?? "–"), cell("–"), cell("–")),
          workers.map((worker) => h("tr", {}, h("td", { class: "mono" }, `${worker.lane} ${worker.pid}`), cell(worker.task_id ? h("a", { class: "mono", href: task(worker.task_id), title: worker.task_id }, worker.func_name ?? worker.task_id) : worker.busy ? "starts" : "idle", ""),
            cell(percent(worker.cpu_percent)), cell(bytes(worker.rss)), cell(worker.threads ?? "–"), cell("–"), cell(count(worker.calls_done)), cell(span(worker.age)))))))]);
  }

  #queues(queues) {
    if (!queues.items.length) return [h("h2", {}, "Queues"), h("p", { class: "muted" }, "None has limits or tasks now.")];
    const change = (queue) => editFields(`Limits of queue ${queue.name}`, "Each instance applies them by itself. Empty means as configured.", [
      { name: "concurrency", label: "run at a time", value: queue.concurrency, number: true, help: `configured: ${queue.configured.concurrency ?? "none"}` },
      { name: "max_size", label: "may be pending", value: queue.max_size, number: true, help: `configured: ${queue.configured.max_size ?? "none"}` },
      { name: "rate", label: "rate", value: queue.rate, help: `as 10/s or 100/min; configured: ${queue.configured.rate ?? "none"}` }],
    async (changes) => { await patch(["queues", queue.name], changes); toast(`Queue ${queue.name} has other limits now.`, "good"); await this.refresh(); });
    const pause = async (queue) => { await patch(["queues", queue.name], { paused: !queue.paused }); await this.refresh(); };
    return [h("h2", {}, "Queues"), h("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": "Queues" }, h("table", {}, heads(["queue", "running", "waiting", "held by a key", "rate", "state", h("span", { class: "away" }, "change")]),
      h("tbody", {}, queues.items.map((queue) => h("tr", {}, h("td", {}, h("a", { class: "mono", href: tasks(word("queue", queue.name)) }, queue.name)), cell(queue.concurrency ? `${count(queue.running)} of ${count(queue.concurrency)}` : count(queue.running)),
        cell(queue.max_size ? `${count(queue.waiting)} of ${count(queue.max_size)}` : count(queue.waiting)), cell(count(queue.blocked)), cell(queue.rate ?? "–"),
        cell(queue.paused ? h("span", { class: "chip waiting" }, "paused") : queue.opens_at ? ["opens ", time(queue.opens_at)] : "open"),
        cell([act(queue.paused ? "Resume" : "Pause", () => pause(queue), { title: `queue ${queue.name}` }), " ", act("Limits", () => change(queue), { title: `queue ${queue.name}` })])))))),
    queues.left_out ? h("p", { class: "muted" }, `${count(queues.left_out)} more have neither limits nor many tasks.`) : null];
  }

  #stalls(loop) {
    return [h("h2", {}, "Stalls of the event loop"), loop.stalls.length ? loop.stalls.map((stall) => h("details", { class: "attempt" },
      h("summary", {}, h("b", {}, span(stall.duration)), " ", h("span", { class: "muted" }, time(stall.at)), " in ", h("code", {}, stall.culprit)),
      h("p", {}, stall.hint, " ", h("span", { class: "muted" }, `It was on a processor for ${percent(stall.cpu_share * 100)} of the time.`)), h("pre", { tabindex: "0" }, stall.stack)))
      : h("p", { class: "muted" }, loop.stall_threshold === null ? "They are not recorded: TASKFLOW_LOOP_STALL_MS is 0." : `None longer than ${span(loop.stall_threshold)} is known.`)];
  }
}
customElements.define("tf-lanes", LanesPage);
