// Talking to the app. All addresses are relative to where this module was loaded from.

import { clock } from "./format.js";

/** Where the pages are, with a slash at the end; the API is one level up. */
export const PAGES = new URL("../../../", import.meta.url);
export const API = new URL("../", PAGES);

/** A refusal, with the status of the answer; 0 when there was none. */
export class ApiError extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

/** Text that a 422 of the app gives for each wrong value. */
function reason(detail, status) {
  if (typeof detail === "string") return detail;
  if (Array.isArray(detail)) {
    return detail.map((item) => [item.loc?.slice(1).join("."), item.msg].filter(Boolean).join(": ")).join("; ");
  }
  return `the app answered ${status}`;
}

// A whole number that JavaScript cannot hold is kept digit by digit.
function exactly(_, value, source) {
  if (typeof value !== "number" || Number.isSafeInteger(value)) return value;
  return /^-?\d+$/.test(source?.source ?? "") ? BigInt(source.source) : value;
}

async function ask(path, options = {}) {
  let answer;
  try {
    answer = await fetch(new URL(path, API), { cache: "no-store", ...options });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError("the app does not answer", 0);
  }
  const date = Date.parse(answer.headers.get("date") ?? "");
  // The header has whole seconds, so that only a difference beyond that means anything.
  if (date && Math.abs(date - Date.now()) > 2000) clock.skew = date - Date.now();
  const text = await answer.text();
  let body = {};
  try {
    body = text ? JSON.parse(text, exactly) : {};
  } catch {
    throw new ApiError(`the app answered ${answer.status}, and not in JSON`, answer.status);
  }
  if (answer.ok) return body;
  throw new ApiError(reason(body.detail, answer.status), answer.status);
}

/** `a/b?x=1` of parts that may hold any character; what is "" or null is left out. */
export function path(parts, query = {}) {
  const where = parts.map(encodeURIComponent).join("/");
  const words = new URLSearchParams(Object.entries(query).filter(([, value]) => value !== "" && value !== null && value !== undefined));
  return words.size ? `${where || "."}?${words}` : where || ".";
}

export const get = (parts, query, signal) => ask(path(parts, query), { signal });

const missing = new Map();
const AGAIN = 60_000;

/** The same, or null where this app has no such route; it is asked for again only a minute later. */
export async function maybe(parts, query, signal) {
  const route = parts[0];
  if ((missing.get(route) ?? 0) > Date.now()) return null;
  try {
    return await get(parts, query, signal);
  } catch (error) {
    if (error.status !== 404) throw error;
    missing.set(route, Date.now() + AGAIN);
    return null;
  }
}

export function send(method, parts, body, query) {
  const options = { method };
  if (body !== undefined) {
    options.headers = { "Content-Type": "application/json" };
    options.body = typeof body === "string" ? body : JSON.stringify(body);
  }
  return ask(path(parts, query), options);
}

export const post = (parts, body) => send("POST", parts, body);
export const patch = (parts, body) => send("PATCH", parts, body);

const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

/** What does the same in a shell. */
export function asCurl(method, parts, body) {
  const words = ["curl", "-X", method, quoted(new URL(path(parts), API).href)];
  if (body !== undefined) words.push("-H", quoted("Content-Type: application/json"), "-d", quoted(body));
  return words.join(" ");
}
