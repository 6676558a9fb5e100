// All devices at a glance: how many are in each state, and a list that can be searched, narrowed and
// sorted. What is shown is in the page's address.

import { may } from "./access.js";
import { get, soon } from "./api.js";
import { Columns } from "./columns.js";
import { button, factList, h, newId, resultLine, setText } from "./dom.js";
import { tagLinks } from "./edit-device.js";
import { listen } from "./events.js";
import { wholeNumber } from "./format.js";
import { loaded, onDemand } from "./on-demand.js";
import { COUNTED, DEFINITIONS } from "./states.js";
import { setTitle } from "./title.js";

const PAGE = 50; // Devices shown at once.
const AGAIN = 10_000; // Milliseconds. A device becomes late without any event.
const MOST_CHOSEN = 1000; // Devices in one change; see page_api/changes.py.
const TYPING = 250; // Milliseconds after the last key.
const ORDERS = [
  ["name", "Name"],
  ["id", "Device ID"],
  ["state", "State, silent first"],
  ["silence", "Longest without a message first"],
  ["newest", "Newest message first"],
  ["added", "Newest device first"],
];

const loadBulk = () => import("./bulk.js");
const openAdd = onDemand(() => import("./add-device.js"), "openAdd");

let address = "#/"; // Of the list as it was last shown.

export const listAddress = () => address;

export class DevicesPage {
  constructor(query) {
    this.wanted = readQuery(query);
    this.heading = h("h1", {}, "Devices");
    this.empty = h(
      "section",
      { class: "card empty", hidden: true },
      h("h2", {}, "No devices yet"),
      h(
        "p",
        {},
        may("administer")
          ? "Add a device, then connect it with the configuration shown. A device that registers with the group key is added automatically."
          : "An administrator adds devices. A device that registers with the group key is added automatically.",
      ),
    );
    this.states = this.stateButtons();
    this.columns = new Columns(() => {
      this.cards.clear();
      this.read();
    });
    this.tools = this.toolbar();
    this.head = h("tr", { role: "row" });
    this.rows = h("tbody", { role: "rowgroup" }); // Roles: a narrow screen shows no table.
    this.chosen = new Map(); // The selected devices by id, as they were last seen.
    this.selection = this.selectionBar();
    this.every = h("input", {
      type: "checkbox",
      "aria-label": "Select all devices on this page",
      onchange: () => {
        const devices = [...this.cards.values()].map((card) => card.device);
        this.choose(...(this.every.checked ? [devices, []] : [[], devices]));
      },
    });
    this.table = h(
      "table",
      { class: "devices", role: "table", "aria-label": "Devices" },
      h(
        "thead",
        { role: "rowgroup" },
        this.head,
      ),
      this.rows,
    );
    this.none = h("p", { class: "muted", hidden: true }, "No device matches.");
    this.scroll = h("div", { class: "scroll", role: "region", "aria-label": "Devices" }, this.table);
    this.list = h(
      "section",
      { class: "card", hidden: true },
      this.scroll,
      this.none,
      this.pager(),
    );
    this.element = h(
      "div",
      {},
      h(
        "header",
        { class: "list-head" },
        this.heading,
        button("Add device", openAdd, { class: "primary", "data-needs": "administer" }),
      ),
      this.empty,
      this.states.element,
      this.tools,
      this.selection.element,
      this.list,
    );
    this.cards = new Map();
    this.readSoon = soon(() => this.read(), 800);
  }

  async open() {
    setTitle("Devices");
    address = location.hash || "#/";
    this.stop = listen(null, (kind) => kind !== "twin" && this.readSoon());
    this.timer = setInterval(() => document.hidden || this.readSoon(), AGAIN);
    await this.read();
  }

  close() {
    this.stop?.();
    clearInterval(this.timer);
    clearTimeout(this.typing);
    this.closed = true;
  }

  stateButtons() {
    const parts = [["", "All"], ...COUNTED].map(([state, label]) => {
      const count = h("strong");
      const choose = () => this.change({ state, page: 1 });
      const element = button("", choose, { class: "count-of", "data-state": state || undefined });
      element.title = DEFINITIONS.get(state) ?? "All devices";
      element.append(count, h("span", {}, label));
      return { state, count, element };
    });
    const element = h(
      "div",
      { class: "counts", role: "group", "aria-label": "Show devices by state" },
      parts.map((each) => each.element),
    );
    const meanings = h(
      "details",
      { class: "meanings" },
      h("summary", {}, "What the states mean"),
      factList(COUNTED.map(([state, label]) => [label, DEFINITIONS.get(state)]), "facts left"),
    );
    return {
      element: h("div", {}, element, meanings),
      show: ({ counts, matching }, chosen) => {
        for (const { state, count, element } of parts) {
          setText(count, wholeNumber(state ? counts[state] : matching));
          element.setAttribute("aria-pressed", String(state === chosen));
        }
      },
    };
  }

  toolbar() {
    this.search = h("input", {
      type: "search",
      placeholder: "Name, ID or tag",
      "aria-label": "Search devices",
      value: this.wanted.search,
      oninput: () => {
        clearTimeout(this.typing);
        const search = () => this.change({ search: this.search.value.trim(), page: 1 }, true);
        this.typing = setTimeout(search, TYPING);
      },
    });
    this.order = select("Sort by", ORDERS, (sort) => this.change({ sort, page: 1 }));
    this.tag = select("Tag", [["", "All"]], (tag) => this.change({ tag, page: 1 }));
    return h("div", { class: "toolbar" }, this.search, this.tag.element, this.order.element, this.columns.element);
  }

  pager() {
    this.place = h("span", { class: "muted" });
    this.before = button("Previous", () => this.change({ page: this.wanted.page - 1 }));
    this.after = button("Next", () => this.change({ page: this.wanted.page + 1 }));
    this.pages = h("nav", { class: "actions", "aria-label": "Pages" });
    this.pages.append(this.before, this.after, this.place);
    return this.pages;
  }

  // What can be done with the selected devices.
  selectionBar() {
    const count = h("strong", { role: "status" });
    const result = resultLine();
    const act = (open) => async () => {
      try {
        await open([...this.chosen.values()]);
        result.show("fine", "");
      } catch (error) {
        result.show("bad", error.message);
      }
    };
    const bulk = (name) => act(async (devices) => (await loaded(loadBulk))[name](devices, this.tags));
    const all = button("", act(() => this.chooseAll()));
    const element = h(
      "div",
      { class: "selection", hidden: true },
      count,
      button("Change a property…", bulk("openChange"), { class: "primary" }),
      button("Tags…", bulk("openTags")),
      all,
      button("Clear selection", () => this.choose([], [...this.chosen.values()])),
      result.element,
    );
    return {
      element,
      show: () => {
        element.hidden = !this.chosen.size;
        setText(count, `${wholeNumber(this.chosen.size)} selected`);
        const most = Math.min(this.shown, MOST_CHOSEN);
        all.hidden = this.chosen.size >= most;
        setText(all, `Select all ${wholeNumber(most)}`);
      },
    };
  }

  async chooseAll() {
    const { page, ...wanted } = this.wanted;
    const query = new URLSearchParams({ ...wanted, limit: MOST_CHOSEN });
    this.choose((await get(`/console/api/devices?${query}`)).value, []);
  }

  // Adds devices to the selection, and takes others out of it.
  choose(added, removed) {
    for (const each of added) this.chosen.set(each.id, each);
    for (const each of removed) this.chosen.delete(each.id);
    this.showChosen();
  }

  showChosen() {
    for (const card of this.cards.values()) card.check(this.chosen.has(card.device.id));
    const here = [...this.cards.values()].filter((card) => this.chosen.has(card.device.id));
    this.every.checked = here.length > 0 && here.length === this.cards.size;
    this.every.indeterminate = here.length > 0 && here.length < this.cards.size;
    this.selection.show();
  }

  // Shows something else, and puts it into the address. Typing makes no history.
  change(wishes, replace = false) {
    this.wanted = { ...this.wanted, ...wishes };
    address = `#/${writeQuery(this.wanted)}`;
    history[replace ? "replaceState" : "pushState"](null, "", address);
    return this.read();
  }

  async read() {
    if (this.closed) return;
    const turn = (this.turn = {});
    const { page, ...wanted } = this.wanted;
    const query = new URLSearchParams({ ...wanted, offset: (page - 1) * PAGE, limit: PAGE });
    for (const name of this.columns.properties()) query.append("property", name);
    let found;
    try {
      await this.columns.prepare();
      found = await get(`/console/api/devices?${query}`);
    } catch {
      return; // Central does not respond. Once it does, events ask again.
    }
    if (this.turn !== turn || this.closed) return; // A newer request is under way or done.
    const last = Math.max(1, Math.ceil(found.shown / PAGE));
    if (page > last) return this.change({ page: last }, true);
    this.show(found);
  }

  show(found) {
    const { state, tag, sort, page } = this.wanted;
    const { total, shown, value } = found;
    const all = wholeNumber(total);
    const count = found.matching === total ? all : `${wholeNumber(found.matching)} of ${all}`;
    setText(this.heading, total ? `Devices (${count})` : "Devices");
    this.empty.hidden = total > 0;
    this.list.hidden = total === 0;
    this.states.element.hidden = this.tools.hidden = total < 2;
    this.states.show(found, state);
    this.order.choose(sort);
    this.tag.element.hidden = !found.tags.length && !tag;
    this.tag.offer([["", "All"], ...found.tags.map((each) => [each.tag, tagLabel(each)])], tag);
    this.none.hidden = shown > 0;
    this.table.hidden = shown === 0;
    this.pages.hidden = shown <= PAGE;
    this.before.disabled = page === 1;
    this.after.disabled = page * PAGE >= shown;
    const first = (page - 1) * PAGE;
    setText(this.place, `${first + 1} to ${first + value.length} of ${wholeNumber(shown)}`);
    this.tags = found.tags.map((each) => each.tag);
    this.shown = shown;
    for (const device of value) if (this.chosen.has(device.id)) this.chosen.set(device.id, device);
    this.table.classList.toggle("one", total < 2);
    if (!this.cards.size) this.showHead();
    this.showRows(value);
    this.showChosen();
  }

  showHead() {
    const cells = ["Name", ...this.columns.shown().map((each) => each.label)].map((label) =>
      h("th", { scope: "col", role: "columnheader" }, label),
    );
    const choice = { class: "choice", role: "columnheader", "data-needs": "operate" };
    this.head.replaceChildren(h("th", choice, this.every), ...cells);
    // Of many columns, each is wide enough, and the table scrolls.
    this.table.style.setProperty("--least", `${cells.length * 8 + 2.2}rem`);
  }

  // Keeps the rows that stay: whatever is focused or selected in them stays, too.
  showRows(devices) {
    for (const device of devices) {
      if (!this.cards.has(device.id)) this.cards.set(device.id, makeRow(device.id, this));
      this.cards.get(device.id).show(device);
    }
    const ids = new Set(devices.map((each) => each.id));
    for (const id of this.cards.keys()) if (!ids.has(id)) this.cards.delete(id);
    const rows = devices.map((device) => this.cards.get(device.id).element);
    const old = [...this.rows.children];
    if (rows.length !== old.length || rows.some((row, index) => row !== old[index]))
      this.rows.replaceChildren(...rows);
    // Keys can scroll only what has the focus.
    if (this.scroll.scrollWidth > this.scroll.clientWidth) this.scroll.tabIndex = 0;
    else this.scroll.removeAttribute("tabindex");
  }
}

const tagLabel = ({ tag, count }) => `${tag} (${wholeNumber(count)})`;

// The address has what differs from this.
const USUAL = { state: "", tag: "", search: "", sort: "name", page: 1 };

function readQuery(text) {
  const given = new URLSearchParams(text ?? "");
  const wanted = { ...USUAL };
  for (const name of Object.keys(USUAL)) if (given.has(name)) wanted[name] = given.get(name);
  wanted.page = Math.max(1, Math.floor(Number(wanted.page)) || 1);
  if (!COUNTED.some(([state]) => state === wanted.state)) wanted.state = "";
  if (!ORDERS.some(([order]) => order === wanted.sort)) wanted.sort = USUAL.sort;
  return wanted;
}

function writeQuery(wanted) {
  const differing = Object.entries(wanted).filter(([name, value]) => value !== USUAL[name]);
  return differing.length ? `?${new URLSearchParams(differing)}` : "";
}

// A select with its label. `choose(value)` selects an option, `offer(options, value)` replaces them.
function select(label, options, changed) {
  const id = newId("choice");
  const input = h("select", { id, onchange: () => changed(input.value) });
  const offer = (offered, value) => {
    if (offered.every(([each]) => each !== value)) offered.push([value, value]);
    const wanted = JSON.stringify(offered);
    if (wanted !== input.dataset.offered)
      input.replaceChildren(...offered.map(([each, text]) => h("option", { value: each }, text)));
    input.dataset.offered = wanted;
    input.value = value;
  };
  offer(options, options[0][0]);
  return {
    element: h("span", { class: "pair" }, h("label", { for: id }, label), input),
    offer,
    choose: (value) => (input.value = value),
  };
}

function makeRow(id, page) {
  const choice = h("input", {
    type: "checkbox",
    onchange: () => page.choose(...(choice.checked ? [[self.device], []] : [[], [self.device]])),
  });
  const name = h("th", { class: "name", role: "rowheader" });
  const cells = page.columns.shown().map(({ label, content }) => ({
    cell: h("td", { role: "cell", "data-label": label }),
    content,
  }));
  const element = h(
    "tr",
    { class: "device-card", role: "row" },
    h("td", { class: "choice", role: "cell", "data-needs": "operate" }, choice),
    name,
    cells.map((each) => each.cell),
  );
  let known = "";
  const self = {
    element,
    device: null,
    check: (chosen) => (choice.checked = chosen),
    show(device) {
      self.device = device;
      choice.setAttribute("aria-label", `Select ${device.displayName}`);
      const now = JSON.stringify(device);
      if (now === known) return;
      known = now;
      element.dataset.state = device.state;
      showName(name, device, id);
      for (const { cell, content } of cells) cell.replaceChildren(...[content(device)].flat());
    },
  };
  return self;
}

function showName(cell, device, id) {
  let link = cell.querySelector("a");
  if (!link) cell.append((link = h("a", { href: `#/devices/${encodeURIComponent(id)}` })));
  setText(link, device.displayName);
  link.title = device.displayName; // A long name is cut off.
  cell.querySelector("small")?.remove();
  if (device.displayName !== id) cell.append(h("small", { class: "muted" }, id));
  cell.querySelector(".tags")?.remove();
  if (device.tags.length) cell.append(h("span", { class: "tags" }, tagLinks(device)));
}
