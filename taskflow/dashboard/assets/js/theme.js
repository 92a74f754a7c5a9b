// Light or dark, this place's clock or UTC: chosen here and remembered by the browser.

import { h, mark, put } from "./dom.js";
import { clock } from "./format.js";
import { bus } from "./store.js";

// Storage may be forbidden; then a choice lasts as long as the page.
function remembered(name) {
  try {
    return localStorage.getItem(`taskflow.${name}`);
  } catch {
    return null;
  }
}

function remember(name, value) {
  try {
    if (value) localStorage.setItem(`taskflow.${name}`, value);
    else localStorage.removeItem(`taskflow.${name}`);
  } catch {
    // nothing to be done
  }
}

const dark = matchMedia("(prefers-color-scheme: dark)");
const root = document.documentElement;

const chosen = () => root.dataset.theme ?? (dark.matches ? "dark" : "light");

export function applyChoices() {
  const theme = remembered("theme");
  if (theme === "light" || theme === "dark") root.dataset.theme = theme;
  clock.utc = remembered("clock") === "utc";
}

export function themeSwitch() {
  const button = h("button", { type: "button", class: "quiet wide-only", "aria-label": "Switch between light and dark" });
  const tell = () => put(button, chosen() === "dark" ? "Light" : "Dark");
  button.addEventListener("click", () => {
    const next = chosen() === "dark" ? "light" : "dark";
    // The choice of the system needs no memory.
    if ((next === "dark") === dark.matches) delete root.dataset.theme;
    else root.dataset.theme = next;
    remember("theme", root.dataset.theme ?? "");
    tell();
  });
  dark.addEventListener("change", tell);
  mark(button, "aria-label", null);
  mark(button, "title", "Switch between light and dark");
  tell();
  return button;
}

export function clockSwitch() {
  const button = h("button", { type: "button", class: "quiet wide-only", title: "Times in UTC, or on the clock of this place" });
  const tell = () => {
    put(button, clock.utc ? "UTC" : "Local");
    mark(button, "aria-pressed", String(clock.utc));
  };
  button.addEventListener("click", () => {
    clock.utc = !clock.utc;
    remember("clock", clock.utc ? "utc" : "");
    tell();
    bus.emit("clock");
  });
  tell();
  return button;
}
