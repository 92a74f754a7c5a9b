// Values of JSON as a tree that folds.

import { h } from "./dom.js";

const LONG = 400;
const OPEN = 12; // members up to which a branch is open at first

function leaf(value) {
  if (typeof value === "string") {
    const text = JSON.stringify(value);
    if (text.length <= LONG) return h("span", { class: "v string" }, text);
    const node = h("span", { class: "v string" }, `${text.slice(0, LONG)}…`);
    const more = h("button", { type: "button", class: "link", onclick: () => { node.replaceChildren(h("span", {}, text)); more.remove(); } }, `all ${text.length.toLocaleString("en")} characters`);
    return h("span", {}, node, " ", more);
  }
  return h("span", { class: `v ${value === null ? "null" : typeof value}` }, String(value));
}

function members(value) {
  return Array.isArray(value) ? value.map((item, i) => [String(i), item]) : Object.entries(value);
}

/** `name: value`, folded where there is much below it. */
function branch(name, value, depth) {
  const key = h("span", { class: "k" }, name);
  if (value === null || typeof value !== "object") return h("li", {}, key, " ", leaf(value));
  const below = members(value);
  const size = Array.isArray(value) ? `[${below.length}]` : `{${below.length}}`;
  if (!below.length) return h("li", {}, key, " ", h("span", { class: "v muted" }, Array.isArray(value) ? "[]" : "{}"));
  return h("li", {}, h("details", { open: depth < 2 && below.length <= OPEN }, h("summary", {}, key, " ", h("span", { class: "muted" }, size)),
    h("ul", {}, below.map(([inner, item]) => branch(inner, item, depth + 1)))));
}

export function tree(value) {
  if (value === null || typeof value !== "object") return h("p", { class: "tree mono" }, leaf(value));
  const below = members(value);
  if (!below.length) return h("p", { class: "muted" }, Array.isArray(value) ? "[]" : "{}");
  return h("ul", { class: "tree mono" }, below.map(([name, item]) => branch(name, item, 0)));
}

/** Arguments of a call by their names; those without one by their place. */
export function callTree(found) {
  if (found === null || typeof found !== "object") return found ? h("p", { class: "tree mono" }, leaf(found)) : h("p", { class: "muted" }, "none");
  const all = [...(found.args ?? []).map((value, i) => [String(i), value]), ...Object.entries(found.kwargs ?? {})];
  if (!all.length) return h("p", { class: "muted" }, "none");
  return h("ul", { class: "tree mono" }, all.map(([name, value]) => branch(name, value, 0)));
}
