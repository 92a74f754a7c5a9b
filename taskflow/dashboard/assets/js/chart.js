// Drawings in SVG: a line in a row, bars over time, a line over time. Each bar is a door.

import { h, put, s } from "./dom.js";
import { count, hour, day, stamp } from "./format.js";
import { link } from "./router.js";

const MARGIN = 44; // at the right, for the scale

function points(values, width, height, top) {
  const step = width / Math.max(1, values.length - 1);
  return values.map((value, i) => [i * step, height - (Math.max(0, value) / top) * (height - 2) - 1]);
}

/** A line without axes. `update(values)` draws it anew. */
export class Spark extends HTMLElement {
  update(values, { width = 300, height = 34, words = "" } = {}) {
    if (!this.firstChild) {
      this.area = s("path", { class: "area" });
      this.line = s("path", { class: "line" });
      this.append(s("svg", { viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", "aria-hidden": "true" }, this.area, this.line));
    }
    const all = values.length > 1 ? values : [0, 0];
    const line = points(all, width, height, Math.max(...all, 1e-9) * 1.15);
    const path = line.map(([x, y], i) => `${i ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`).join("");
    this.line.setAttribute("d", path);
    this.area.setAttribute("d", `${path}L${width} ${height}L0 ${height}Z`);
    if (words && this.title !== words) this.title = words;
  }
}
customElements.define("tf-spark", Spark);

/** Small bars without axes, such as the failures of each hour. */
export function bars(values, words) {
  const width = values.length * 5;
  const top = Math.max(...values, 1);
  return s("svg", { class: "bars", viewBox: `0 0 ${width} 24`, preserveAspectRatio: "none", role: "img", "aria-label": words },
    values.map((value, i) => {
      const height = value ? Math.max(2, (value / top) * 23) : 0.7;
      return s("rect", { x: i * 5, y: 24 - height, width: 4, height, class: value ? "" : "none" });
    }));
}

const iso = (ms) => new Date(ms).toISOString().slice(0, 19);

/** Group the points of a history into at most `most` buckets of the same length. */
export function buckets(history, most = 60) {
  const step = history.step * 1000;
  const from = Math.floor(Date.parse(history.from) / step) * step;
  const last = history.points.length ? Date.parse(history.points.at(-1).at) : from;
  const number = Math.max(1, Math.ceil((Math.max(last, from + (history.span ?? 0) * 1000) - from) / step) + 1);
  const size = step * Math.max(1, Math.ceil(number / most));
  const begin = Math.floor(from / size) * size;
  const found = Array.from({ length: Math.ceil((from + number * step - begin) / size) }, (_, i) => ({ at: begin + i * size, size, ended: 0, failed: 0, added: 0, lag: null }));
  for (const point of history.points) {
    const bucket = found[Math.floor((Date.parse(point.at) - begin) / size)];
    if (!bucket) continue;
    bucket.ended += point.ended;
    bucket.failed += point.failed;
    bucket.added += point.added ?? 0;
    if (point.loop_lag_p99 !== null) bucket.lag = Math.max(bucket.lag ?? 0, point.loop_lag_p99 ?? 0);
  }
  return found;
}

function axis(list, width, height) {
  const when = (ms) => (list.at(-1).at - list[0].at > 2 * 86_400_000 ? day(ms) : hour(ms, "min"));
  const places = [0, Math.floor(list.length / 2), list.length - 1];
  return places.map((place, i) => s("text", {
    x: i === 0 ? 0 : i === 1 ? ((place + 0.5) * width) / list.length : width, y: height + 14,
    "text-anchor": ["start", "middle", "end"][i], class: "tick",
  }, when(list[place].at)));
}

function scale(top, width, height, words) {
  return [0.5, 1].map((share) => s("g", { class: "grid" },
    s("line", { x1: 0, x2: width, y1: height - share * (height - 12), y2: height - share * (height - 12) }),
    s("text", { x: width + 6, y: height - share * (height - 12) + 4, class: "tick" }, words(top * share))));
}

function nice(top) {
  const size = 10 ** Math.floor(Math.log10(Math.max(top, 1e-9)));
  return [1, 2, 4, 5, 10].map((n) => n * size).find((n) => n >= top) ?? top;
}

function marks(restarts, list, width, height) {
  const from = list[0].at;
  const length = list.length * list[0].size;
  return restarts.map((at) => Date.parse(at)).filter((at) => at >= from && at <= from + length).map((at) => {
    const x = ((at - from) / length) * width;
    return s("g", { class: "restart" }, s("line", { x1: x, x2: x, y1: 0, y2: height }), s("title", {}, `an instance started, ${stamp(at)}`));
  });
}

/** Attempts that ended, with those that failed on top; restarts are dashed. */
export function throughput(history, room, height = 160) {
  const width = room - MARGIN;
  const list = buckets(history);
  const top = nice(Math.max(1, ...list.map((b) => b.ended)));
  const wide = width / list.length;
  const tall = (n) => (n / top) * (height - 12);
  const doors = list.map((b, i) => {
    const good = tall(b.ended - b.failed);
    const bad = b.failed ? Math.max(1.5, tall(b.failed)) : 0;
    const words = `${hour(b.at, "min")}: ${count(b.ended)} ended, ${count(b.failed)} failed`;
    const range = `after:${iso(b.at)}Z before:${iso(b.at + b.size)}Z`;
    const shape = [
      s("rect", { class: "hit", x: i * wide, y: 0, width: wide, height }),
      s("rect", { class: "good", x: i * wide + 0.6, y: height - good, width: Math.max(0.8, wide - 1.2), height: good }),
      s("rect", { class: "bad", x: i * wide + 0.6, y: height - good - bad, width: Math.max(0.8, wide - 1.2), height: bad }),
      s("title", {}, words),
    ];
    if (!b.ended) return s("g", { class: "bar" }, shape);
    return s("a", { class: "bar", href: link("tasks", { query: range }), tabindex: "-1", "aria-label": words }, shape);
  });
  return h("figure", { class: "chart" },
    s("svg", { viewBox: `0 -4 ${room} ${height + 22}`, role: "group", "aria-label": "Attempts that ended, over time" },
      scale(top, width, height, (n) => (n >= 1 ? count(n) : "")), doors, marks(history.restarts ?? [], list, width, height),
      s("line", { class: "base", x1: 0, x2: width, y1: height, y2: height }), axis(list, width, height)),
    twin(["from", "ended", "failed", "added"], list.filter((b) => b.ended || b.added).map((b) => [h("a", { href: link("tasks", { query: `after:${iso(b.at)}Z before:${iso(b.at + b.size)}Z` }) }, stamp(b.at)), count(b.ended), count(b.failed), count(b.added)])));
}

/** How late the event loop answered. */
export function lag(history, room, threshold, words, height = 118) {
  const width = room - MARGIN;
  const list = buckets(history, 120);
  const top = nice(Math.max(0.01, ...list.map((b) => b.lag ?? 0)));
  const y = (value) => height - (value / top) * (height - 12);
  const x = (i) => ((i + 0.5) * width) / list.length;
  let path = "";
  let before = false;
  list.forEach((b, i) => {
    if (b.lag !== null) path += `${before ? "L" : "M"}${x(i).toFixed(1)} ${y(b.lag).toFixed(1)}${before ? "" : "h.1"}`;
    before = b.lag !== null;
  });
  return h("figure", { class: "chart" },
    s("svg", { viewBox: `0 -4 ${room} ${height + 22}`, role: "img", "aria-label": "Lag of the event loop, 99th percentile, over time" },
      scale(top, width, height, words), threshold && threshold <= top ? s("line", { class: "threshold", x1: 0, x2: width, y1: y(threshold), y2: y(threshold) }) : null,
      s("path", { class: "line", d: path }), s("line", { class: "base", x1: 0, x2: width, y1: height, y2: height }), axis(list, width, height)),
    twin(["from", "lag p99"], list.filter((b) => b.lag !== null).map((b) => [stamp(b.at), words(b.lag)])));
}

/** The same as a table, built when somebody opens it. */
function twin(head, rows) {
  const body = h("div", { class: "scroll" });
  const node = h("details", { class: "twin" }, h("summary", {}, "as a table"), body);
  node.addEventListener("toggle", () => {
    if (!node.open || body.firstChild) return;
    put(body, "");
    body.append(h("table", {}, h("thead", {}, h("tr", {}, head.map((text, i) => h("th", { scope: "col", class: i ? "number" : "" }, text)))),
      h("tbody", {}, rows.reverse().map((row) => h("tr", {}, row.map((text, i) => h("td", { class: i ? "number" : "" }, text)))))));
    body.tabIndex = 0;
  });
  return node;
}
