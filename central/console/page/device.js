// One device: its header and its tabs.

import { commandsTab } from "./commands.js";
import { listAddress } from "./devices.js";
import { button, h, setText } from "./dom.js";
import { openEdit, tagLinks } from "./edit-device.js";
import { ticking } from "./format.js";
import { onDemand, tabOnDemand } from "./on-demand.js";
import { Overview } from "./overview.js";
import { connectionText, stateBadge } from "./states.js";
import { DeviceStore } from "./store.js";
import { setTitle } from "./title.js";

const openConnect = onDemand(() => import("./connect.js"), "openConnect");
const loadAbout = () => import("./about.js");
const loadProperties = () => import("./properties.js");
const loadRaw = () => import("./raw.js");

const TABS = [
  ["overview", "Overview", (store, query) => new Overview(store, query)],
  ["commands", "Commands", (store) => ({ element: commandsTab(store) })],
  ["properties", "Properties", (store) => tabOnDemand(loadProperties, "propertiesTab", store)],
  ["about", "About", (store) => tabOnDemand(loadAbout, "aboutTab", store)],
  ["raw", "Raw data", (store) => tabOnDemand(loadRaw, "rawTab", store)],
  ["connections", "Connections", (store) => tabOnDemand(loadAbout, "connectionsTab", store)],
];

export class DevicePage {
  constructor(id) {
    this.id = id;
    this.store = new DeviceStore(id);
    this.title = h("h1", {}, id);
    this.state = h("span");
    this.status = h("span");
    this.model = h("p", { class: "muted" });
    this.tags = h("p", { class: "tags", hidden: true });
    this.edit = button("Edit…", () => openEdit(this.store.device, () => this.store.read("device")), {
      class: "small",
      "data-needs": "operate",
      "aria-label": "Edit name and tags",
      hidden: true,
    });
    this.tabs = new Map(
      TABS.map(([tab, label]) => [
        tab,
        h("a", { href: `#/devices/${encodeURIComponent(id)}/${tab}` }, label),
      ]),
    );
    this.panel = h("div", { class: "panel" });
    const connect = button("Connect…", () => openConnect(id), { "data-needs": "keys" });
    this.element = h(
      "div",
      {},
      h(
        "nav",
        { class: "crumbs", "aria-label": "Breadcrumb" },
        h("a", { href: listAddress() }, "Devices"),
        h("span", { "aria-hidden": "true" }, "›"),
        h("span", { "aria-current": "page" }, id),
      ),
      h(
        "header",
        { class: "device-head" },
        h("div", {}, h("div", { class: "title" }, this.title, this.edit), this.model, this.tags),
        h("p", { class: "status" }, this.state, this.status),
        connect,
      ),
      h("nav", { class: "tabs", "aria-label": "Device" }, [...this.tabs.values()]),
      this.panel,
    );
  }

  async open() {
    await this.store.open();
    this.showHead();
  }

  close() {
    this.current?.close?.();
    this.store.close();
  }

  // Shows a tab. `query` is what the page's address has for it.
  show(tab, query) {
    const [chosen, , make] = TABS.find(([name]) => name === tab) ?? TABS[0];
    if (this.current?.read && this.shown === chosen) {
      this.current.read(query);
      return;
    }
    this.shown = chosen;
    this.current?.close?.();
    this.store.forget();
    this.store.on("device", () => this.showHead());
    this.store.on("deleted", () => this.showDeleted());
    for (const [name, link] of this.tabs) {
      if (name === chosen) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
    if (this.store.error?.status === 404 && !this.store.device) {
      this.showDeleted();
      return;
    }
    this.current = make(this.store, query);
    this.panel.replaceChildren(this.current.element);
  }

  showHead() {
    const { device, model } = this.store;
    if (!device) return;
    setText(this.title, device.displayName);
    setTitle(device.displayName);
    setText(
      this.model,
      model?.label ?? (device.template ? `${device.template} (not imported)` : "No model"),
    );
    this.edit.hidden = false;
    this.tags.hidden = !device.tags.length;
    this.tags.replaceChildren(...tagLinks(device));
    this.state.replaceChildren(stateBadge(device));
    ticking(this.status, () => connectionText(device));
  }

  showDeleted() {
    this.current?.close?.();
    this.current = null;
    this.panel.replaceChildren(
      h(
        "section",
        { class: "card" },
        h("p", {}, `There is no device ${this.id}.`),
        h("a", { href: "#/" }, "All devices"),
      ),
    );
  }
}
