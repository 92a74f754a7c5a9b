// The tasks of a filter, newest first: pages from the store, kept true by the stream.

import { get } from "./api.js";
import { matcher, merge } from "./tasks.js";

const FIRST = 100;
const MORE = 200;
const MOST = 20_000;

export class TaskList {
  items = [];
  cursor = null;
  searchedTo = null;
  complete = false;
  loaded = false;
  #known = new Map();
  #held = new Map();
  #turn = 0;
  #loading = false;

  constructor(query) {
    this.query = query;
    this.matches = matcher(query);
  }

  get held() {
    return this.#held.size;
  }

  /** The first page, again: rows stay, and those that left the filter go. Gives the ids that changed. */
  async refresh(hold) {
    const turn = ++this.#turn;
    const page = await get([], { query: this.query, limit: FIRST });
    if (turn !== this.#turn) return [];
    const changed = [];
    const ids = new Set(page.items.map((task) => task.task_id));
    const oldest = page.next_cursor ? page.items.at(-1)?.created_at ?? "" : "";
    if (!this.loaded || !page.next_cursor) {
      this.cursor = page.next_cursor;
      this.searchedTo = page.searched_to ?? null;
    }
    for (const task of this.items) {
      if (task.created_at > oldest && !ids.has(task.task_id)) this.#known.delete(task.task_id);
    }
    for (const task of page.items) {
      const old = this.#known.get(task.task_id);
      if (old) {
        if (old.status !== task.status) changed.push(task.task_id);
        this.#known.set(task.task_id, task);
      } else if (hold && this.loaded) this.#held.set(task.task_id, task);
      else {
        if (this.loaded) changed.push(task.task_id);
        this.#known.set(task.task_id, task);
      }
    }
    this.loaded = true;
    this.#sort();
    return changed;
  }

  /** The next page. */
  async more() {
    if (!this.cursor || this.#loading || this.items.length >= MOST) return false;
    this.#loading = true;
    try {
      const page = await get([], { query: this.query, limit: MORE, cursor: this.cursor });
      for (const task of page.items) this.#known.set(task.task_id, task);
      this.cursor = page.next_cursor;
      this.searchedTo = page.searched_to ?? null;
      this.#sort();
      return page.items.length > 0;
    } finally {
      this.#loading = false;
    }
  }

  /** News of the stream. Gives the ids that changed, or null if only the store can tell what to show. */
  hear(tasks, hold) {
    const changed = [];
    let unsure = false;
    for (const news of tasks) {
      const id = news.task_id;
      const old = this.#known.get(id) ?? this.#held.get(id);
      const task = old ? merge(old, news) : news;
      if (!this.matches) {
        if (this.#known.has(id)) this.#known.set(id, task);
        unsure = true;
      } else if (!this.matches(task)) {
        this.#known.delete(id);
        this.#held.delete(id);
      } else if (this.#known.has(id)) {
        this.#known.set(id, task);
        if (old.status !== task.status) changed.push(id);
      } else if (!task.created_at || !task.func_name) unsure = true;
      else if (hold) this.#held.set(id, task);
      // What is older than all that was loaded comes with its page.
      else if (!this.cursor || task.created_at > (this.items.at(-1)?.created_at ?? "")) {
        this.#known.set(id, task);
        changed.push(id);
      }
    }
    this.#sort();
    return { changed, unsure };
  }

  /** Let in what was held back. */
  release() {
    const changed = [...this.#held.keys()];
    for (const [id, task] of this.#held) this.#known.set(id, task);
    this.#held.clear();
    this.#sort();
    return changed;
  }

  #sort() {
    const items = [...this.#known.values()];
    let sorted = true;
    for (let i = 1; i < items.length && sorted; i += 1) sorted = newest(items[i - 1], items[i]) <= 0;
    if (!sorted) items.sort(newest);
    this.items = items.length > MOST ? items.slice(0, MOST) : items;
    if (!sorted) this.#known = new Map(this.items.map((task) => [task.task_id, task]));
  }
}

const newest = (a, b) => (a.created_at < b.created_at ? 1 : a.created_at > b.created_at ? -1 : a.task_id < b.task_id ? 1 : -1);
