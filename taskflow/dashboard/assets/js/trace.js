// A traceback of Python with what is not the user's own code folded.

import { h, long } from "./dom.js";
import { plural } from "./format.js";

const FRAME = /^ {2}File "(.*)", line (\d+)(?:, in (.*))?$/;
const LIBRARY = /(?:site-packages|dist-packages|[\\/]lib(?:64)?[\\/]python\d|^<frozen|[\\/](?:taskflow|executors)[\\/])/;

/** Lines as `{frame, lines}` and `{text}`. */
function parse(text) {
  const found = [];
  for (const line of text.split("\n")) {
    const frame = FRAME.exec(line);
    const last = found.at(-1);
    if (frame) found.push({ file: frame[1], line: frame[2], where: frame[3] ?? "", code: [], library: LIBRARY.test(frame[1]) });
    else if (last?.file !== undefined && line.startsWith("    ")) last.code.push(line);
    else if (last?.text !== undefined) last.text.push(line);
    else found.push({ text: [line] });
  }
  return found;
}

function frame(it) {
  const code = it.code.filter((line) => !/^\s*[\^~]+\s*$/.test(line)).map((line) => line.trim()).join(" ");
  const parts = it.file.split(/[\\/]/);
  const shown = it.library ? parts.slice(-3).join("/") : parts.slice(-2).join("/");
  return h("li", { class: it.library ? "muted" : "" }, h("span", { class: "at", title: it.file }, `${shown}:${it.line}`),
    h("span", {}, it.where ? `in ${it.where}` : ""), h("span", { class: "code" }, code));
}

/** The trace as nodes; as it is where it is not one of Python. */
export function trace(text, error = "") {
  const items = parse(text);
  if (!items.some((item) => item.file !== undefined)) return long(text);
  const nodes = [];
  let frames = [];
  const flush = () => {
    if (!frames.length) return;
    const mine = frames.some((item) => !item.library);
    for (let i = 0; i < frames.length;) {
      let end = i;
      while (end < frames.length && frames[end].library) end += 1;
      if (end > i) {
        const hidden = frames.slice(i, end);
        nodes.push(h("details", mine ? {} : { open: true }, h("summary", {}, plural(hidden.length, "library frame")), h("ol", { class: "frames" }, hidden.map(frame))));
        i = end;
      } else {
        while (end < frames.length && !frames[end].library) end += 1;
        nodes.push(h("ol", { class: "frames own" }, frames.slice(i, end).map(frame)));
        i = end;
      }
    }
    frames = [];
  };
  for (const item of items) {
    if (item.file !== undefined) {
      frames.push(item);
      continue;
    }
    flush();
    const said = item.text.join("\n").trim();
    if (said && said !== error.trim() && said !== "Traceback (most recent call last):") nodes.push(h("p", { class: "pre" }, said.slice(0, 4000)));
  }
  flush();
  return h("div", { class: "trace" }, nodes);
}
