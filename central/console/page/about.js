// What the device says of itself and what central knows of it; the log of its connections.

import { call, devicePath } from "./api.js";
import { h, openDialog } from "./dom.js";
import { timeText, valueText } from "./format.js";

export function aboutTab(store) {
  const facts = h("div", { class: "facts-columns" });
  const managing = manage(store);
  const show = () => {
    const { device, model } = store;
    if (!device) return;
    facts.replaceChildren(
      factCard("Device", [
        ["Device id", device.id],
        ["Model", device.template ?? "None announced"],
        ["Known since", timeText(device.created)],
        ["Registered", device.provisioned ? "Yes" : "Not yet"],
        ["Allowed to connect", device.enabled ? "Yes" : "No"],
      ]),
      ...groups(store, model).map(([title, rows]) => factCard(title, rows)),
      managing,
    );
  };
  show();
  store.on("device", show);
  store.on("properties", show);
  return facts;
}

// Read-only properties by component; and at the end what was reported and is in no model.
function groups(store, model) {
  const readOnly = (model?.properties ?? []).filter((each) => !each.writable);
  const rowsOf = (component) =>
    readOnly
      .filter((each) => each.component === component)
      .map((each) => [each.label, valueText(store.property(each.name, component).value, each)]);
  const found = [
    ["Reported", rowsOf(null)],
    ...(model?.components ?? []).map((each) => [each.label, rowsOf(each.name)]),
  ];
  const known = new Set([
    ...(model?.properties ?? []).filter((each) => each.component === null).map((each) => each.name),
    ...(model?.commands ?? []).map((each) => each.name),
    ...(model?.components ?? []).map((each) => each.name),
    "$metadata",
  ]);
  const others = Object.entries(store.properties).filter(([name]) => !known.has(name));
  found.push([
    model ? "Not in the model" : "Reported",
    others.map(([name, value]) => [name, valueText(withoutMetadata(value))]),
  ]);
  return found.filter(([, rows]) => rows.length);
}

function withoutMetadata(value) {
  if (value === null || typeof value !== "object" || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).filter(([name]) => name !== "$metadata"));
}

function factCard(title, rows) {
  return h(
    "section",
    { class: "card" },
    h("h2", {}, title),
    h(
      "dl",
      { class: "facts" },
      rows.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))),
    ),
  );
}

function manage(store) {
  const block = h("button", { type: "button" });
  const remove = h("button", { type: "button", class: "danger" }, "Delete device…");
  const result = h("output", { class: "result" });
  const show = () =>
    (block.textContent = store.device?.enabled === false ? "Allow to connect" : "Block");
  block.addEventListener("click", async () => {
    try {
      await call("PATCH", devicePath(store.id), { enabled: store.device?.enabled === false });
      await store.read("device");
    } catch (error) {
      result.textContent = error.message;
    }
  });
  remove.addEventListener("click", () => confirmDelete(store));
  show();
  store.on("device", show);
  return h(
    "section",
    { class: "card" },
    h("h2", {}, "Manage"),
    h("div", { class: "actions" }, block, remove, result),
  );
}

function confirmDelete(store) {
  openDialog("Delete this device?", (close) => {
    const result = h("output", { class: "result" });
    const button = h("button", { type: "button", class: "danger" }, "Delete");
    button.addEventListener("click", async () => {
      try {
        await call("DELETE", devicePath(store.id));
        close();
        location.hash = "#/";
      } catch (error) {
        result.textContent = error.message;
      }
    });
    return h(
      "div",
      { class: "dialog-body" },
      h(
        "p",
        {},
        `${store.id}, its messages, commands and properties are removed. With a right group key it may come back as a new device.`,
      ),
      h(
        "div",
        { class: "actions" },
        button,
        h("button", { type: "button", onclick: close }, "Keep it"),
        result,
      ),
    );
  });
}

export function connectionsTab(store) {
  const body = h("tbody");
  const show = () =>
    body.replaceChildren(
      ...store.connections.map((entry) =>
        h(
          "tr",
          {},
          h("td", { class: "nowrap" }, timeText(entry.at)),
          h(
            "td",
            { class: "nowrap" },
            h("span", { class: "badge", "data-kind": kindOf(entry.event) }, entry.event),
          ),
          h("td", { class: "long" }, entry.detail),
        ),
      ),
    );
  show();
  store.on("connections", show);
  const table = h(
    "table",
    { class: "wide" },
    h(
      "thead",
      {},
      h(
        "tr",
        {},
        ["Time", "Event", "Detail"].map((text) => h("th", { scope: "col" }, text)),
      ),
    ),
    body,
  );
  return h(
    "section",
    { class: "card" },
    h("h2", {}, "Connections"),
    h(
      "div",
      { class: "scroll", tabindex: "0", role: "region", "aria-label": "Connection log" },
      table,
    ),
  );
}

function kindOf(event) {
  if (event.includes("refused")) return "bad";
  return event === "disconnected" ? "quiet" : "fine";
}
