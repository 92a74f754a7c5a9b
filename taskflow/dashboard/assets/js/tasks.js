// Tasks in words: what a row says of one, and which filter it belongs to.

import { clean } from "./dom.js";
import { now, rough, since, span } from "./format.js";
import { task as address } from "./router.js";

export const STATUSES = ["running", "pending", "scheduled", "retrying", "failed", "interrupted", "cancelled", "success"];
export const FINAL = new Set(["success", "failed", "cancelled", "interrupted"]);
const TIMED = new Set(["scheduled", "retrying"]);

// Dates of JavaScript end at milliseconds.
export function exact(iso) {
  const digits = /\.\d{3}(\d{1,3})/.exec(iso)?.[1] ?? "";
  return Date.parse(iso) / 1000 + Number(digits.padEnd(3, "0")) / 1e6;
}

/** Seconds from start to end, or to now; null for a task that has not run. */
export function ran(task) {
  if (!task.start_time || !(FINAL.has(task.status) || task.status === "running")) return null;
  if (task.status === "running") return Math.max(0, (now() - Date.parse(task.start_time)) / 1000);
  return task.end_time ? Math.max(0, exact(task.end_time) - exact(task.start_time)) : null;
}

export function timing(task) {
  const seconds = ran(task);
  if (seconds !== null) return task.status === "running" && seconds < 1 ? "< 1 s" : span(seconds);
  if (TIMED.has(task.status)) {
    const left = task.run_at ? -since(task.run_at) : 0;
    return left > 0 ? `in ${rough(left)}` : "due";
  }
  return task.status === "pending" ? `waits ${rough(since(task.run_at ?? task.created_at))}` : "";
}

/** `{share, text}` of a task that says how far it is; share is null without a total. */
export function progressOf(task) {
  const progress = task.progress;
  if (progress === null || typeof progress !== "object") return null;
  const { done, total, message } = progress;
  if (typeof done !== "number") return null;
  const share = typeof total === "number" && total > 0 ? Math.min(1, Math.max(0, done / total)) : null;
  const figure = share === null ? `${done}` : `${Math.round(share * 100)} %`;
  return { share, text: [figure, message].filter(Boolean).join(", ") };
}

export const firstLine = (text) => String(text).split("\n", 1)[0].slice(0, 300);

/** `{head, rest}` of the text of an error: its class, and what it says. */
export function errorParts(text) {
  const line = firstLine(text);
  const found = /^([A-Za-z_][\w.]{0,80}(?:Error|Exception|Warning|Exit|Interrupt|Timeout|Disconnected|[A-Z]\w*)): (.*)$/.exec(line) ?? /^(timed out|worker process died|[A-Za-z_][\w.]*(?:Error|Exception))[:,]? ?(.*)$/.exec(line);
  return found ? { head: found[1], rest: found[2] } : { head: "", rest: line };
}

export function why(task) {
  const said = [];
  if (task.status === "running") {
    const progress = progressOf(task);
    if (progress) said.push(progress.text);
  }
  if (task.max_attempts > 1 && task.attempts > 0 && task.status !== "success" && (task.attempts > 1 || task.status !== "running")) said.push(`attempt ${task.attempts} of ${task.max_attempts}`);
  if (task.error && task.status !== "success") said.push(firstLine(task.error));
  if (task.result_error) said.push("the result could not be stored");
  return said.join(", ") || tagsOf(task).join(" ");
}

export const tagsOf = (task) => Array.isArray(task.tags) ? task.tags : Object.entries(task.tags ?? {}).map(([key, value]) => `${key}=${value}`);

/** What the stream leaves null is unknown there, but for what a task loses when it runs again. */
const MOVES = new Set(["status", "start_time", "end_time", "attempts", "error", "progress", "run_at", "instance"]);

export function merge(old, news) {
  const merged = { ...old };
  for (const [key, value] of Object.entries(news)) {
    if (value !== null || MOVES.has(key)) merged[key] = value;
  }
  return merged;
}

/** Whether a task is in the filter, told here; null where only the store can tell. */
export function matcher(query) {
  const tests = [];
  for (const word of query.trim().split(/\s+/).filter(Boolean)) {
    const found = /^(-?)(status|lane|queue|task):([\w.,:*-]+)$/.exec(word);
    if (!found) return null;
    const [, not, name, text] = found;
    const wanted = text.split(",");
    if (name === "task" && wanted.length > 1) return null;
    const glob = text.includes("*") ? new RegExp(`^${text.split("*").map((part) => part.replace(/[.:-]/g, "\\$&")).join(".*")}$`) : null;
    tests.push((task) => {
      if (name === "task") {
        const holds = glob ? glob.test(task.func_name) || glob.test(task.func_name.slice(task.func_name.lastIndexOf(":") + 1)) : task.func_name.includes(text);
        return holds !== Boolean(not);
      }
      return wanted.includes(task[name]) !== Boolean(not);
    });
    if (glob && name !== "task") return null;
  }
  return (task) => tests.every((test) => test(task));
}

export const titleOf = (task) => clean(`${task.func_name}\n${task.task_id}`);
export { address };
