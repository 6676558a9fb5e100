// All devices, with what each of them last said; adding one.

import { call, devicePath, get, soon } from "./api.js";
import { openConnect } from "./connect.js";
import { statusText } from "./device.js";
import { h, newId, openDialog, setText } from "./dom.js";
import { listen } from "./events.js";
import { age, number, ticking, unitSymbol } from "./format.js";
import { keyOf, labelOf, readModel } from "./model.js";
import { fetchInterfaces } from "./store.js";

const MANY = 9; // Devices from which on a field to find one is shown.

export class DevicesPage {
  constructor() {
    this.grid = h("ul", { class: "device-grid" });
    this.count = h("h1", {}, "Devices");
    this.empty = h(
      "section",
      { class: "card empty", hidden: true },
      h("h2", {}, "No devices yet"),
      h(
        "p",
        {},
        "Add one and connect it with the shown configuration; or let one come by itself: an unknown device with a right group key is added.",
      ),
    );
    this.search = h("input", {
      type: "search",
      placeholder: "Find",
      "aria-label": "Find a device by name or id",
      hidden: true,
      oninput: () => this.filter(),
    });
    this.element = h(
      "div",
      {},
      h(
        "header",
        { class: "list-head" },
        this.count,
        this.search,
        h("button", { type: "button", class: "primary", onclick: openAdd }, "Add device"),
      ),
      this.empty,
      this.grid,
    );
    this.interfaces = new Map();
    this.cards = new Map();
    this.readSoon = soon(() => this.read(), 800);
  }

  async open() {
    document.title = "Devices · Central";
    this.stop = listen(null, (kind) => kind !== "twin" && this.readSoon());
    await this.read();
  }

  close() {
    this.stop?.();
    this.closed = true;
  }

  async read() {
    if (this.closed) return;
    const turn = (this.turn = {});
    let devices;
    try {
      devices = (await get("/console/api/devices")).value;
      if (devices.some((device) => device.template && !this.interfaces.has(device.template)))
        this.interfaces = await fetchInterfaces();
    } catch {
      return; // Central is gone; the page says so at its top, and asks anew once it is back.
    }
    if (this.turn !== turn) return; // A newer answer is here or on its way.
    this.search.hidden = devices.length < MANY;
    setText(this.count, devices.length ? `Devices (${devices.length})` : "Devices");
    this.empty.hidden = devices.length > 0;
    for (const device of devices) {
      if (!this.cards.has(device.id)) this.cards.set(device.id, makeCard(device.id));
      this.cards.get(device.id).show(device, readModel(this.interfaces, device.template));
    }
    const shown = devices.map((device) => this.cards.get(device.id).element);
    if (
      shown.length !== this.grid.children.length ||
      shown.some((card, index) => card !== this.grid.children[index])
    )
      this.grid.replaceChildren(...shown);
    this.filter();
  }

  filter() {
    const wanted = this.search.value.trim().toLowerCase();
    for (const card of this.cards.values())
      card.element.hidden = !card.text().toLowerCase().includes(wanted);
  }
}

function makeCard(id) {
  const dot = h("span", { class: "dot", "aria-hidden": "true" });
  const name = h("a", { href: `#/devices/${encodeURIComponent(id)}` }, id);
  const status = h("span", { class: "muted" });
  const values = h("div", { class: "device-values" });
  const when = h("p", { class: "muted" });
  return {
    element: h("li", { class: "card device-card" }, h("h2", {}, dot, name), status, values, when),
    text: () => `${id} ${name.textContent}`,
    show(device, model) {
      setText(name, device.displayName);
      dot.dataset.state = device.connected ? "on" : device.provisioned ? "off" : "never";
      ticking(status, () => statusText(device));
      const known = Object.entries(device.telemetry).filter(([, last]) => last !== null);
      values.hidden = !known.length;
      values.replaceChildren(...known.map(([each, last]) => valueOf(each, last, model)));
      const newest = known
        .map(([, last]) => last.timestamp)
        .sort()
        .at(-1);
      ticking(when, () => (newest ? age(newest) : "No reading yet"));
    },
  };
}

function valueOf(name, last, model) {
  const element = model?.telemetry.find((each) => keyOf(each) === name);
  return h(
    "p",
    {},
    h("span", { class: "muted" }, element ? labelOf(element, model) : name),
    h("strong", {}, number(last.value, element), " ", h("small", {}, unitSymbol(element?.unit))),
  );
}

async function openAdd() {
  const { value: templates } = await get("/api/deviceTemplates").catch(() => ({ value: [] }));
  openDialog("Add device", (close) => addForm(templates, close));
}

function addForm(templates, close) {
  const [id, name, model] = [newId("add"), newId("add"), newId("add")];
  const idInput = h("input", {
    id,
    type: "text",
    required: true,
    maxlength: "128",
    autocomplete: "off",
    spellcheck: "false",
    "aria-describedby": `${id}-hint`,
  });
  const nameInput = h("input", { id: name, type: "text", maxlength: "256", autocomplete: "off" });
  const modelInput = h(
    "select",
    { id: model },
    h("option", { value: "" }, "Announced by the device"),
    templates.map((each) => h("option", { value: each["@id"] }, each.displayName)),
  );
  const result = h("output", { class: "result", "data-kind": "bad" });
  const form = h(
    "form",
    { class: "dialog-body", novalidate: true },
    h(
      "div",
      { class: "stack" },
      h("label", { for: id }, "Device id"),
      idInput,
      h("small", { id: `${id}-hint`, class: "hint" }, "Letters, digits and hyphens, as in pi-1."),
    ),
    h("div", { class: "stack" }, h("label", { for: name }, "Name (optional)"), nameInput),
    h("div", { class: "stack" }, h("label", { for: model }, "Model"), modelInput),
    h(
      "div",
      { class: "actions" },
      h("button", { type: "submit", class: "primary" }, "Add"),
      h("button", { type: "button", onclick: close }, "Cancel"),
      result,
    ),
  );
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const device = idInput.value.trim();
    if (!device) {
      setText(result, "A device needs an id.");
      idInput.focus();
      return;
    }
    const body = {};
    if (nameInput.value.trim()) body.displayName = nameInput.value.trim();
    if (modelInput.value) body.template = modelInput.value;
    try {
      await call("PUT", devicePath(device), body);
      close();
      location.hash = `#/devices/${encodeURIComponent(device)}`;
      await openConnect(device);
    } catch (error) {
      setText(result, error.message);
    }
  });
  return form;
}
