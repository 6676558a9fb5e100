// What the device reports and what central knows about it, and the log of its connections.

import { may } from "./access.js";
import { call, devicePath, get, pagePath, soon } from "./api.js";
import { button, card, confirmDialog, factList, h, resultLine, row, table } from "./dom.js";
import { timeText, valueText } from "./format.js";
import { reportedValue } from "./states.js";

export function aboutTab(store) {
  const facts = h("div", { class: "facts-columns" });
  const managing = manage(store);
  const show = () => {
    const { device, model } = store;
    if (!device) return;
    facts.replaceChildren(
      card(
        "Device",
        factList([
          ["Device ID", device.id],
          ["Model", device.template ?? "None"],
          ["Created", timeText(device.created)],
          ["Registered", device.provisioned ? "Yes" : "Not yet"],
          ["ID scope", device.idScope ?? "None yet"],
          ["Allowed to connect", device.enabled ? "Yes" : "No"],
        ]),
      ),
      ...groups(store, model).map(([title, rows]) => card(title, factList(rows))),
      managing,
    );
  };
  show();
  store.on("device", show);
  store.on("properties", show);
  return facts;
}

// The read-only properties that are reported, by component, and then those that the model does not
// have.
function groups(store, model) {
  const readOnly = (model?.properties ?? []).filter((each) => !each.writable);
  const rowsOf = (component) =>
    readOnly
      .filter((each) => each.component === component)
      .filter((each) => store.property(each.name, component).value !== undefined)
      .map((each) => [each.label, reportedValue(store, each)]);
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
    others.map(([name, value]) => [
      name,
      reportedValue(store, { name }, valueText(withoutMetadata(value))),
    ]),
  ]);
  const reported = found.filter(([, rows]) => rows.length);
  return reported.length ? reported : [["Reported", [["The device has reported nothing yet.", ""]]]];
}

function withoutMetadata(value) {
  if (value === null || typeof value !== "object" || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).filter(([name]) => name !== "$metadata"));
}

function manage(store) {
  const result = resultLine();
  const toggle = async () => {
    try {
      await call("PATCH", devicePath(store.id), { enabled: store.device?.enabled === false });
      await store.read("device");
    } catch (error) {
      result.show("bad", error.message);
    }
  };
  const block = button("", toggle);
  const remove = button("Delete device…", () => confirmDelete(store.id), { class: "danger" });
  const show = () =>
    (block.textContent = store.device?.enabled === false ? "Allow to connect" : "Block");
  show();
  store.on("device", show);
  const managing = card("Manage", h("div", { class: "actions" }, block, remove, result.element));
  managing.dataset.needs = "administer";
  return managing;
}

function confirmDelete(id) {
  confirmDialog(
    "Delete this device?",
    `This deletes ${id} with its messages, commands and properties. If it knows the group key, it can register again as a new device.`,
    "Delete",
    async () => {
      await call("DELETE", devicePath(id));
      location.hash = "#/";
    },
  );
}

const LOG = ["Time", "Event", "Detail"];
const CHANGES = ["Time", "User", "Request", "Status"];

export function connectionsTab(store) {
  const body = h("tbody");
  const show = () => body.replaceChildren(...store.connections.map(connectionRow));
  show();
  store.on("connections", show);
  const connections = card("Connections", table("Connection log", LOG, body));
  return h("div", { class: "column" }, connections, changes(store));
}

// Who changed what of the device here, for those who may know.
function changes(store) {
  const body = h("tbody");
  const read = async () => {
    if (!may("administer")) return;
    const found = await get(pagePath(store.id, "audit")).catch(() => null);
    if (!found) return; // Central is away, which the page says elsewhere.
    body.replaceChildren(
      ...found.value.map(({ at, who, address, request, status }) =>
        row(CHANGES, [
          ["nowrap", timeText(at)],
          ["", [h("div", {}, who), h("div", { class: "muted" }, address)]],
          ["long", request],
          ["", status || "No answer"],
        ]),
      ),
    );
  };
  const readSoon = soon(read);
  for (const kind of ["device", "properties", "commands"]) store.on(kind, readSoon);
  read();
  const element = card("Changes here", table("Changes by users of this page", CHANGES, body));
  element.dataset.needs = "administer";
  return element;
}

function connectionRow({ at, event, detail }) {
  return row(LOG, [
    ["nowrap", timeText(at)],
    ["nowrap", h("span", { class: "badge", "data-kind": kindOf(event) }, event)],
    ["long", detail],
  ]);
}

function kindOf(event) {
  if (event.includes("refused")) return "bad";
  return event === "disconnected" ? "quiet" : "fine";
}
