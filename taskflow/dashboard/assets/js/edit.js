// A dialog with JSON: run a task again with other arguments, change a lane or a queue.

import { asCurl, post } from "./api.js";
import { copier, dialog } from "./dialogs.js";
import { h, put } from "./dom.js";

const MASK = "[redacted]";

// Whole numbers that JavaScript cannot hold are written digit by digit.
function write(value) {
  const big = [];
  const text = JSON.stringify(value, (_, item) => {
    if (typeof item !== "bigint") return item;
    big.push(String(item));
    return `\u0000${big.length - 1}\u0000`;
  }, 2);
  return text.replace(/"\\u0000(\d+)\\u0000"/g, (_, i) => big[i]);
}

/** What is wrong with a text as arguments; "" if nothing. */
function wrong(text) {
  let value;
  try {
    value = JSON.parse(text);
  } catch (error) {
    return `This is no JSON: ${error.message}`;
  }
  if (value === null || typeof value !== "object" || Array.isArray(value)) return 'Write an object: {"args": [...], "kwargs": {...}}';
  const extra = Object.keys(value).filter((key) => key !== "args" && key !== "kwargs");
  if (extra.length) return `Only "args" and "kwargs" are known here, not "${extra[0]}"`;
  if (!Array.isArray(value.args ?? [])) return '"args" must be a list';
  if (value.kwargs !== undefined && (value.kwargs === null || typeof value.kwargs !== "object" || Array.isArray(value.kwargs))) return '"kwargs" must be an object';
  if (JSON.stringify(value).includes(MASK)) return `Some values are hidden here: write their real values in place of ${MASK}`;
  if (/"…"|… \(\d[\d,]* characters\)"|"… \d[\d,]* more"/.test(JSON.stringify(value))) return "Some values were cut for display: write them in full";
  return "";
}

/** Edit the arguments of `task` and add a new one with them. Gives that, or undefined. */
export function editArguments(task) {
  const start = typeof task.arguments === "object" && task.arguments !== null ? task.arguments : { args: [], kwargs: {} };
  return dialog("Run with other arguments", (close) => {
    const area = h("textarea", { class: "mono", rows: "14", spellcheck: "false", "aria-label": "Arguments as JSON" });
    area.value = write(start);
    const said = h("p", { class: "bad", role: "alert" });
    const yes = h("button", { type: "submit", class: "main" }, "Add the task");
    const check = () => {
      const problem = wrong(area.value);
      put(said, problem);
      yes.disabled = Boolean(problem);
    };
    area.addEventListener("input", check);
    check();
    const submit = async (event) => {
      event.preventDefault();
      if (wrong(area.value)) return;
      yes.disabled = true;
      try {
        close(await post([task.task_id, "retry"], area.value));
      } catch (error) {
        put(said, error.message);
        yes.disabled = false;
      }
    };
    return h("form", { method: "dialog", onsubmit: submit },
      h("p", {}, "A new task is added with these; ", h("code", {}, task.func_name), " of ", h("code", {}, task.task_id), " stays as it is."),
      area, said,
      h("p", { class: "buttons" }, copier("Copy as curl", () => asCurl("POST", [task.task_id, "retry"], area.value)),
        h("button", { type: "button", onclick: () => close() }, "Cancel"), yes));
  }, { wide: true });
}

/** A form of few fields: `fields` are `{name, label, value, help, parse}`. Calls `save(changes)`. */
export function editFields(title, words, fields, save) {
  return dialog(title, (close) => {
    const said = h("p", { class: "bad", role: "alert" });
    const yes = h("button", { type: "submit", class: "main" }, "Save");
    const inputs = fields.map((field) => {
      const input = h("input", { type: "text", autocomplete: "off", id: `field-${field.name}`, inputmode: field.number ? "numeric" : "text" });
      input.value = field.value ?? "";
      return { field, input };
    });
    const submit = async (event) => {
      event.preventDefault();
      yes.disabled = true;
      try {
        const changes = {};
        for (const { field, input } of inputs) {
          const text = input.value.trim();
          if (text === String(field.value ?? "")) continue;
          if (field.number && text && !/^\d+$/.test(text)) throw new Error(`${field.label}: write a whole number, or nothing`);
          changes[field.name] = text === "" ? null : field.number ? Number(text) : text;
        }
        if (Object.keys(changes).length) await save(changes);
        close(true);
      } catch (error) {
        put(said, error.message);
        yes.disabled = false;
      }
    };
    return h("form", { method: "dialog", onsubmit: submit }, h("p", {}, words),
      h("div", { class: "fields" }, inputs.map(({ field, input }) => [h("label", { for: input.id }, field.label), input, h("span", { class: "muted" }, field.help ?? "")])),
      said, h("p", { class: "buttons" }, h("button", { type: "button", onclick: () => close() }, "Cancel"), yes));
  });
}
