// The dialog that adds a device.

import { call, devicePath, get } from "./api.js";
import { openConnect } from "./connect.js";
import { button, h, openDialog, resultLine } from "./dom.js";
import { field } from "./fields.js";

export async function openAdd() {
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
