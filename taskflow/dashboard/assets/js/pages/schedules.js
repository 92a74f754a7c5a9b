// Schedules: what runs when, in words, with the runs to come and those that were.

import { get, post } from "../api.js";
import { act, toast } from "../dialogs.js";
import { chip, h, keyed, redraw } from "../dom.js";
import { plural, short, span, stamp, time } from "../format.js";
import { Page } from "../page.js";
import { link, place, task, tasks, word } from "../router.js";
import { state } from "../store.js";
import { callTree } from "../tree.js";

const SLOW = 5000;
const LESSON = `@task_manager.schedule(cron="0 2 * * *", timezone="Europe/Berlin")
def nightly_cleanup(): ...`;

export class SchedulesPage extends Page {
  #cursor = "";

  get heading() {
    return "Schedules";
  }

  connectedCallback() {
    this.said = h("h1", { class: "sentence", "aria-live": "polite" }, "\u00a0");
    this.items = h("section", { class: "stack", "aria-label": "Schedules" });
    this.foot = h("p", { class: "foot" });
    this.append(this.said, this.items, this.foot);
    this.on("refresh", (why) => why !== "look" && this.refresh());
    this.every(SLOW, () => state.paused || this.refresh());
    this.refresh();
  }

  arrive() {
    this.refresh();
  }

  async load() {
    const { after = "", name } = place().query;
    const found = await get(["schedules"], { after, limit: 50 });
    if (!this.isConnected) return;
    if (name && !found.items.some((it) => it.name === name)) found.items.unshift(await get(["schedules", name]));
    const { items, next_cursor: next } = found;
    const halted = items.filter((it) => it.state !== "active").length;
    const late = items.filter((it) => it.lag > 1).length;
    redraw(this.said, [items.length, halted, late, Boolean(next)], () => (items.length ? `${plural(items.length, "schedule")}${next ? " on this page" : ""}${halted ? `, ${halted} of them not active` : ", all active"}${late ? `; ${late} late` : ", none late"}.` : "No schedule is declared."));
    keyed(this.items, items, (it) => it.name, () => h("div", {}), (node, it) => redraw(node, it, () => this.#card(it, it.name === name)));
    redraw(this.foot, [next, after, items.length], () => [items.length ? "" : h("div", { class: "lesson panel" }, h("p", {}, "This declares one:"), h("pre", { tabindex: "0" }, LESSON)),
      after ? h("a", { href: link("schedules") }, "First page") : "", " ", next ? h("a", { href: link("schedules", { after: next }) }, "Next page") : ""]);
  }

  #card(it, open) {
    const next = it.next_runs[0];
    const did = (words, action) => async () => {
      const answer = await post(["schedules", it.name, action]);
      toast(words, "good");
      if (answer.task_id) toast(`Its task is ${answer.task_id}.`);
      await this.refresh();
    };
    return h("article", { class: `panel schedule ${open ? "chosen" : ""}` },
      h("div", { class: "schedule-what" }, h("h2", {}, h("span", { class: "mono", title: it.name }, it.name), " ", it.state === "active" ? null : chip(it.state === "paused" ? "waiting" : "failed", it.state)),
        h("p", {}, it.words || "no rule", " ", h("span", { class: "muted" }, it.timezone)),
        it.problem ? h("p", { class: "bad" }, it.problem) : null,
        it.state === "paused" ? h("p", { class: "muted" }, "paused", it.paused_by ? ` by ${it.paused_by}` : "", it.paused_at ? [" ", time(it.paused_at)] : "") : null),
      h("dl", { class: "pairs schedule-when" }, h("dt", {}, "next"), h("dd", {}, next ? [time(next.at), next.note ? h("span", { class: "muted" }, ` ${next.note}`) : ""] : "none"),
        h("dt", {}, "lag"), h("dd", { class: it.lag > 1 ? "bad" : "" }, it.lag ? span(it.lag) : "none"), h("dt", {}, "last"), h("dd", {}, this.#strip(it.last_runs))),
      h("p", { class: "buttons acts" }, act("Run now", did("It runs now.", "run"), { title: it.name }), it.state === "paused" ? act("Resume", did("It goes on.", "resume"), { title: it.name }) : act("Pause", did("It is paused.", "pause"), { title: it.name })),
      h("details", { class: "schedule-more", open }, h("summary", {}, "more"), this.#more(it)));
  }

  #strip(runs) {
    if (!runs.length) return h("span", { class: "muted" }, "never");
    return h("span", { class: "strip-runs" }, [...runs].reverse().map((run) => {
      const status = run.status ?? "gone";
      const words = `${run.outcome === "fired" ? status : run.outcome} ${stamp(run.at)}${run.duration === null ? "" : `, ${span(run.duration)}`}`;
      const kind = run.outcome === "fired" ? status : "waiting";
      return run.task_id ? h("a", { class: `run ${kind}`, href: task(run.task_id), title: words, "aria-label": words }) : h("span", { class: `run ${kind}`, title: words, role: "img", "aria-label": words });
    }), " ", time(runs[0].at));
  }

  #more(it) {
    const rows = [["task", h("a", { class: "mono", href: tasks(word("task", it.task)) }, it.task)], ["rule", h("code", {}, it.cron ?? (it.every === null ? "–" : `every ${it.every} s`))], ["declared by", it.origin], ["missed runs", it.catch_up], ["while the one before runs", it.overlap],
      ["jitter", it.jitter ? span(it.jitter) : null], ["on start", it.run_on_startup ? "runs" : null], ["changed by people", it.changes ? h("code", {}, JSON.stringify(it.changes)) : null]].filter(([, value]) => value);
    return h("div", { class: "columns even" }, h("div", {}, h("dl", { class: "pairs" }, rows.flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)])), h("h3", {}, "Arguments"), callTree(it.arguments)),
      h("div", {}, h("h3", {}, "Next runs"), it.next_runs.length ? h("ol", { class: "plain-list mono" }, it.next_runs.map((run) => h("li", {}, run.local, run.note ? h("span", { class: "muted" }, ` ${run.note}`) : ""))) : h("p", { class: "muted" }, "none"),
        h("h3", {}, "Last runs"), it.last_runs.length ? h("ol", { class: "plain-list" }, it.last_runs.map((run) => h("li", {}, run.status ? chip(run.status) : chip("waiting", run.outcome), " ", run.task_id ? h("a", { href: task(run.task_id) }, time(run.at, true)) : time(run.at, true), " ", h("span", { class: "muted" }, [run.kind === "hand" ? "by hand" : run.kind === "start" ? "at a start" : "", run.duration === null ? "" : span(run.duration), run.error ? run.error.split("\n")[0].slice(0, 120) : ""].filter(Boolean).join(", "))))) : h("p", { class: "muted" }, "none"),
        h("p", {}, h("a", { href: tasks(`${word("task", short(it.task))} source:schedule`) }, "All tasks of schedules with this function"))));
  }
}
customElements.define("tf-schedules", SchedulesPage);
