// All devices with their last values, and the dialog that adds one.

import { call, devicePath, get, soon } from "./api.js";
import { openConnect } from "./connect.js";
import { statusText } from "./device.js";
import { button, h, openDialog, resultLine, setText } from "./dom.js";
import { listen } from "./events.js";
import { field } from "./fields.js";
import { age, number, ticking } from "./format.js";

const MANY = 9; // Devices from which a search field is shown.

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
        "Add a device, then connect it with the configuration shown. A device that registers with the group key is added automatically.",
      ),
    );
    this.search = h("input", {
      type: "search",
      placeholder: "Find",
      "aria-label": "Find a device by name or ID",
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
        button("Add device", openAdd, { class: "primary", "data-needs": "administer" }),
      ),
      this.empty,
      this.grid,
    );
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
    } catch {
      return; // Central does not respond. Once it does, events ask again.
    }
    if (this.turn !== turn) return; // A newer request is under way or done.
    this.search.hidden = devices.length < MANY;
    setText(this.count, devices.length ? `Devices (${devices.length})` : "Devices");
    this.empty.hidden = devices.length > 0;
    for (const device of devices) {
      if (!this.cards.has(device.id)) this.cards.set(device.id, makeCard(device.id));
      this.cards.get(device.id).show(device);
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
    show(device) {
      setText(name, device.displayName);
      dot.dataset.state = device.connected ? "on" : device.provisioned ? "off" : "never";
      ticking(status, () => statusText(device));
      values.hidden = !device.telemetry.length;
      values.replaceChildren(...device.telemetry.map(valueOf));
      const newest = device.telemetry
        .map((last) => last.timestamp)
        .sort()
        .at(-1);
      ticking(when, () => (newest ? age(newest) : "No reading yet"));
    },
  };
}

function valueOf({ title, value, unit, kind }) {
  return h(
    "p",
    {},
    h("span", { class: "muted" }, title),
    h("strong", {}, number(value, kind), " ", h("small", {}, unit)),
  );
}

async function openAdd() {
  const { value: models } = await get("/console/api/models").catch(() => ({ value: [] }));
  openDialog("Add device", (close) => addForm(models, close));
}

function addForm(models, close) {
  const id = field(
    {
      label: "Device ID",
      description: "Letters, digits and hyphens, for example pi-1",
      schema: { kind: "string" },
    },
    { required: true },
  );
  const name = field({ label: "Name (optional)", schema: { kind: "string" } });
  const model = field({
    label: "Model (optional)",
    description: "A device can also announce its model itself.",
    schema: { kind: "enum", values: models.map(({ id, label }) => ({ value: id, label })) },
  });
  const result = resultLine();
  const form = h(
    "form",
    { class: "dialog-body", novalidate: true },
    [id, name, model].map((each) =>
      h("div", { class: "stack" }, each.label, each.control, each.hint),
    ),
    h(
      "div",
      { class: "actions" },
      h("button", { type: "submit", class: "primary" }, "Add"),
      button("Cancel", close),
      result.element,
    ),
  );
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const device = id.read()?.trim();
    if (!device) {
      result.show("bad", "Enter a device ID.");
      id.input.focus();
      return;
    }
    const body = { template: model.read() ?? null };
    if (name.read().trim()) body.displayName = name.read().trim();
    try {
      await call("PUT", devicePath(device), body);
      close();
      location.hash = `#/devices/${encodeURIComponent(device)}`;
      await openConnect(device);
    } catch (error) {
      result.show("bad", error.message);
    }
  });
  return form;
}
