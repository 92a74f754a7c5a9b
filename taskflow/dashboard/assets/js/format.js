// Numbers, durations, sizes and times in words. Pure but for the choice of the clock.

import { bus } from "./store.js";

const number = new Intl.NumberFormat("en");
export const clock = { utc: false, skew: 0 };

export const now = () => Date.now() + clock.skew;
export const count = (n) => number.format(n);
export const plural = (n, one, many = `${one}s`) => `${number.format(n)} ${n === 1 ? one : many}`;
export const short = (name) => String(name).replace(/^.*:|^.*<locals>\./s, "").replace(/^.*<locals>\./s, "");
export const since = (iso) => (now() - Date.parse(iso)) / 1000;

/** A measured duration: exact where it is short. */
export function span(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds === 0) return "0 ms";
  if (seconds < 0.001) return `${(seconds * 1e6).toFixed(0)} µs`;
  if (seconds < 0.9995) return `${(seconds * 1000).toFixed(seconds < 0.00995 ? 1 : 0)} ms`;
  if (seconds < 59.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  if (whole < 172800) return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
  return `${Math.floor(whole / 86400)} d ${Math.floor((whole % 86400) / 3600)} h`;
}

/** A duration in one unit. */
export function rough(seconds) {
  if (seconds < 60) return `${Math.max(0, Math.floor(seconds))} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 172800) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86400)} d`;
}

/** "12 s ago" or "in 5 min". */
export function ago(iso) {
  const seconds = since(iso);
  if (seconds < -0.999) return `in ${rough(-seconds)}`;
  return seconds < 1 ? "just now" : `${rough(seconds)} ago`;
}

export function bytes(n) {
  if (n === null || n === undefined) return "–";
  const units = ["B", "kB", "MB", "GB", "TB"];
  let size = n;
  let unit = 0;
  while (size >= 999.5 && unit < units.length - 1) {
    size /= 1000;
    unit += 1;
  }
  return `${unit === 0 || size >= 99.5 ? size.toFixed(0) : size.toFixed(1)} ${units[unit]}`;
}

export const percent = (n) => (n === null || n === undefined ? "–" : `${n.toFixed(n < 9.95 ? 1 : 0)} %`);

export function rate(perSecond) {
  if (perSecond === null || perSecond === undefined) return "–";
  if (perSecond === 0) return "0/s";
  if (perSecond >= 0.095) return `${perSecond < 9.95 ? perSecond.toFixed(1) : count(Math.round(perSecond))}/s`;
  return `${(perSecond * 60).toFixed(1)}/min`;
}

const two = (n) => String(n).padStart(2, "0");

function parts(ms) {
  const d = new Date(ms);
  if (clock.utc) return [d.getUTCFullYear(), d.getUTCMonth() + 1, d.getUTCDate(), d.getUTCHours(), d.getUTCMinutes(), d.getUTCSeconds(), d.getUTCMilliseconds()];
  return [d.getFullYear(), d.getMonth() + 1, d.getDate(), d.getHours(), d.getMinutes(), d.getSeconds(), d.getMilliseconds()];
}

/** The time of day: "14:02", "14:02:11" or "14:02:11.204". */
export function hour(iso, precision = "s") {
  const [, , , hours, minutes, seconds, ms] = parts(typeof iso === "number" ? iso : Date.parse(iso));
  if (precision === "min") return `${two(hours)}:${two(minutes)}`;
  const text = `${two(hours)}:${two(minutes)}:${two(seconds)}`;
  return precision === "ms" ? `${text}.${String(ms).padStart(3, "0")}` : text;
}

export function day(iso) {
  const [year, month, date] = parts(typeof iso === "number" ? iso : Date.parse(iso));
  return `${year}-${two(month)}-${two(date)}`;
}

/** Date and time with the zone: "2026-11-22 14:02:11 UTC". */
export const stamp = (iso) => `${day(iso)} ${hour(iso)} ${clock.utc ? "UTC" : zone()}`;

function zone() {
  const minutes = -new Date().getTimezoneOffset();
  if (minutes === 0) return "UTC";
  const size = Math.abs(minutes);
  return `${minutes < 0 ? "−" : "+"}${two(Math.floor(size / 60))}:${two(size % 60)}`;
}

const times = new Set();

/** A time that grows older while it is shown: `ago` or `stamp`. */
class Time extends HTMLElement {
  connectedCallback() {
    times.add(this);
    this.tell();
  }

  disconnectedCallback() {
    times.delete(this);
  }

  set at(iso) {
    if (this.iso === iso) return;
    this.iso = iso;
    this.tell();
  }

  tell() {
    const text = this.iso ? (this.exact ? stamp(this.iso) : ago(this.iso)) : "–";
    if (this.textContent !== text) this.textContent = text;
    const title = this.iso ? stamp(this.iso) : "";
    if (this.title !== title) this.title = title;
  }
}
customElements.define("tf-time", Time);

export function time(iso, exact = false) {
  const node = document.createElement("tf-time");
  node.exact = exact;
  node.at = iso;
  return node;
}

setInterval(() => {
  if (!document.hidden) for (const node of times) node.tell();
}, 1000);
bus.on("clock", () => {
  for (const node of times) node.tell();
});
