// The start: who looks, the frame around the pages, the page that the address names, the stream.

import { maybe } from "./api.js";
import { h, mark, put } from "./dom.js";
import { count, plural, rough, since } from "./format.js";
import { help, listenToKeys } from "./keys.js";
import "./pages/audit.js";
import "./pages/dead.js";
import "./pages/errors.js";
import "./pages/lanes.js";
import "./pages/overview.js";
import "./pages/schedules.js";
import "./pages/system.js";
import "./pages/task.js";
import "./pages/tasks.js";
import { link, listen, place } from "./router.js";
import { bus, state } from "./store.js";
import { feed } from "./stream.js";
import { applyChoices, clockSwitch, themeSwitch } from "./theme.js";

const PAGES = { overview: "Overview", tasks: "Tasks", errors: "Errors", lanes: "Lanes", schedules: "Schedules", dead: "Dead letters", audit: "Audit", system: "System" };
const SLOW = 60_000;
const $ = (id) => document.getElementById(id);
const doors = new Map();
let current = "";

function buildNav() {
  for (const [name, words] of Object.entries(PAGES)) {
    const badge = h("span", { class: "badge", hidden: true });
    const anchor = h("a", { href: link(name), class: `to-${name}` }, words, badge);
    doors.set(name, { anchor, badge });
    $("nav").append(anchor);
  }
  const more = h("button", { type: "button", class: "more", "aria-expanded": "false" }, "More");
  const fold = (open) => { $("nav").classList.toggle("open", open); mark(more, "aria-expanded", String(open)); };
  more.addEventListener("click", () => fold(!$("nav").classList.contains("open")));
  $("nav").addEventListener("click", (event) => event.target.closest("a") && fold(false));
  $("nav").append(more);
  const brand = h("a", { href: link("overview") }, document.title);
  $("brand").replaceChildren(brand);
}

function buildBar() {
  const dot = h("i", { class: "dot", "aria-hidden": "true" });
  const words = h("span", { class: "words" }, "connecting");
  const live = h("span", { id: "live", class: "live", role: "status" }, dot, words);
  const pause = h("button", { type: "button", class: "quiet", "aria-pressed": "false" }, "Pause");
  const toggle = () => feed.pause(!state.paused);
  pause.addEventListener("click", toggle);
  bus.on("key", ({ key }) => key === "p" && toggle());
  bus.on("link", ({ kind, text, paused, missed }) => {
    live.className = `live ${paused && kind === "on" ? "paused" : kind}`;
    put(words, paused && kind === "on" ? `paused${missed ? `, ${count(missed)} new` : ""}` : text);
    put(pause, paused ? "Resume" : "Pause");
    mark(pause, "aria-pressed", String(paused));
  });
  const facts = h("span", { id: "facts", class: "facts-line muted" });
  $("bar").append(facts, live, pause, clockSwitch(), themeSwitch(), h("button", { type: "button", class: "quiet wide-only", "aria-label": "Keys", title: "Keys", onclick: help }, "?"));
}

/** What is known of the app as a whole, at the left of the bar. */
async function tellFacts() {
  const system = await maybe(["system"]).catch(() => undefined);
  const parts = [];
  if (system) {
    const env = system.settings?.find((it) => it.name === "TASKFLOW_ENV")?.value;
    if (env) parts.push(h("span", { class: "env" }, env));
    const alive = system.instances?.filter((it) => it.alive).length ?? 0;
    if (alive) parts.push(h("a", { class: "plain", href: link("system") }, plural(alive, "instance")));
    if (system.started_at) parts.push(`up ${rough(since(system.started_at))}`);
  }
  if (state.me.role === "view") parts.push("you may look only");
  $("facts").replaceChildren(...parts.flatMap((part) => [h("span", {}, part)]));
  const errors = await maybe(["errors"], { hours: 24 }).catch(() => undefined);
  const { badge } = doors.get("errors");
  if (!errors) return;
  put(badge, count(errors.items.length));
  mark(badge, "title", `${plural(errors.items.length, "group")} of errors in the last 24 hours`);
  badge.hidden = errors.items.length === 0;
}

function title(heading) {
  document.title = heading ? `${heading} · ${state.me.title}` : state.me.title;
}

function show({ back = false } = {}) {
  const { page, id } = place();
  const known = PAGES[page] || page === "task" ? page : "overview";
  put($("note"), "");
  $("note").hidden = true;
  for (const [name, { anchor }] of doors) mark(anchor, "aria-current", name === (known === "task" ? "tasks" : known) ? "page" : null);
  const key = known === "task" ? `task ${id}` : known;
  if (key === current) $("main").firstElementChild.arrive({ back });
  else {
    current = key;
    const node = document.createElement(`tf-${known}`);
    if (!back) scrollTo(0, 0);
    $("main").replaceChildren(node);
    if (document.activeElement === document.body && !back) $("main").focus({ preventScroll: true });
  }
  title($("main").firstElementChild.heading);
}

async function start() {
  // A relative one would be looked for elsewhere as soon as the address changes.
  document.querySelector("link[rel=icon]").href = new URL("../icon.svg", import.meta.url).href;
  applyChoices();
  listen();
  listenToKeys();
  const me = await maybe(["me"]).catch(() => undefined);
  if (me) Object.assign(state.me, me);
  buildNav();
  buildBar();
  bus.on("place", show);
  bus.on("heading", title);
  show({ back: true });
  feed.start();
  tellFacts();
  setInterval(() => document.hidden || tellFacts(), SLOW);
}

start();
