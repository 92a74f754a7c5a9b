// The dashboard. Everything that comes from tasks is put in as text, never as markup.

const STATUSES = ["running", "pending", "scheduled", "retrying", "failed", "interrupted", "cancelled", "success"];
const FINAL = new Set(["success", "failed", "cancelled", "interrupted"]);
const LONGEST = 8192; // characters of one text that are shown at first
const PLACES = { "event loop": "a turn on the event loop", threads: "a thread", processes: "a worker process" };
const LESSON = `@task_manager.task(retries=3)
def send_welcome_email(email: str): ...

@app.post("/signup")
def signup(email: str, background_tasks: BackgroundTasks):
    background_tasks.add_task(send_welcome_email, email=email)`;

const $ = (id) => document.getElementById(id);
const number = new Intl.NumberFormat("en");
const built = new Map(); // what each part of the page was last built from
let skew = 0; // milliseconds that the server's clock is ahead of this one
let turn = 0; // grows with every navigation, so that late answers are dropped
let paused = false;
let timer = 0;
let busy = false; // whether something runs

// -- nodes ------------------------------------------------------------------------------------

// Characters that would turn the reading direction of what follows, or show nothing at all.
const clean = (value) => String(value).replace(/[\u0000-\u0008\u000e-\u001f\u202a-\u202e\u2066-\u2069]/g, "\ufffd");

function h(tag, properties, ...children) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(properties ?? {})) {
    if (value === undefined || value === null) continue;
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (key === "class") node.className = value;
    else node.setAttribute(key, value);
  }
  node.append(...children.filter((c) => c !== null).map((c) => (c instanceof Node ? c : clean(c))));
  return node;
}

function put(node, value) {
  const text = clean(value);
  if (node.textContent !== text) node.textContent = text;
}

// Build a part of the page anew only if what it shows has changed, so that focus and selection stay.
function part(id, data, build) {
  const key = JSON.stringify(data);
  if (built.get(id) === key) return;
  built.set(id, key);
  const children = build(data);
  $(id).hidden = children === null;
  $(id).replaceChildren(...(children ?? []));
}

function long(text) {
  const node = h("pre", {}, text.slice(0, LONGEST));
  if (text.length <= LONGEST) return node;
  const more = h("button", { type: "button", onclick: () => { put(node, text); more.remove(); } },
    `Show all ${number.format(text.length)} characters`);
  return h("div", {}, node, more);
}

const chip = (status) => h("span", { class: `chip ${status}` }, status);

// -- words ------------------------------------------------------------------------------------

function span(seconds) {
  if (seconds < 0.001) return `${(seconds * 1e6).toFixed(0)} µs`;
  if (seconds < 1) return `${(seconds * 1000).toFixed(seconds < 0.01 ? 1 : 0)} ms`;
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  const s = Math.round(seconds);
  if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60} s`;
  if (s < 172800) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${Math.floor(s / 86400)} days`;
}

const since = (iso) => (Date.now() + skew - Date.parse(iso)) / 1000;

function rough(seconds) {
  if (seconds < 60) return `${Math.max(0, Math.floor(seconds))} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 172800) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86400)} days`;
}

const ago = (iso) => `${rough(since(iso))} ago`;
const count = (n, one, many = `${one}s`) => `${number.format(n)} ${n === 1 ? one : many}`;
const short = (name) => name.slice(name.lastIndexOf(":") + 1);

// Why a lane starts nothing now, or nothing.
const stopped = (lane) => lane.refusing ? `takes no work: ${lane.refusing}` : lane.brakes.length ? `is ${lane.brakes.join(" and ")}` : "";

function sentence(metrics, lanes) {
  const c = metrics.counts;
  if (!metrics.store.ok) return [h("span", { class: "bad" }, `The store cannot be written: ${metrics.store.trouble}`)];
  if (metrics.total === 0) return ["No task has been added yet."];
  const said = [];
  for (const lane of lanes) {
    const waits = lane.waiting + lane.backlog;
    if (lane.stuck && !lane.refusing) said.push(`${count(lane.stuck, "thread")} of the ${lane.name} lane ${lane.stuck === 1 ? "is" : "are"} stuck. `);
    if (stopped(lane)) said.push(`The ${lane.name} lane ${stopped(lane)}; ${count(waits, "task")} ${waits === 1 ? "waits" : "wait"}. `);
    else if (lane.running >= lane.limit && waits > 0) {
      said.push(`The ${lane.name} lane is full: ${count(waits, "task")} ${waits === 1 ? "waits" : "wait"}. `);
    }
  }
  const broken = [["failed", "failed"], ["interrupted", "interrupted by a crash"]].filter(([status]) => c[status]);
  for (const [status, words] of broken) {
    const verb = status === "failed" ? "" : c[status] === 1 ? "was " : "were ";
    said.push(h("a", { class: "bad", href: `?status=${status}` }, `${count(c[status], "task")} ${verb}${words}`), ". ");
  }
  const waiting = c.pending + c.retrying;
  const now = `${number.format(c.running)} running, ${waiting ? `${number.format(waiting)} waiting` : "nothing waits"}.`;
  said.push(said.length ? now : `All is well: ${now}`);
  return said;
}

// -- overview ---------------------------------------------------------------------------------

function laneCard(lane) {
  const drawn = Math.min(lane.limit, 20);
  const filled = Math.ceil((lane.running / lane.limit) * drawn);
  const slots = Array.from({ length: drawn }, (_, i) => h("i", { class: i < filled ? "busy" : "" }));
  const kind = lane.kind === "event loop" ? lane.kind : `${number.format(lane.limit)} ${lane.kind}`;
  const waits = lane.waiting + lane.backlog;
  let line = "Nothing waits.";
  if (stopped(lane)) line = `It ${stopped(lane)}.`;
  else if (waits) line = `${count(waits, "task")} ${waits === 1 ? "waits" : "wait"} for ${PLACES[lane.kind]}.`;
  const facts = [["waiting", number.format(lane.waiting)], ["on disk", number.format(lane.backlog)], ["room", number.format(lane.room)]];
  if (lane.stuck !== null) facts.push(["stuck", number.format(lane.stuck)]);
  if (lane.workers !== null) facts.push(["workers up", number.format(lane.workers.length)]);
  return h("div", { class: "lane" },
    h("div", { class: "top" }, h("b", {}, lane.name), h("span", { class: "muted" }, kind),
      h("span", {}, `${number.format(lane.running)} of ${number.format(lane.limit)} busy`)),
    h("div", { class: "slots", "aria-hidden": "true" }, ...slots),
    h("dl", {}, ...facts.flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)])),
    h("p", {}, line));
}

function chips(counts, current) {
  const total = Object.values(counts).reduce((sum, n) => sum + n, 0);
  const one = (status, n, label) => h("a", {
    class: `chip ${status} ${n ? "" : "none"}`, href: link({ status, cursor: "" }),
    "aria-current": (current ?? "") === status ? "true" : undefined,
  }, `${label} ${number.format(n)}`);
  return [one("", total, "all"), ...STATUSES.map((status) => one(status, counts[status], status))];
}

function timing(task) {
  if (task.duration !== null) return span(task.duration);
  if (task.status === "scheduled" || task.status === "retrying") {
    const left = task.run_at ? -since(task.run_at) : 0;
    return left > 0 ? `in ${rough(left)}` : "due";
  }
  return task.status === "pending" ? `waits ${rough(since(task.created_at))}` : "";
}

function why(task) {
  const said = [];
  if (task.max_attempts > 1 && task.attempts > 0 && task.status !== "success") said.push(`attempt ${task.attempts} of ${task.max_attempts}`);
  if (task.error) said.push(task.error.split("\n", 1)[0].slice(0, 300));
  if (task.result_error) said.push("the result could not be stored");
  return said.join(", ");
}

function emptyRow(task) {
  const name = h("a", { href: link({ task: task.task_id }) });
  return h("tr", { "data-id": task.task_id }, h("td", { class: "c-status" }, h("span", { class: "chip" })),
    h("td", { class: "task" }, name), h("td", { class: "c-lane" }), h("td", { class: "c-time number" }),
    h("td", { class: "c-why" }), h("td", { class: "c-added number" }));
}

function fillRow(row, task) {
  const [status, name, lane, time, reason, added] = row.children;
  if (status.textContent !== task.status) {
    if (status.textContent) row.classList.add("changed");
    status.firstChild.className = `chip ${task.status}`;
    put(status.firstChild, task.status);
  }
  put(name.firstChild, short(task.func_name));
  name.title = clean(`${task.func_name}\n${task.task_id}`);
  put(lane, task.lane);
  put(time, timing(task));
  put(reason, why(task));
  reason.title = clean(task.error ?? "");
  put(added, ago(task.created_at));
}

function showRows(page, here) {
  const body = $("rows");
  const rows = new Map([...body.children].map((row) => [row.dataset.id, row]));
  let before = body.firstChild;
  for (const task of page.items) {
    let row = rows.get(task.task_id);
    if (row) rows.delete(task.task_id);
    else {
      row = emptyRow(task);
      row.addEventListener("animationend", () => row.classList.remove("changed"));
    }
    if (row === before) before = row.nextSibling;
    else body.insertBefore(row, before);
    fillRow(row, task);
  }
  for (const row of rows.values()) row.remove();
  const filtered = here.q || here.status || here.cursor;
  part("empty", [page.items.length, Boolean(filtered)], () => page.items.length ? null
    : filtered ? ["No task matches. ", h("a", { href: "?" }, "Show all")]
      : [h("h2", {}, "This makes the first one"), long(LESSON)]);
  part("pages", [page.next_cursor, here], () => [
    ...(here.cursor ? [h("a", { href: link({ cursor: "" }) }, "Newest")] : []),
    ...(page.next_cursor ? [h("a", { href: link({ cursor: page.next_cursor }) }, "Older")] : []),
  ]);
}

// -- one task ---------------------------------------------------------------------------------

function story(task) {
  const pieces = [];
  const add = (kind, from, to, words) => pieces.push({ kind, words, seconds: Math.max(0, (to - from) / 1000) });
  let at = Date.parse(task.created_at);
  for (const run of task.history) {
    const start = Date.parse(run.started_at);
    const end = run.ended_at ? Date.parse(run.ended_at) : start + run.duration * 1000;
    if (start > at) add("gap", at, start, "waited");
    const kind = { success: "good", running: "now", snoozed: "cut", "handed back": "cut", cancelled: "cut" }[run.outcome] ?? "ill";
    add(kind, start, end, `${run.number} ${run.outcome}`);
    at = Math.max(at, end);
  }
  if (!FINAL.has(task.status) && task.status !== "running") add("gap", at, Date.now() + skew, "waits");
  const total = pieces.reduce((sum, piece) => sum + piece.seconds, 0) || 1;
  return pieces.map(({ kind, words, seconds }) => {
    const share = seconds / total;
    const node = h("span", { class: kind, title: `${words}, ${span(seconds)}` }, share > 0.1 ? words : "");
    node.style.flexGrow = Math.max(share, 1e-6);
    return node;
  });
}

function errors(task) {
  const found = task.history.filter((run) => run.error || run.stacktrace).reverse();
  if (!found.length && task.error) return [h("h2", {}, "Error"), h("pre", { class: "bad" }, task.error)];
  if (!found.length) return null;
  // Newest first and open; what led to it is there to be opened.
  return found.map((run, i) => h("details", i ? {} : { open: "" },
    h("summary", {}, `Execution ${run.number}: ${run.outcome}`),
    h("pre", { class: run.outcome === "snoozed" ? "" : "bad" }, (run.error ?? "").slice(0, LONGEST)),
    run.stacktrace ? long(run.stacktrace) : null));
}

function values(task) {
  const rows = [];
  if (typeof task.arguments === "string") rows.push(["stored", task.arguments]);
  else {
    task.arguments.args.forEach((value, i) => rows.push([String(i), JSON.stringify(value)]));
    for (const [name, value] of Object.entries(task.arguments.kwargs)) rows.push([name, JSON.stringify(value)]);
  }
  const nodes = [h("h2", {}, "Arguments"), rows.length
    ? h("dl", {}, ...rows.flatMap(([name, value]) => [h("dt", { class: "mono" }, name), h("dd", {}, value.slice(0, LONGEST))]))
    : h("p", { class: "muted" }, "none")];
  if (task.status === "success") {
    nodes.push(h("h2", {}, "Result"), task.result_error ? h("pre", { class: "bad" }, task.result_error) : long(JSON.stringify(task.result, null, 1)));
  }
  return nodes;
}

function facts(task) {
  const tags = Array.isArray(task.tags) ? task.tags : Object.entries(task.tags).map(([key, value]) => `${key}=${value}`);
  const rows = [
    ["id", task.task_id], ["function", task.func_name], ["lane", task.lane], ["queue", task.queue],
    ["priority", String(task.priority)], ["source", task.source], ["tags", tags.join(", ")],
    ["timeout", task.timeout === null ? "" : span(task.timeout)], ["key", task.idempotency_key],
    ["crashes", task.crashes ? String(task.crashes) : ""], ["instance", task.instance],
    ["added", task.created_at], ["started", task.start_time], ["ended", task.end_time],
  ].filter(([, value]) => value);
  return [h("h2", {}, "Facts"), h("dl", {}, ...rows.flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]))];
}

function historyTable(task) {
  if (task.history.length < 2) return null;
  return [h("h2", {}, "Executions"), h("table", {}, h("tbody", {}, ...task.history.map((run) => h("tr", {},
    h("td", { class: "number" }, String(run.number)), h("td", {}, run.outcome),
    h("td", { class: "number" }, span(run.duration)),
    h("td", { class: "c-why" }, run.error ?? ""))))) ];
}

function actions(task) {
  const button = (action, label, kind) => h("button", { type: "button", class: kind, onclick: (event) => act(event.target, task.task_id, action) }, label);
  return [FINAL.has(task.status) ? button("retry", "Run again", "main") : button("cancel", "Cancel", "")];
}

function showTask(task) {
  const words = [`Added by ${task.source} ${ago(task.created_at)}`];
  if (task.attempts) words.push(`attempt ${task.attempts} of ${task.max_attempts}`);
  words.push(`lane ${task.lane}`);
  if (task.duration !== null) words.push(task.status === "running" ? `running for ${span(task.duration)}` : `ran ${span(task.duration)}`);
  part("t-head", [task.func_name, task.status, words, task.waiting_for], () => [
    h("p", { class: "title" }, h("span", { class: "mono" }, short(task.func_name)), chip(task.status)),
    h("p", { class: "muted" }, words.join(", ")),
    task.waiting_for ? h("p", {}, `It ${task.waiting_for.text}.`) : "",
  ]);
  part("t-story", [task.history, task.status, FINAL.has(task.status) ? 0 : Math.floor(Date.now() / 1000)],
    () => [h("h2", {}, "What happened"), h("div", { class: "story" }, ...story(task))]);
  part("t-errors", task.history.map((run) => [run.outcome, run.error, run.stacktrace]).concat([[task.error]]), () => errors(task));
  part("t-logs", task.logs, (logs) => logs.length ? [h("h2", {}, "Log"), h("ol", { class: "lines mono" }, ...logs.map((line) => h("li", {},
    h("span", { class: "muted" }, `${line.at.slice(11, 23)}  `),
    h("span", { class: line.level }, line.level === "info" ? line.message : `${line.level.toUpperCase()}  ${line.message}`))))] : null);
  part("t-history", task.history.map((run) => [run.outcome, run.error, run.ended_at]), () => historyTable(task));
  part("t-actions", [task.task_id, FINAL.has(task.status)], () => actions(task));
  part("t-values", [task.arguments, task.result, task.result_error, task.status], () => values(task));
  part("t-facts", [task.task_id, task.start_time, task.end_time, task.instance], () => facts(task));
}

// -- talking to the app -----------------------------------------------------------------------

async function ask(path, options) {
  const answer = await fetch(new URL(path, document.baseURI), { cache: "no-store", ...options });
  const date = Date.parse(answer.headers.get("date") ?? "");
  // The header has whole seconds, so that only a difference beyond that means anything.
  if (date && Math.abs(date - Date.now()) > 2000) skew = date - Date.now();
  const body = await answer.json().catch(() => ({}));
  if (answer.ok) return body;
  const detail = typeof body.detail === "string" ? body.detail : `the app answered ${answer.status}`;
  throw Object.assign(new Error(detail), { status: answer.status });
}

async function act(button, id, action) {
  button.disabled = true;
  note("");
  try {
    await ask(`${encodeURIComponent(id)}/${action}`, { method: "POST" });
  } catch (error) {
    note(error.message);
  }
  button.disabled = false;
  tick();
}

function note(text) {
  put($("note"), text);
  $("note").hidden = !text;
}

// -- where we are -----------------------------------------------------------------------------

function place() {
  const query = new URLSearchParams(location.search);
  return Object.fromEntries(["q", "status", "cursor", "task"].map((key) => [key, query.get(key) ?? ""]));
}

function link(change) {
  const { task, ...here } = place();
  const query = new URLSearchParams(Object.entries({ ...here, ...change }).filter(([, value]) => value));
  return `?${query}`;
}

function go(href, replace = false) {
  history[replace ? "replaceState" : "pushState"](null, "", href === "?" ? location.pathname : href);
  arrive();
}

function arrive() {
  turn += 1;
  note("");
  const here = place();
  $("overview").hidden = Boolean(here.task);
  $("task").hidden = true;
  if (document.activeElement !== $("filter")) $("filter").value = here.q;
  built.delete("chips");
  tick();
}

async function refresh() {
  const mine = turn;
  const here = place();
  const query = new URLSearchParams({ q: here.q, status: here.status, cursor: here.cursor, limit: "50" });
  const [metrics, lanes, shown] = await Promise.all([
    ask("metrics"), ask("lanes"), here.task ? ask(encodeURIComponent(here.task)) : ask(`.?${query}`),
  ]);
  if (mine !== turn) return;
  busy = metrics.counts.running > 0;
  part("sentence", [metrics.counts, metrics.store, lanes.items.map((lane) => [lane.waiting, lane.backlog, lane.running, lane.stuck, stopped(lane)])],
    () => sentence(metrics, lanes.items));
  part("lanes", lanes.items.map((lane) => [lane.limit, lane.running, lane.waiting, lane.backlog, lane.room, lane.stuck, lane.workers?.length, stopped(lane)]),
    () => lanes.items.map(laneCard));
  part("chips", [metrics.counts, here.status], () => chips(metrics.counts, here.status));
  put($("about"), here.status || here.q ? "" : `${count(metrics.throughput_per_minute, "task")} a minute`);
  if (here.task) {
    showTask(shown);
    $("task").hidden = false;
  } else showRows(shown, here);
}

function live(kind, words) {
  $("live").className = `live ${kind}`;
  put($("live"), words);
}

async function look() {
  const mine = turn;
  try {
    await refresh();
    live("on", "live");
    return busy ? 1000 : 2000;
  } catch (error) {
    if (mine === turn) complain(error);
    return 4000;
  }
}

function complain(error) {
  if (error.status === 404 && place().task) note(error.message);
  else if (error.status === 422) note("The address of this page asks for something that does not exist.");
  else live("off", error.status ? error.message : "the app does not answer");
}

let looking = false;
let again = false; // whether something happened since the look under way began
async function tick() {
  clearTimeout(timer);
  again = true;
  if (looking) return;
  looking = true;
  let wait = 0;
  while (again) {
    again = false;
    wait = await look();
  }
  looking = false;
  if (paused || document.hidden) live("", "paused");
  else timer = setTimeout(tick, wait);
}

document.addEventListener("click", (event) => {
  const anchor = event.target.closest("a[href^='?']");
  if (!anchor || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
  event.preventDefault();
  go(anchor.getAttribute("href"));
});
let typing = 0;
$("filter").addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(() => go(link({ q: $("filter").value.trim(), cursor: "" }), true), 250);
});
$("pause").addEventListener("click", () => {
  paused = !paused;
  put($("pause"), paused ? "Resume" : "Pause");
  $("pause").setAttribute("aria-pressed", String(paused));
  tick();
});
addEventListener("popstate", arrive);
document.addEventListener("visibilitychange", () => { if (!document.hidden) tick(); });
arrive();
