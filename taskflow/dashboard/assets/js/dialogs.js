// Dialogs, short notes at the edge, and buttons that do something on the server.

import { h, put } from "./dom.js";
import { mayWrite } from "./store.js";

const SHOWN = 6000;

/** Say in passing what happened. */
export function toast(text, kind = "") {
  const note = h("p", { class: `toast ${kind}` }, text);
  const all = document.getElementById("toasts");
  all.append(note);
  while (all.children.length > 3) all.firstElementChild.remove();
  setTimeout(() => note.remove(), SHOWN);
}

let counter = 0;

/** Open a dialog; `build(close)` gives what is in it. The answer is what `close` was called with. */
export function dialog(title, build, { wide = false } = {}) {
  counter += 1;
  const id = `dialog-${counter}`;
  const node = h("dialog", { class: wide ? "wide" : "", "aria-labelledby": id });
  return new Promise((resolve) => {
    let answer;
    const close = (value) => {
      answer = value;
      node.close();
    };
    node.append(h("h2", { id }, title), ...[build(close)].flat());
    node.addEventListener("close", () => {
      node.remove();
      resolve(answer);
    });
    node.addEventListener("click", (event) => event.target === node && close(undefined));
    document.body.append(node);
    node.showModal();
  });
}

/** Ask before something is done; with `typed` that text has to be written first. */
export function confirm(title, words, { action = "Yes", danger = false, typed = "" } = {}) {
  return dialog(title, (close) => {
    const yes = h("button", { type: "submit", class: danger ? "danger" : "main" }, action);
    const parts = [h("div", { class: "said" }, words)];
    if (typed) {
      const input = h("input", { type: "text", autocomplete: "off", spellcheck: "false", "aria-label": `Write ${typed} to go on` });
      yes.disabled = true;
      input.addEventListener("input", () => { yes.disabled = input.value.trim() !== typed; });
      parts.push(h("p", {}, "Write ", h("code", {}, typed), " to go on:"), input);
    }
    return h("form", { method: "dialog", onsubmit: (event) => { event.preventDefault(); if (!yes.disabled) close(true); } },
      parts, h("p", { class: "buttons" }, h("button", { type: "button", onclick: () => close(false) }, "Keep as it is"), yes));
  });
}

/** A button for people who may change something; nothing for the others. */
export function act(label, run, { kind = "", title = null } = {}) {
  if (!mayWrite()) return null;
  const button = h("button", { type: "button", class: kind, title }, label);
  button.addEventListener("click", async () => {
    if (button.disabled) return;
    button.disabled = true;
    try {
      await run(button);
    } catch (error) {
      toast(error.message, "bad");
    } finally {
      button.disabled = false;
    }
  });
  return button;
}

async function toClipboard(text) {
  // There is no clipboard on plain HTTP away from this machine.
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const area = h("textarea", { class: "away", "aria-hidden": "true" });
  area.value = text;
  document.body.append(area);
  area.select();
  document.execCommand("copy");
  area.remove();
}

/** A button that copies what `text` gives. */
export function copier(label, text, kind = "quiet") {
  const button = h("button", { type: "button", class: kind });
  put(button, label);
  button.addEventListener("click", async () => {
    try {
      await toClipboard(text());
      put(button, "Copied");
    } catch {
      put(button, "Not copied");
    }
    setTimeout(() => put(button, label), 1500);
  });
  return button;
}
