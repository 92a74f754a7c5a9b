// Where we are: the address is the only state that a link can carry.

import { PAGES } from "./api.js";
import { bus } from "./store.js";

const HOME = PAGES.pathname.replace(/\/$/, "");

/** `{page, id, query}` of the address. */
export function place() {
  const rest = location.pathname.startsWith(`${HOME}/`) ? location.pathname.slice(HOME.length + 1) : "";
  const [page, ...more] = rest.split("/").filter(Boolean);
  const query = Object.fromEntries(new URLSearchParams(location.search));
  let id = more.join("/");
  try {
    id = decodeURIComponent(id);
  } catch {
    // not what this page made: taken as it is
  }
  return { page: page === "tasks" && id ? "task" : page || "overview", id, query };
}

/** The address of a page: `link("tasks", {query: "status:failed"})`. */
export function link(page, query = {}, id = "") {
  const path = page === "overview" ? HOME : `${HOME}/${page}${id ? `/${encodeURIComponent(id)}` : ""}`;
  const words = new URLSearchParams(Object.entries(query).filter(([, value]) => value));
  return words.size ? `${path}?${words}` : path;
}

export const tasks = (query) => link("tasks", { query });
export const task = (id) => link("tasks", {}, id);

/** One word of the query bar; quoted where it has to be. */
export function word(name, value) {
  const text = String(value);
  return /^[^\s"]+$/.test(text) ? `${name}:${text}` : `${name}:"${text.replaceAll('"', "*")}"`;
}

/** Go to an address of this page. With `replace` the one before is not kept. */
export function go(href, replace = false) {
  if (!replace && href === location.pathname + location.search) return;
  history[replace ? "replaceState" : "pushState"](null, "", href);
  bus.emit("place", { back: false, replace });
}

export function listen() {
  history.scrollRestoration = "manual";
  document.addEventListener("click", (event) => {
    const anchor = event.target.closest?.("a[href]");
    if (!anchor || event.defaultPrevented || event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
    const url = new URL(anchor.href, location.href);
    const ours = url.pathname === HOME || url.pathname.startsWith(`${HOME}/`);
    if (anchor.hasAttribute("download") || anchor.target || !ours || url.origin !== location.origin || url.hash) return;
    event.preventDefault();
    go(url.pathname + url.search);
  });
  addEventListener("popstate", () => bus.emit("place", { back: true, replace: false }));
}
