// The dialog for a device's name and tags.

import { call, pagePath } from "./api.js";
import { button, h, openDialog, resultLine } from "./dom.js";
import { field } from "./fields.js";

export function openEdit(device, saved) {
  openDialog("Name and tags", (close) => editForm(device, close, saved));
}

function editForm(device, close, saved) {
  const name = field({ label: "Name", schema: { kind: "string" } }, { required: true });
  const tags = field({
    label: "Tags",
    description: "Tags group devices. Separate them with commas.",
    schema: { kind: "string" },
  });
  name.write(device.displayName);
  tags.write(device.tags.join(", "));
  const result = resultLine();
  const form = h(
    "form",
    { class: "dialog-body", novalidate: true },
    [name, tags].map((each) =>
      h("div", { class: "stack" }, each.label, each.control, each.hint),
    ),
    h(
      "div",
      { class: "actions" },
      h("button", { type: "submit", class: "primary" }, "Save"),
      button("Cancel", close),
      result.element,
    ),
  );
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const displayName = name.read()?.trim();
    if (!displayName) {
      result.show("bad", "Enter a name.");
      return;
    }
    try {
      await call("PATCH", pagePath(device.id), { displayName, tags: splitTags(tags.read()) });
      close();
      saved();
    } catch (error) {
      result.show("bad", error.message);
    }
  });
  return form;
}

export function splitTags(text) {
  return (text ?? "").split(",").map((tag) => tag.trim()).filter(Boolean);
}

// The tags of a device, each a link to the devices that have it.
export function tagLinks(device) {
  return device.tags.map((tag) =>
    h("a", { class: "tag", href: `#/?${new URLSearchParams({ tag })}` }, tag),
  );
}
