// One action on everything that a query finds: looked at first, then done.

import { post } from "./api.js";
import { act, dialog, toast } from "./dialogs.js";
import { h, put } from "./dom.js";
import { count, plural, time } from "./format.js";

const WORDS = {
  retry: { title: "Run again", verb: "Run", done: "run again", does: "Each gets a fresh budget of attempts." },
  cancel: { title: "Cancel", verb: "Cancel", done: "cancelled", does: "Those that wait do not start; those that run are told to end." },
  discard: { title: "Discard", verb: "Discard", done: "discarded", does: "They are deleted with their logs and results. Nothing brings them back." },
};

function types(preview) {
  const all = Object.entries(preview.tasks).sort((a, b) => b[1] - a[1]);
  return h("table", {}, h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "task"), h("th", { scope: "col", class: "number" }, "tasks"))),
    h("tbody", {}, all.slice(0, 12).map(([name, n]) => h("tr", {}, h("td", { class: "mono" }, name), h("td", { class: "number" }, count(n)))),
      all.length > 12 ? h("tr", {}, h("td", { class: "muted" }, plural(all.length - 12, "more type")), h("td", {})) : null));
}

function described(preview, words) {
  const least = preview.complete ? "" : "at least ";
  return [
    h("p", { class: "figure" }, `${least}${plural(preview.count, "task")}`, h("span", { class: "muted" }, ` of ${plural(Object.keys(preview.tasks).length, "type")}`)),
    h("p", {}, "Found by ", h("code", {}, preview.query), preview.oldest ? [", the oldest added ", time(preview.oldest)] : "", ". ", words.does,
      preview.count > preview.cap ? ` At most ${count(preview.cap)} at a time: the rest is left for the next time.` : ""),
    types(preview),
  ];
}

/** Preview, ask, do. Gives whether something was done. */
export async function bulk(action, query) {
  const words = WORDS[action];
  const preview = await post(["bulk", "preview"], { action, query });
  if (preview.count === 0) {
    toast(`Nothing to ${action}: no task that ${action === "cancel" ? "waits or runs" : "has ended"} is found by this.`);
    return false;
  }
  const number = String(Math.min(preview.count, preview.cap));
  return (await dialog(`${words.title}: ${plural(preview.count, "task")}`, (close) => form(close, action, preview, words, number))) ?? false;
}

function form(close, action, preview, words, number) {
  const danger = action === "discard";
  const yes = h("button", { type: "submit", class: danger ? "danger" : "main" }, `${words.verb} ${plural(Number(number), "task")}${action === "retry" ? " again" : ""}`);
  const said = h("p", { class: "bad", role: "alert" });
  const parts = [h("div", { class: "said" }, described(preview, words))];
  const input = danger ? h("input", { type: "text", autocomplete: "off", inputmode: "numeric", "aria-label": `Write ${number} to go on` }) : null;
  if (input) {
    yes.disabled = true;
    input.addEventListener("input", () => { yes.disabled = input.value.trim() !== number; });
    parts.push(h("p", {}, "Write ", h("code", {}, number), " to go on:"), input);
  }
  const submit = async (event) => {
    event.preventDefault();
    if (yes.disabled) return;
    yes.disabled = true;
    try {
      const answer = await post(["bulk"], { action, query: preview.query, expected: preview.count, complete: preview.complete });
      // Those that are told to end match until they have, those that are unknown here always.
      const rest = Math.max(0, answer.left - answer.asked - answer.unknown);
      const unknown = answer.unknown ? `, ${count(answer.unknown)} of unknown type` : "";
      const left = `${unknown}${rest ? `, ${answer.complete ? "" : "at least "}${count(rest)} left` : ""}`;
      const skipped = answer.skipped ? `, ${count(answer.skipped)} had moved on` : "";
      toast(`${plural(answer.done, "task")} ${words.done}${skipped}${left}.`, "good");
      close(true);
    } catch (error) {
      put(said, error.message);
      yes.disabled = false;
    }
  };
  return h("form", { method: "dialog", onsubmit: submit }, parts, said,
    h("p", { class: "buttons" }, h("button", { type: "button", onclick: () => close(false) }, "Keep as it is"), yes));
}

/** A button for `bulk`. */
export function bulkButton(label, action, query, after, kind = "") {
  return act(label, async () => {
    if (await bulk(action, typeof query === "function" ? query() : query)) after?.();
  }, { kind });
}
