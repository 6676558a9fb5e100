// Writable properties as a form, with the state of each value: pending, synced or refused.

import { may } from "./access.js";
import { call, devicePath } from "./api.js";
import { button, h, resultLine, setText } from "./dom.js";
import { field } from "./fields.js";
import { age, ticking, valueText } from "./format.js";
import { isPresent } from "./states.js";
import { missing } from "./store.js";

// The state of a property by its `$metadata`, as [kind, words].
function stateOf(about, connected) {
  if (about.desiredValue === undefined)
    return about.ackCode === 203 ? ["quiet", "The device's own value"] : ["quiet", "Not set"];
  if (about.ackVersion === undefined || about.ackVersion < about.desiredVersion) {
    return ["busy", connected ? "Pending" : "Pending: the device is offline"];
  }
  if (about.ackCode >= 400)
    return ["bad", `Refused: ${about.ackDescription || `code ${about.ackCode}`}`];
  if (about.ackCode === 202) return ["busy", about.ackDescription || "In progress"];
  return ["fine", "Synced"];
}

export function propertiesTab(store) {
  const rows = h("fieldset", { class: "rows", disabled: !may("operate") });
  const save = h("button", { type: "submit", class: "primary", disabled: true }, "Save");
  const discard = () => {
    for (const each of fields) each.dirty = false;
    update();
    note();
  };
  const undo = button("Discard changes", discard, { hidden: true });
  const result = resultLine();
  const form = h(
    "form",
    { class: "card", novalidate: true },
    rows,
    h("div", { class: "actions", "data-needs": "operate" }, save, undo, result.element),
  );
  let fields = [];
  let saved = []; // The rows that were saved last, until the next save.

  const changed = () => fields.filter((each) => each.dirty);
  const note = () => {
    save.disabled = changed().length === 0;
    undo.hidden = save.disabled;
  };
  const make = () => {
    const writable = (store.model?.properties ?? []).filter((each) => each.writable);
    fields = writable.map((element) => propertyRow(store, element, note));
    rows.replaceChildren(...fields.map((each) => each.element));
    if (!fields.length)
      rows.replaceChildren(h("p", { class: "muted" }, missing(store, "writable properties")));
    save.hidden = !fields.length;
  };
  const update = () => {
    fields.forEach((each) => each.update());
    if (saved.length) result.show(...outcome(saved, store.device?.connected));
  };

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    try {
      const body = {};
      const sent = changed();
      saved = [];
      for (const each of sent) {
        const value = each.read();
        const part = each.component === null ? body : (body[each.component] ??= {});
        part[each.name] = value === undefined ? null : value;
      }
      save.disabled = true;
      await call("PATCH", devicePath(store.id, "properties"), body);
      for (const each of sent) each.dirty = false;
      saved = sent;
      await store.read("properties");
    } catch (error) {
      result.show("bad", error.message);
    }
    note();
  });
  let model = store.model;
  make();
  update();
  store.on("properties", update);
  store.on("device", () => {
    if (model !== store.model) make();
    model = store.model;
    update();
  });
  return form;
}

// What became of the values that were saved, as [kind, words]. The rows say more.
function outcome(saved, connected) {
  const of = (kind) => saved.filter((each) => each.kind === kind).map((each) => each.label);
  const [refused, pending] = [of("bad"), of("busy")];
  if (refused.length) return ["bad", `The device refused ${refused.join(", ")}.`];
  if (!pending.length) return ["fine", "Saved. The device has confirmed it."];
  return connected
    ? ["busy", "Saved and sent. Waiting for the device to confirm it."]
    : ["busy", "Saved. The device receives it when it connects."];
}

function propertyRow(store, element, note) {
  const made = field({ ...element, label: element.title });
  const badge = h("span", { class: "badge", role: "status" });
  const reported = h("span", { class: "muted" });
  const row = h(
    "div",
    { class: "row" },
    h("div", {}, made.label, made.hint),
    h("div", {}, made.control),
    h("div", { class: "row-state" }, badge, reported),
  );
  const self = {
    name: element.name,
    label: element.title,
    kind: "quiet", // Of its state.
    component: element.component,
    element: row,
    dirty: false,
    read: made.read,
  };
  made.control.addEventListener("input", () => {
    self.dirty = true;
    row.dataset.dirty = "";
    note();
  });
  self.update = () => {
    const { value, about } = store.property(element.name, element.component);
    const [kind, words] = stateOf(about, store.device?.connected);
    badge.dataset.kind = self.kind = kind;
    setText(badge, words);
    ticking(reported, () =>
      value === undefined
        ? "Not reported yet"
        : `${isPresent(store.device) ? "Device" : "Last reported"}: ${valueText(value, element)} · ${age(about.lastUpdateTime)}`,
    );
    if (self.dirty) return;
    delete row.dataset.dirty;
    made.write(about.desiredValue ?? value);
  };
  return self;
}
