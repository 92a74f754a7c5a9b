// The life of a task from left to right: waits hatched, attempts as blocks, what came of each.

import { s } from "./dom.js";
import { now, span, stamp } from "./format.js";
import { errorParts, exact, FINAL } from "./tasks.js";

const HEIGHT = 96;
const TOP = 36;
const BLOCK = 26;
const LETTER = 6.1; // about so wide is one of the labels
const KINDS = { success: "success", running: "running", cancelled: "waiting", snoozed: "waiting", "handed back": "waiting", retrying: "failed" };

const moment = (iso) => exact(iso) * 1000;

/** Pieces with `{kind, from, to, words, below, wait}`, in milliseconds. */
export function pieces(task) {
  const found = [];
  let at = moment(task.created_at);
  const planned = task.history.length === 0 || moment(task.history[0].started_at) > at;
  task.history.forEach((run, i) => {
    const start = moment(run.started_at);
    const end = run.ended_at ? moment(run.ended_at) : start + run.duration * 1000;
    if (start > at) {
      const before = task.history[i - 1];
      const what = i === 0 ? "waited" : before.outcome === "handed back" ? "waited again" : before.outcome === "snoozed" ? "asked to wait" : FINAL.has(before.outcome) && before.outcome !== "failed" ? "run again after" : "retry after";
      found.push({ wait: true, from: at, to: start, words: `${what} ${span((start - at) / 1000)}`, brief: span((start - at) / 1000) });
    }
    const error = run.error ? errorParts(run.error) : null;
    const came = error ? error.head || error.rest.slice(0, 40) : run.outcome;
    found.push({ wait: false, kind: KINDS[run.outcome] ?? "failed", from: start, to: Math.max(end, start), words: `attempt ${run.number}`, number: run.number,
      below: `${span(run.duration)}, ${came}`, brief: span(run.duration), outcome: run.outcome });
    at = Math.max(at, end);
  });
  if (planned && !FINAL.has(task.status) && task.status !== "running") {
    const until = task.run_at && Date.parse(task.run_at) > now() ? ` of ${span((Date.parse(task.run_at) - at) / 1000)}` : "";
    found.push({ wait: true, from: at, to: now(), words: `waits ${span(Math.max(0, now() - at) / 1000)}${until}` });
  } else if (!FINAL.has(task.status) && task.status !== "running") {
    const left = task.run_at ? (Date.parse(task.run_at) - now()) / 1000 : 0;
    found.push({ wait: true, from: at, to: now(), words: left > 0 ? `next attempt in ${span(left)}` : "waits" });
  }
  return found;
}

/** Widths in pixels. Attempts are to one scale; waits too, if that leaves the attempts visible. */
function widths(list, room) {
  const length = (piece) => Math.max(0, piece.to - piece.from);
  const runs = list.filter((piece) => !piece.wait).reduce((sum, piece) => sum + length(piece), 0);
  const waits = list.filter((piece) => piece.wait).reduce((sum, piece) => sum + length(piece), 0);
  const linear = runs === 0 || waits === 0 || runs / (runs + waits) > 0.3;
  const least = (piece) => (piece.wait ? 6 : 12);
  const spare = Math.max(0, room - list.reduce((sum, piece) => sum + least(piece), 0));
  const share = (piece) => {
    if (linear) return length(piece) / Math.max(1, runs + waits);
    return piece.wait ? (length(piece) / waits) * 0.6 : (length(piece) / runs) * 0.4;
  };
  return { linear, sizes: list.map((piece) => least(piece) + share(piece) * spare) };
}

/** The longest of `texts` for which there is room; the first one cut, if a good part of it fits. */
function label(texts, x, y, room, kind) {
  const most = Math.floor(room / LETTER);
  let text = texts.find((it) => it.length <= most);
  if (text === undefined && most >= 14) text = `${texts[0].slice(0, most - 1)}…`;
  return text === undefined ? null : s("text", { x, y, class: kind }, text, s("title", {}, texts[0]));
}

/** The drawing, `width` pixels wide. */
export function story(task, width) {
  const list = pieces(task);
  const { linear, sizes } = widths(list, width - 34);
  const nodes = [s("circle", { class: "dot", cx: 7, cy: TOP + BLOCK / 2, r: 5 }, s("title", {}, `added ${stamp(task.created_at)}`))];
  const starts = [];
  let x = 17;
  for (const size of sizes) {
    starts.push(x);
    x += size;
  }
  list.forEach((piece, i) => nodes.push(draw(piece, starts[i], sizes[i], roomFor(list, starts, i, x, width))));
  const ended = FINAL.has(task.status);
  nodes.push(s("circle", { class: `dot ${ended ? task.status : "open"}`, cx: Math.min(width - 8, x + 10), cy: TOP + BLOCK / 2, r: 5 },
    s("title", {}, ended && task.end_time ? `${task.status} ${stamp(task.end_time)}` : task.status)));
  const words = `${list.map((piece) => (piece.below ? `${piece.words}: ${piece.below}` : piece.words)).join("; ")}; ${task.status}`;
  const picture = s("svg", { class: "story", width, height: HEIGHT, viewBox: `0 0 ${width} ${HEIGHT}`, role: "img", "aria-label": words }, hatch(), nodes);
  return { picture, linear };
}

/** Up to where a label may go: to where the next one of its kind begins. */
function roomFor(list, starts, i, end, width) {
  const next = list.findIndex((piece, j) => j > i && piece.wait === list[i].wait);
  return (next < 0 ? Math.max(end, width) : starts[next]) - starts[i] - 8;
}

function hatch() {
  return s("defs", {}, s("pattern", { id: "hatch", width: 6, height: 6, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" },
    s("rect", { width: 1.6, height: 6, class: "stripe" })));
}

function draw(piece, x, width, room) {
  if (piece.wait) {
    return s("g", {}, s("rect", { x, y: TOP + 5, width, height: BLOCK - 10, fill: "url(#hatch)" }, s("title", {}, piece.words)),
      label([piece.words, piece.brief ?? piece.words], x + 2, TOP - 8, room, "above"));
  }
  const inside = width > 72 ? piece.words : width > 16 ? String(piece.number) : "";
  return s("g", {}, s("rect", { class: `block ${piece.kind}`, x: x + 1, y: TOP, width: Math.max(3, width - 2), height: BLOCK, rx: 3 }, s("title", {}, `${piece.words}: ${piece.below}`)),
    inside ? s("text", { class: `in ${piece.kind}`, x: x + 7, y: TOP + 17 }, inside) : null,
    label([piece.below, piece.brief], x + 1, TOP + BLOCK + 17, room, "below"));
}
