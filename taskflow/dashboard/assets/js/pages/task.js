// One task: its story, its errors, its log, what it was called with and what came of it.

import { API, asCurl, get, path, post } from "../api.js";
import { act, confirm, copier, toast } from "../dialogs.js";
import { chip, h, long, put, redraw } from "../dom.js";
import { editArguments } from "../edit.js";
import { plural, short, span, time } from "../format.js";
import "../logs.js";
import { Page } from "../page.js";
import { go, link, place, task as address, tasks, word } from "../router.js";
import { story } from "../story.js";
import { bus } from "../store.js";
import { errorParts, FINAL, progressOf, ran, tagsOf } from "../tasks.js";
import { trace } from "../trace.js";
import { callTree, tree } from "../tree.js";

// Failures with the same class of error, or the same beginning.
const alike = (task) => `error:"${(errorParts(task.error).head || task.error.slice(0, 30)).replaceAll('"', "*")}*"`;
const SOON = 300;
const WAITING = 2000; // why something waits changes without news of the task itself

export class TaskPage extends Page {
  #soon = 0;

  get heading() {
    return this.task ? short(this.task.func_name) : "Task";
  }

  connectedCallback() {
    const panel = (name) => h("section", { class: "panel", "aria-label": name, hidden: true });
    this.head = h("header", { class: "task-head" });
    this.says = h("p", { class: "waits", hidden: true, "aria-live": "polite" });
    this.buttons = h("p", { class: "buttons acts" });
    this.story = panel("What happened");
    this.errors = panel("Errors");
    this.logs = document.createElement("tf-logs");
    this.logs.className = "panel";
    this.values = panel("Arguments");
    this.facts = panel("Facts");
    this.append(this.head, this.says, this.buttons, this.story, h("div", { class: "columns" }, h("div", {}, this.errors, this.logs), h("div", {}, this.values, this.facts)));
    this.logs.hidden = true;
    const sized = new ResizeObserver(() => this.task && this.#story());
    sized.observe(this.story);
    this.keep(() => sized.disconnect());
    this.on("tasks", ({ tasks: news, more }) => (more || news.some((it) => it.task_id === this.id_)) && this.#later());
    this.on("refresh", () => this.refresh());
    this.on("clock", () => this.task && this.#show(this.task));
    this.on("key", (key) => this.#key(key));
    this.every(WAITING, () => this.task && ["pending", "scheduled", "retrying"].includes(this.task.status) && this.refresh());
    this.every(1000, () => this.task && !FINAL.has(this.task.status) && this.#tick());
    this.arrive();
  }

  arrive() {
    this.id_ = place().id;
    this.task = null;
    scrollTo(0, 0);
    this.refresh();
  }

  #later() {
    this.#soon ||= setTimeout(() => { this.#soon = 0; this.refresh(); }, SOON);
  }

  async load() {
    const id = this.id_;
    const found = await get([id]);
    if (id !== this.id_ || !this.isConnected) return;
    const first = !this.task;
    this.task = found;
    this.#show(found);
    if (first) bus.emit("heading", this.heading);
  }

  #show(task) {
    this.#head(task);
    redraw(this.says, task.waiting_for?.text ?? null, (text) => (text ? ["It ", text, "."] : null));
    this.#actions(task);
    this.#story();
    this.#errors(task);
    this.logs.update(task.logs, task);
    this.#values(task);
    this.#facts(task);
  }

  #head(task) {
    const seconds = ran(task);
    const words = [`added by ${task.source} `, time(task.created_at)];
    if (task.attempts) words.push(`, attempt ${task.attempts} of ${task.max_attempts}`);
    redraw(this.head, [task.func_name, task.status, task.attempts, task.lane, task.queue, task.instance, task.progress, task.error, task.duration], () => [
      h("h1", { class: "title" }, h("span", { class: "mono" }, short(task.func_name)), " ", chip(task.status)),
      h("p", { class: "muted" }, words, ", lane ", h("a", { class: "mono", href: link("lanes", { lane: task.lane }) }, task.lane), ", queue ", h("a", { class: "mono", href: tasks(word("queue", task.queue)) }, task.queue),
        seconds === null ? "" : [task.status === "running" ? ", running for " : ", ran ", this.seconds = h("span", { class: "figures" }, span(seconds))], " ",
        h("span", { class: "mono id" }, task.task_id), " ", copier("Copy the id", () => task.task_id, "link")),
      this.#progress(task),
    ]);
  }

  #progress(task) {
    const progress = task.status === "running" ? progressOf(task) : null;
    if (!progress) return null;
    const bar = h("b", {});
    bar.style.width = `${(progress.share ?? 0) * 100}%`;
    return h("div", { class: "progress" }, progress.share === null ? null : h("i", { class: "meter", role: "progressbar", "aria-label": "Progress", "aria-valuenow": Math.round(progress.share * 100), "aria-valuemin": 0, "aria-valuemax": 100 }, bar), h("span", { class: "mono" }, progress.text));
  }

  #tick() {
    const seconds = ran(this.task);
    if (seconds !== null && this.seconds) put(this.seconds, span(seconds));
    this.#story();
  }

  #actions(task) {
    const final = FINAL.has(task.status);
    redraw(this.buttons, [task.task_id, final, task.arguments], () => [
      final ? act("Run again", () => this.#retry(), { kind: "main" }) : act("Cancel", () => this.#cancel(), { kind: "" }),
      act("Run with other arguments", async () => {
        const added = await editArguments(task);
        if (added) go(address(added.task_id));
      }),
      copier("Copy as curl", () => asCurl("POST", [task.task_id, final ? "retry" : "cancel"]), ""),
      h("a", { class: "button", href: new URL(path([task.task_id]), API).pathname, target: "_blank", rel: "noreferrer" }, "JSON"),
      final ? act("Discard", () => this.#discard(), { kind: "ghost" }) : null,
    ]);
  }

  async #retry() {
    await post([this.id_, "retry"]);
    toast("It runs again, with a fresh budget of attempts.", "good");
    await this.refresh();
  }

  async #cancel() {
    const answer = await post([this.id_, "cancel"]);
    toast(answer.status === "cancelled" ? "It is cancelled." : "It has been told to end.", "good");
    await this.refresh();
  }

  async #discard() {
    if (!(await confirm("Discard this task?", h("p", {}, h("code", {}, this.task.func_name), " is deleted with its log and its result."), { action: "Discard", danger: true }))) return;
    await post([this.id_, "discard"]);
    toast("The task is gone.", "good");
    go(link("tasks"));
  }

  #story() {
    const task = this.task;
    const width = Math.max(240, Math.floor(this.story.clientWidth || this.clientWidth) - 34);
    const live = FINAL.has(task.status) ? 0 : Math.floor(Date.now() / 1000);
    redraw(this.story, [width, live, task.status, task.history], () => {
      const { picture, linear } = story(task, width);
      return [h("div", { class: "tools" }, h("h2", {}, "What happened"), h("span", { class: "muted wide-only" }, linear ? "to scale" : "attempts to scale, waits to a scale of their own")), picture];
    });
    this.story.hidden = false;
  }

  #errors(task) {
    const runs = task.history.filter((run) => run.error || run.stacktrace).reverse();
    const found = runs.length ? runs : task.error ? [{ number: task.attempts, outcome: task.status, error: task.error, stacktrace: task.stacktrace }] : [];
    redraw(this.errors, found.map((run) => [run.number, run.outcome, run.error, run.stacktrace]), () => {
      if (!found.length) return null;
      return [h("h2", {}, found.length === 1 ? "Error" : `Errors of ${plural(found.length, "attempt")}, newest first`), found.map((run, i) => h("details", { class: "attempt", open: i === 0 },
        h("summary", {}, h("b", {}, `attempt ${run.number}`), " ", chip(run.outcome === "retrying" ? "retrying" : run.outcome === "snoozed" || run.outcome === "handed back" ? "waiting" : "failed", run.outcome), run.started_at ? [" ", h("span", { class: "muted" }, time(run.started_at), run.duration === undefined ? "" : `, ${span(run.duration)}`)] : "",
          i ? h("span", { class: "mono muted first" }, ` ${String(run.error ?? "").split("\n")[0].slice(0, 120)}`) : null),
        run.error ? long(run.error, "bad") : null, run.stacktrace ? trace(run.stacktrace, run.error ?? "") : null))];
    });
  }

  #values(task) {
    redraw(this.values, [task.arguments, task.result, task.result_error, task.status], () => [h("h2", {}, "Arguments"), callTree(task.arguments),
      task.status === "success" ? [h("h2", {}, "Result"), task.result_error ? long(task.result_error, "bad") : tree(task.result)] : null]);
  }

  #facts(task) {
    const door = (query, text) => h("a", { class: "mono", href: tasks(query) }, text);
    const tags = Array.isArray(task.tags) ? task.tags.map((tag) => door(word("tag", tag), tag)) : Object.entries(task.tags).map(([key, value]) => door(word("tag", `${key}=${value}`), `${key}=${value}`));
    const rows = [
      ["function", door(word("task", task.func_name), task.func_name)], ["priority", String(task.priority)], ["source", door(word("source", task.source), task.source)],
      ["tags", tagsOf(task).length ? tags.flatMap((tag) => [tag, " "]) : null], ["timeout", task.timeout === null ? null : span(task.timeout)],
      ["idempotency key", task.idempotency_key ? door(word("key", task.idempotency_key), task.idempotency_key) : null],
      ["concurrency key", task.concurrency_key ? door(word("key", task.concurrency_key), task.concurrency_key) : null],
      ["held by", task.waiting_for?.held_by.length ? task.waiting_for.held_by.map((id) => h("a", { class: "mono", href: address(id) }, `${id} `)) : null],
      ["crashes", task.crashes ? String(task.crashes) : null], ["instance", task.instance ? door(word("instance", task.instance), task.instance) : null],
      ["added", time(task.created_at, true)], ["runs at", task.run_at && !FINAL.has(task.status) ? time(task.run_at, true) : null], ["started", task.start_time ? time(task.start_time, true) : null], ["ended", task.end_time ? time(task.end_time, true) : null],
      ["alike", task.fingerprint ? door(word("fingerprint", task.fingerprint), "tasks with the same error") : task.error && task.status === "failed" ? door(`status:failed ${word("task", task.func_name)} ${alike(task)}`, "tasks that failed alike") : null],
    ].filter(([, value]) => value !== null && value !== undefined);
    redraw(this.facts, [task.task_id, task.status, task.start_time, task.end_time, task.run_at, task.instance, task.crashes, task.waiting_for?.held_by, task.fingerprint], () => [h("h2", {}, "Facts"),
      h("dl", { class: "pairs" }, rows.flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]))]);
  }

  #key({ key }) {
    if (key === "Escape") go(link("tasks"));
    else if (key === "r" && this.task && FINAL.has(this.task.status)) this.buttons.querySelector("button.main")?.click();
  }
}
customElements.define("tf-task", TaskPage);
