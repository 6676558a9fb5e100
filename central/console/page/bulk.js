// Changes of many devices at once: a property, or tags. Each device's result is shown as it arrives.

import { callLines, get } from "./api.js";
import { announce, button, h, newId, openDialog, resultLine, setText } from "./dom.js";
import { splitTags } from "./edit-device.js";
import { field } from "./fields.js";
import { counted, valueText, wholeNumber } from "./format.js";

const INTERVAL = "telemetryInterval"; // What is changed most often.

const RESULTS = {
  refused: ["bad", "Refused"],
  unanswered: ["busy", "Sent, but not acknowledged"],
  waits: ["busy", "Waits until it connects"],
  applied: ["fine", "Applied"],
};

// `devices` have an id, a displayName and perhaps a template.
export async function openChange(devices) {
  const { value: models } = await get("/console/api/models");
  const templates = new Set(devices.map((each) => each.template));
  const properties = new Map();
  for (const model of models.filter((each) => templates.has(each.id)))
    for (const each of model.properties.filter((one) => one.writable && !one.cloud)) {
      const { key, unit = "" } = each;
      const id = `${key} ${unit}`;
      if (!properties.has(id)) properties.set(id, { id, key, unit, element: each, models: new Set() });
      properties.get(id).models.add(model.id);
    }
  const choices = [...properties.values()].sort(
    ({ element: a }, { element: b }) =>
      (b.name === INTERVAL) - (a.name === INTERVAL) || a.title.localeCompare(b.title),
  );
  // 30 degrees Celsius are not 30 degrees Fahrenheit: a value goes to the devices with its unit.
  for (const each of choices) {
    const others = choices.filter((other) => other.key === each.key && other !== each);
    each.label = others.length ? `${each.element.title} (${each.unit || "no unit"})` : each.element.title;
    each.devices = devices.filter(({ template }) => !others.some(({ models }) => models.has(template)));
  }
  openDialog(`Change ${many(devices)}`, (close) => propertyForm(devices, choices, close));
}

const many = (devices) => counted(devices.length, "device");

function propertyForm(devices, choices, close) {
  if (!choices.length)
    return h(
      "div",
      { class: "dialog-body" },
      h("p", {}, "The models of these devices have no writable properties, or are not imported."),
    );
  const id = newId("property");
  const box = h("div", { class: "stack" });
  let chosen = null;
  const choose = h(
    "select",
    {
      id,
      onchange: () => {
        const choice = choices.find((each) => each.id === choose.value);
        chosen = { ...choice, ...field({ ...choice.element, label: "Value" }, { required: true }) };
        const left = devices.length - choice.devices.length;
        const note = left && h("small", { class: "hint" }, `Only ${many(choice.devices)}: ${left} of the selected ones have another unit.`);
        box.replaceChildren(...[chosen.label, chosen.control, chosen.hint, note].filter(Boolean));
      },
    },
    choices.map((each) => h("option", { value: each.id }, each.label)),
  );
  choose.dispatchEvent(new Event("change"));
  const read = () => {
    const { element, devices } = chosen;
    const value = chosen.read();
    if (value === undefined || value === "") throw new Error("Enter a value.");
    const own = { [element.name]: value };
    return {
      what: `${element.title}: ${valueText(value, element)}`,
      devices,
      body: { properties: element.component === null ? own : { [element.component]: own } },
    };
  };
  const fields = [h("div", { class: "stack" }, h("label", { for: id }, "Property"), choose), box];
  return changeForm(devices, fields, [["Change", read]], close);
}

export function openTags(devices, known) {
  openDialog(`Tags of ${many(devices)}`, (close) => {
    const list = newId("tags");
    const tags = field(
      { label: "Tags", description: "Separate tags with commas.", schema: { kind: "string" } },
      { required: true },
    );
    tags.input.setAttribute("list", list);
    const read = (key, verb) => () => {
      const given = splitTags(tags.input.value);
      if (!given.length) throw new Error("Enter a tag.");
      return { what: `${verb} ${given.join(", ")}`, body: { [key]: given } };
    };
    const fields = [
      h("div", { class: "stack" }, tags.label, tags.control, tags.hint),
      h("datalist", { id: list }, known.map((tag) => h("option", { value: tag }))),
    ];
    const acts = [
      ["Add", read("addTags", "Add")],
      ["Remove", read("removeTags", "Remove")],
    ];
    return changeForm(devices, fields, acts, close);
  });
}

// A form whose buttons, which are pairs of label and reader, start a change. `read()` returns `what`
// is changed in words, the request's `body`, and the `devices` if not all, or throws an Error.
function changeForm(devices, fields, acts, close) {
  const result = resultLine();
  const start = async (read) => {
    let change;
    try {
      change = read();
    } catch (error) {
      result.show("bad", error.message);
      return;
    }
    const progress = new Progress(change.devices ?? devices, change.what, close);
    form.replaceWith(progress.element);
    await progress.run(change.body);
  };
  const form = h(
    "form",
    { class: "dialog-body", novalidate: true },
    fields,
    h(
      "div",
      { class: "actions" },
      acts.map(([label, read], index) =>
        index
          ? button(label, () => start(read))
          : h("button", { type: "submit", class: "primary" }, label),
      ),
      button("Cancel", close),
      result.element,
    ),
  );
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    start(acts[0][1]);
  });
  return form;
}

class Progress {
  constructor(devices, what, close) {
    this.names = new Map(devices.map((each) => [each.id, each.displayName]));
    this.results = new Map();
    this.bar = h("progress", { max: devices.length, value: 0, "aria-label": "Devices done" });
    this.summary = h("p", { role: "status" });
    this.failure = resultLine();
    this.lists = new Map(
      Object.entries(RESULTS).map(([kind, [colour, label]]) => {
        const head = h("span", { class: "badge", "data-kind": colour });
        const list = h("ul", { class: "outcomes" });
        const element = h("details", { hidden: true, open: kind !== "applied" });
        element.append(h("summary", {}, head), list);
        return [kind, { element, list, head, label, count: 0 }];
      }),
    );
    this.done = button("Close", close, { class: "primary" });
    this.element = h(
      "div",
      { class: "dialog-body progress" },
      h("p", {}, h("strong", {}, what)),
      this.bar,
      this.summary,
      [...this.lists.values()].map((each) => each.element),
      h("div", { class: "actions" }, this.done, this.failure.element),
    );
    this.write();
  }

  async run(body) {
    try {
      const devices = [...this.names.keys()];
      await callLines("POST", "/console/api/changes", { devices, ...body }, (each) => this.add(each));
      announce(this.summary.textContent);
    } catch (error) {
      this.failure.show("bad", error.message);
    }
  }

  add({ device, result, reason }) {
    this.results.set(device, result);
    const kind = this.lists.get(result);
    kind.count += 1;
    kind.element.hidden = false;
    setText(kind.head, `${kind.label}: ${wholeNumber(kind.count)}`);
    const link = h("a", { href: `#/devices/${encodeURIComponent(device)}` }, this.names.get(device));
    kind.list.append(h("li", {}, link, reason ? h("small", { class: "muted" }, ` ${reason}`) : ""));
    this.bar.value = this.results.size;
    this.write();
  }

  write() {
    const [done, all] = [this.results.size, this.names.size];
    setText(
      this.summary,
      done < all
        ? `${wholeNumber(done)} of ${wholeNumber(all)} devices. The change goes on if you close this.`
        : all === 1 ? "Done." : `All ${counted(all, "device")} done.`,
    );
  }
}
