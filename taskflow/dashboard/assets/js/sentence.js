// What the overview says first. It is computed from the state and never guesses.

import { h } from "./dom.js";
import { plural, span, count, rate } from "./format.js";
import { link, tasks, word } from "./router.js";
import { errorParts } from "./tasks.js";

export const waitingIn = (lane) => lane.waiting + lane.backlog;
const verb = (n) => (n === 1 ? "waits" : "wait");
const lane = (name) => h("code", {}, name);
const door = (query, text, bad = false) => h("a", { class: bad ? "bad" : "", href: tasks(query) }, text);

/** Why a lane starts nothing now; "" if it does. */
export function stopped(it) {
  if (it.refusing) return `takes no work: ${it.refusing}`;
  return it.brakes.length ? `is ${it.brakes.join(" and ")}` : "";
}

function aboutLane(it) {
  const n = waitingIn(it);
  const all = () => door(`lane:${it.name} status:pending`, plural(n, "task"));
  if (stopped(it)) return ["The ", lane(it.name), ` lane ${stopped(it)}`, n ? [": ", all(), ` ${verb(n)}. `] : ". "];
  if (it.running >= it.limit && n > 0) {
    return ["The ", lane(it.name), " lane is full: ", all(), ` ${verb(n)}${it.oldest_age === null ? "" : `, the oldest ${span(it.oldest_age)}`}. `];
  }
  if (it.stuck) return [`${plural(it.stuck, "thread")} of the `, lane(it.name), ` lane ${it.stuck === 1 ? "is" : "are"} stuck. `];
  return null;
}

/** Failures of the last hour, if the app groups them; else all that are stored. */
function aboutFailures(metrics, hour) {
  if (hour === null) {
    const n = metrics.counts.failed;
    return n ? [door("status:failed", `${plural(n, "task")} failed`, true), ". "] : null;
  }
  const n = hour.items.reduce((sum, group) => sum + group.count, 0);
  if (!n) return null;
  const first = hour.items.reduce((most, group) => (group.count > most.count ? group : most));
  const what = errorParts(first.error);
  const name = what.head || what.rest.slice(0, 60) || "one error";
  const group = h("a", { href: tasks(word("fingerprint", first.fingerprint)) }, h("code", {}, name));
  const rest = n - first.count;
  const why = rest === 0 ? [n === 1 ? " with " : ", all with ", group] : rest <= n / 2 ? [`, all but ${count(rest)} with `, group] : [", most often with ", group];
  return [door("status:failed after:-1h", `${plural(n, "task")} failed`, true), " in the last hour", why, ". "];
}

/** One or two sentences as nodes. `hour` are the error groups of the last hour, or null. */
export function sentence(metrics, board, hour) {
  if (!metrics.store.ok) return [h("span", { class: "bad" }, `The store takes no writes: ${metrics.store.trouble}`)];
  if (metrics.total === 0) return ["No task has been added yet."];
  const said = board.items.map(aboutLane).filter(Boolean);
  const failures = aboutFailures(metrics, hour);
  if (failures) said.push(failures);
  const { running, pending, retrying } = metrics.counts;
  const per = board.items.reduce((sum, it) => sum + it.throughput, 0);
  const parts = [running ? door("status:running", `${count(running)} running`) : "nothing runs"];
  if (pending + retrying) parts.push(", ", door("status:pending,retrying", `${count(pending + retrying)} waiting`));
  else parts.push(", nothing waits");
  if (per > 0) parts.push(`, ${rate(per)} done`);
  if (!said.length) return ["All is well: ", ...parts, "."];
  if (said.length > 1) return said;
  return [...said, h("span", { class: "rest" }, ...upper(parts), ".")];
}

function upper(parts) {
  if (typeof parts[0] === "string") return [parts[0][0].toUpperCase() + parts[0].slice(1), ...parts.slice(1)];
  return parts;
}

const PLACES = { "event loop": "a turn on the event loop", threads: "a thread", processes: "a worker process" };

/** The line below a lane: why something waits, and when it will move. */
export function whyLine(it) {
  const n = waitingIn(it);
  if (it.refusing) return [h("b", {}, "Takes no work"), `: ${it.refusing}`];
  if (it.brakes.length) return [h("b", {}, it.brakes.join(" and ").replace(/^./, (c) => c.toUpperCase())), n ? `: ${plural(n, "task")} ${verb(n)}.` : ": nothing waits."];
  if (!n && !it.blocked && !it.parked) return ["Nothing waits."];
  const said = [];
  if (n && it.running >= it.limit) {
    said.push(h("b", {}, `${count(n)} ${verb(n)} for ${PLACES[it.kind] ?? "a slot"}`));
    said.push(it.throughput > 0 ? `: at ${rate(it.throughput)} the last of them starts in about ${span(n / it.throughput)}.` : ": none has ended in the last minute.");
  } else if (n > it.blocked + it.parked) said.push(h("b", {}, `${count(n)} ${verb(n)}`), ` while ${plural(it.limit - it.running, "slot is", "slots are")} free; `, h("a", { href: tasks(`lane:${it.name} status:pending`) }, n === 1 ? "it says why" : "each says why"), ".");
  if (it.blocked) said.push(` ${plural(it.blocked, "task")} ${verb(it.blocked)} for a key that others hold.`);
  if (it.parked) said.push(` ${plural(it.parked, "task")} ${verb(it.parked)} for an instance that knows the function.`);
  return said;
}

export { link };
