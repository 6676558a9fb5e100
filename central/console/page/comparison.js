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
    this.devices = null; // All that can be compared by id, in the order of their names.
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
    return this.devices?.get(id)?.displayName ?? id;
  }

  // The chosen devices, each with the keys of the telemetry to compare: it has the same unit.
  async shared() {
    if (this.ids.length && !this.devices) await this.read();
    const found = this.ids.map((id) => [id, this.devices?.get(id)?.telemetry ?? []]);
    return found.filter(([, keys]) => keys.length);
  }

  // What an address asks for and cannot be shown, as sentences.
  remarks() {
    const unknown = this.devices ? this.ids.filter((id) => !this.devices.has(id)) : [];
    const words = unknown.map(
      (id) => `The device ${id} cannot be compared: there is no such device, or it sends no number of the same name and unit.`,
    );
    if (this.left) words.push(`Only ${this.most} devices are compared; ${this.left} are left out.`);
    return words;
  }

  // Shows a choice, for example of an address.
  choose(ids) {
    const others = ids.filter((id) => id !== this.id);
    this.ids = others.slice(0, this.most);
    this.left = others.length - this.ids.length;
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
      this.devices = new Map(value.map((each) => [each.id, each]));
    } catch {
      return; // Central does not respond. The top of the page says so.
    }
    this.show();
    this.named();
  }

  show() {
    const wanted = this.search.value.trim().toLowerCase();
    const devices = [...(this.devices?.values() ?? [])];
    const found = devices.filter(({ id, displayName }) =>
      `${id} ${displayName}`.toLowerCase().includes(wanted),
    );
    const chosen = ({ id }) => this.ids.includes(id);
    const listed = [...found.filter(chosen), ...found.filter((each) => !chosen(each))];
    this.list.replaceChildren(
      ...listed.slice(0, MOST_SHOWN).map((each) => this.choice(each.id, each.displayName)),
    );
    this.search.hidden = devices.length < 9;
    const left = listed.length - MOST_SHOWN;
    const words =
      left > 0
        ? `${left} more. Type a part of the name.`
        : devices.length
          ? `Up to ${this.most} devices.`
          : "No other device has the same telemetry.";
    setText(this.hint, words);
  }

  choice(id, name) {
    const input = h("input", { type: "checkbox", checked: this.ids.includes(id) });
    input.disabled = !input.checked && this.ids.length >= this.most;
    input.addEventListener("change", () => {
      const others = this.ids.filter((each) => each !== id && this.devices.has(each));
      this.ids = input.checked ? [...others, id] : others;
      for (const other of this.list.querySelectorAll("input"))
        other.disabled = !other.checked && this.ids.length >= this.most;
      this.left = 0;
      this.note();
      this.changed();
    });
    return h("label", {}, input, " ", name);
  }
}
