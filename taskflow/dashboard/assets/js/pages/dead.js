// Dead letters: tasks that have failed for good, by their error, and what to do with all of them.

import { maybe } from "../api.js";
import { errorText } from "../groups.js";
import { h, redraw } from "../dom.js";
import { count, short } from "../format.js";
import { link, word } from "../router.js";
import { TasksPage } from "./tasks.js";

const MOST = 6;

export class DeadPage extends TasksPage {
  get heading() {
    return "Dead letters";
  }

  get page() {
    return "dead";
  }

  get base() {
    return "status:failed,interrupted";
  }

  intro() {
    this.groups = h("section", { class: "strip", "aria-label": "Groups of errors" });
    return [h("p", { class: "lead" }, "Tasks that no further attempt will follow by itself. Run them again, or discard them."), this.groups];
  }

  async load() {
    await super.load();
    const found = await maybe(["errors"], { hours: 24 * 30 }).catch(() => maybe(["errors"], { hours: 24 })).catch(() => null);
    if (!this.isConnected) return;
    const groups = [...(found?.items ?? [])].sort((a, b) => b.count - a.count).slice(0, MOST);
    redraw(this.groups, [groups.map((group) => [group.fingerprint, group.count, group.error]), this.bar.value], () => (groups.length ? groups.map((group) => {
      const query = word("fingerprint", group.fingerprint);
      const chosen = this.bar.value === query;
      return h("a", { class: "tile", href: link("dead", { query: chosen ? "" : query }), "aria-current": chosen ? "true" : null }, h("span", { class: "tile-what" }, errorText(group.error)),
        h("span", { class: "muted" }, h("b", {}, count(group.count)), " ", h("span", { class: "mono" }, short(group.func_name))));
    }) : null));
  }
}
customElements.define("tf-dead", DeadPage);
