// The choice of other devices whose lines are drawn beside those of a device.

import { get, pagePath } from "./api.js";
import { h, setText } from "./dom.js";

const MOST_SHOWN = 30; // Devices in the list. The field above it finds the others.

export class Comparison {
  // Calls `changed()` after a choice, and `named()` once the names of chosen devices are known.
  constructor(id, most, { changed, named }) {
    this.id = id;
    this.most = most;
    this.changed = changed;
    this.named = named;
    this.ids = [];
    this.names = new Map(); // Of all devices that can be compared, in order.
    this.search = h("input", {
      type: "search",
      placeholder: "Find",
      "aria-label": "Find a device to compare",
      oninput: () => this.show(),
    });
    this.list = h("div", { class: "choices-list" });
    this.hint = h("p", { class: "muted" });
    this.title = h("summary", { class: "button small" });
    this.element = h(
      "details",
      { class: "menu", ontoggle: () => this.element.open && this.read() },
      this.title,
      h("div", { class: "choices" }, this.search, this.list, this.hint),
    );
    this.choose([]);
  }

  chosen() {
    return this.ids;
  }

  nameOf(id) {
    return this.names.get(id) ?? id;
  }

  // Shows a choice, for example of an address.
  choose(ids) {
    this.ids = ids.filter((id) => id !== this.id).slice(0, this.most);
    if (this.ids.some((id) => !this.names.has(id))) this.read();
    this.note();
    this.show();
  }

  note() {
    setText(this.title, this.ids.length ? `Compare (${this.ids.length})` : "Compare");
  }

  // Reads which devices have the same telemetry.
  async read() {
    try {
      const { value } = await get(pagePath(this.id, "comparable"));
      const natural = new Intl.Collator(undefined, { numeric: true }).compare;
      value.sort((a, b) => natural(a.displayName, b.displayName));
      this.names = new Map(value.map((each) => [each.id, each.displayName]));
    } catch {
      return; // Central does not respond. The top of the page says so.
    }
    this.show();
    this.named();
  }

  show() {
    const wanted = this.search.value.trim().toLowerCase();
    const found = [...this.names].filter(([id, name]) =>
      `${id} ${name}`.toLowerCase().includes(wanted),
    );
    const chosen = ([id]) => this.ids.includes(id);
    const listed = [...found.filter(chosen), ...found.filter((each) => !chosen(each))];
    this.list.replaceChildren(
      ...listed.slice(0, MOST_SHOWN).map(([id, name]) => this.choice(id, name)),
    );
    this.search.hidden = this.names.size < 9;
    const left = listed.length - MOST_SHOWN;
    const words =
      left > 0
        ? `${left} more. Type a part of the name.`
        : this.names.size
          ? `Up to ${this.most} devices.`
          : "No other device has the same telemetry.";
    setText(this.hint, words);
  }

  choice(id, name) {
    const input = h("input", { type: "checkbox", checked: this.ids.includes(id) });
    input.disabled = !input.checked && this.ids.length >= this.most;
    input.addEventListener("change", () => {
      this.ids = input.checked ? [...this.ids, id] : this.ids.filter((each) => each !== id);
      for (const other of this.list.querySelectorAll("input"))
        other.disabled = !other.checked && this.ids.length >= this.most;
      this.note();
      this.changed();
    });
    return h("label", {}, input, " ", name);
  }
}
