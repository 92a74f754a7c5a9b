// The keyboard. A page hears keys as `key` with the name, and says with `taken()` that it used it.

import { dialog } from "./dialogs.js";
import { h } from "./dom.js";
import { go, link } from "./router.js";
import { bus } from "./store.js";

const PAGES = { o: "overview", t: "tasks", e: "errors", l: "lanes", s: "schedules", d: "dead", a: "audit", y: "system" };
const HELP = [
  ["/", "to the query bar"],
  ["g then o t e l s d a y", "overview, tasks, errors, lanes, schedules, dead letters, audit, system"],
  ["j k", "next row, row before"],
  ["Enter", "open the row"],
  ["x", "select the row"],
  ["r", "run the row or the task again"],
  ["p", "pause, go on"],
  ["Esc", "clear the selection, leave a field, go back to the list"],
  ["?", "this help"],
];
const PATIENCE = 1500;

let prefix = 0;

export function help() {
  if (document.querySelector("dialog[open]")) return;
  dialog("Keys", (close) => [
    h("dl", { class: "keys" }, HELP.flatMap(([keys, what]) => [
      h("dt", {}, keys.split(" ").map((key) => (key === "then" ? " then " : h("kbd", {}, key)))), h("dd", {}, what),
    ])),
    h("p", { class: "buttons" }, h("button", { type: "button", class: "main", onclick: () => close() }, "Close")),
  ]);
}

function writing(target) {
  return target.closest?.("input, textarea, select, [contenteditable]") !== null;
}

export function listenToKeys() {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    if (document.querySelector("dialog[open]")) return;
    if (writing(event.target)) {
      if (event.key === "Escape") event.target.blur();
      return;
    }
    if (performance.now() - prefix < PATIENCE && PAGES[event.key]) {
      prefix = 0;
      event.preventDefault();
      return go(link(PAGES[event.key]));
    }
    prefix = 0;
    if (event.key === "g") prefix = performance.now();
    else if (event.key === "?") help();
    else bus.emit("key", { key: event.key, event, taken: () => event.preventDefault() });
  });
}
