// Groups of equal errors, with what can be done for all tasks of one.

import { bulkButton } from "./bulk.js";
import { bars } from "./chart.js";
import { chip, h } from "./dom.js";
import { count, plural, short, time } from "./format.js";
import { tasks, task, word } from "./router.js";
import { errorParts } from "./tasks.js";

/** `SMTPServerDisconnected` as a label, and what it said. */
export function errorText(text) {
  const { head, rest } = errorParts(text);
  return [head ? chip("failed", head) : null, head && rest ? " " : "", h("span", { class: "error-rest" }, rest)];
}

const query = (group) => word("fingerprint", group.fingerprint);

/** One row of the short table of the overview. */
export function shortRow(group, after) {
  return h("tr", {}, h("td", { class: "error" }, h("a", { class: "plain", href: tasks(query(group)) }, errorText(group.error))),
    h("td", { class: "mono name" }, short(group.func_name)),
    h("td", { class: "number" }, h("a", { class: "plain", href: tasks(query(group)) }, count(group.count))),
    h("td", { class: "number when" }, time(group.last_at)),
    h("td", { class: "number" }, bulkButton("Retry", "retry", query(group), after)));
}

/** One group with its trend over the last `hours` and all its doors. */
export function groupCard(group, hours, after) {
  const trend = group.trend ?? [];
  return h("article", { class: "panel group" },
    h("div", { class: "group-what" }, h("h2", {}, errorText(group.error)),
      h("p", { class: "muted" }, h("a", { class: "mono", href: tasks(`${word("task", group.func_name)} ${query(group)}`), title: group.func_name }, short(group.func_name)),
        ", first ", time(group.first_at), ", last ", time(group.last_at))),
    h("div", { class: "group-trend" }, bars(trend, `failures in each of ${trend.length} parts of the last ${hours} hours: ${trend.join(", ")}`), h("span", { class: "muted" }, hours > 48 ? `${hours / 24} d` : `${hours} h`)),
    h("a", { class: "group-count plain", href: tasks(query(group)) }, h("b", {}, count(group.count)), h("span", { class: "muted" }, group.count === 1 ? "task" : "tasks")),
    h("p", { class: "buttons" }, h("a", { class: "button", href: task(group.sample_task_id) }, "One of them"),
      bulkButton("Retry all", "retry", query(group), after), bulkButton("Discard all", "discard", query(group), after, "ghost")));
}

export const total = (groups) => plural(groups.reduce((sum, group) => sum + group.count, 0), "task");
