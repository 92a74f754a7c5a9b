// Nodes. Everything that comes from tasks is put in as text, never as markup.

const SVG = "http://www.w3.org/2000/svg";
// What turns the direction of reading, or shows nothing at all, is made visible.
const UNSEEN = new RegExp(
  "[\\u0000-\\u0008\\u000b-\\u001f\\u007f-\\u009f\\u00ad\\u061c\\u200b\\u200e\\u200f\\u2028-\\u202e" +
    "\\u2060-\\u206f\\ufeff\\ufff9-\\ufffb\\u{e0000}-\\u{e007f}\\ud800-\\udfff]",
  "gu",
);
const LONGEST = 20_000;

/** Text fit to be shown: without characters that hide or reorder others. */
export function clean(value) {
  return String(value).replace(UNSEEN, (c) => `‹U+${c.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}›`);
}

function assign(node, properties) {
  for (const [key, value] of Object.entries(properties ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (key === "title" || key === "aria-label") node.setAttribute(key, clean(value).slice(0, 2000));
    else node.setAttribute(key, value === true ? "" : value);
  }
}

function fill(node, children) {
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false || child === "") continue;
    node.append(child instanceof Node ? child : clean(child));
  }
  return node;
}

/** A node of HTML: `h("a", {class: "door", href}, "text", node)`. */
export function h(tag, properties, ...children) {
  const node = document.createElement(tag);
  assign(node, properties);
  return fill(node, children);
}

/** A node of SVG. */
export function s(tag, properties, ...children) {
  const node = document.createElementNS(SVG, tag);
  assign(node, properties);
  return fill(node, children);
}

/** Set the text of a node, if it is another one. */
export function put(node, value) {
  const text = clean(value ?? "");
  if (node.textContent !== text) node.textContent = text;
}

/** Set an attribute, if it is another one; null takes it away. */
export function mark(node, name, value) {
  if (value === null || value === undefined || value === false) {
    if (node.hasAttribute(name)) node.removeAttribute(name);
    return;
  }
  const text = value === true ? "" : clean(value);
  if (node.getAttribute(name) !== text) node.setAttribute(name, text);
}

const drawn = new WeakMap();

/** Build the children of a node anew if what they show has changed, so that focus and selection stay. */
export function redraw(node, data, build) {
  const key = JSON.stringify(data, (_, value) => (typeof value === "bigint" ? String(value) : value));
  if (drawn.get(node) === key) return;
  drawn.set(node, key);
  const children = build(data);
  node.hidden = children === null;
  node.replaceChildren();
  fill(node, [children]);
}

/** Make the children of `parent` those of `items`, in their order; a node lives as long as its key. */
export function keyed(parent, items, keyOf, make, update) {
  const old = new Map();
  for (const node of parent.children) old.set(node.dataset.key, node);
  let next = parent.firstElementChild;
  for (const item of items) {
    const key = String(keyOf(item));
    let node = old.get(key);
    if (node) old.delete(key);
    else {
      node = make(item);
      node.dataset.key = key;
    }
    if (node === next) next = node.nextElementSibling;
    else parent.insertBefore(node, next);
    update?.(node, item);
  }
  for (const node of old.values()) node.remove();
}

/** A long text in a block of its own, cut until somebody wants all of it. */
export function long(text, kind = "") {
  const node = h("pre", { class: kind, tabindex: "0" }, text.slice(0, LONGEST));
  if (text.length <= LONGEST) return node;
  const more = h("button", { type: "button", onclick: () => { put(node, text); more.remove(); } },
    `Show all ${text.length.toLocaleString("en")} characters`);
  return h("div", {}, node, more);
}

export const chip = (status, text = status) => h("span", { class: `chip ${status}` }, text);

/** A panel with a heading, and what belongs beside that. */
export function panel(title, ...children) {
  return h("section", { class: "panel" }, h("h2", {}, title), ...children);
}
