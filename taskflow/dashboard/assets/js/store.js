// What every part of the page knows, and how it hears of news.

/** Names and what goes with them: `link`, `board`, `metrics`, `tasks`, `refresh`, `clock`, `me`. */
class Bus {
  #heard = new Map();

  /** Call `hear` whenever `name` happens; returns what ends that. */
  on(name, hear) {
    if (!this.#heard.has(name)) this.#heard.set(name, new Set());
    this.#heard.get(name).add(hear);
    return () => this.#heard.get(name).delete(hear);
  }

  emit(name, value) {
    for (const hear of [...(this.#heard.get(name) ?? [])]) {
      try {
        hear(value);
      } catch (error) {
        console.error(error); // one part that fails must not silence the others
      }
    }
  }
}

export const bus = new Bus();

export const state = {
  /** Who looks, see `GET /me`; people who may only look see no buttons that write. */
  me: { user: null, role: "operate", title: document.title, version: "", instance: "", path: "" },
  board: null,
  metrics: null,
  /** Names for completion, see `GET /names`. */
  names: null,
  paused: false,
};

export const mayWrite = () => state.me.role !== "view";

const SPARK = 90;
/** Lane to its last measured throughputs, so that each line is there when a page is. */
export const sparks = new Map();

bus.on("board", (board) => {
  for (const lane of board.items) {
    const line = sparks.get(lane.name) ?? [];
    line.push(lane.throughput);
    if (line.length > SPARK) line.shift();
    sparks.set(lane.name, line);
  }
});

/** Begin the lines of all lanes with what was measured before the page was opened. */
export function seedSparks(history) {
  const points = history.points.slice(-SPARK);
  for (const name of new Set(points.flatMap((point) => Object.keys(point.lanes ?? {})))) {
    if ((sparks.get(name)?.length ?? 0) >= 10) continue;
    const before = points.map((point) => (point.lanes?.[name]?.ended ?? 0) / history.step);
    sparks.set(name, [...before, ...(sparks.get(name) ?? [])].slice(-SPARK));
  }
}
