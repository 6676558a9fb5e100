// The rules that make alerts, and the form for one.

import { call, get, soon } from "./api.js";
import { webhookText } from "./alerts.js";
import { conditionText, readElements, spanText } from "./conditions.js";
import { button, confirmDialog, copyButton, h, newId, openDialog, resultLine } from "./dom.js";
import { listen } from "./events.js";
import { field } from "./fields.js";
import { counted, plain } from "./format.js";
import { setTitle } from "./title.js";

const PATH = "/console/api/rules";
const FOR = [0, 60, 300, 900, 1800, 3600, 21_600, 86_400];
const SILENT = [60, 300, 900, 1800, 3600, 21_600, 86_400, 604_800];
const KINDS = [
  ["telemetry", "A reading is above or below a limit"],
  ["silence", "A device is not heard from"],
  ["property", "A status has a value"],
  ["missing", "Readings are missing"],
];
const SEARCHED = 20; // Devices from which on they can be searched.
const CHOSEN = ["enum", "boolean", "string"]; // Properties that a rule can be about.
const USUAL = {
  telemetry: { telemetry: "", above: true, limit: undefined, margin: 0, seconds: 0 },
  silence: { seconds: 900 },
  property: { property: "", values: [], negated: false, seconds: 0 },
  missing: { count: 1, seconds: 900 },
};

export class RulesPage {
  constructor() {
    this.list = h("div", { class: "cards" });
    this.result = resultLine();
    this.element = h(
      "div",
      {},
      h(
        "header",
        { class: "list-head" },
        h("h1", {}, "Rules"),
        h("a", { class: "button", href: "#/alerts" }, "Alerts"),
        button("Add rule", () => this.openForm(null), {
          class: "primary",
          "data-needs": "administer",
        }),
      ),
      this.result.element,
      this.list,
    );
    this.readSoon = soon(() => this.read());
  }

  async open() {
    setTitle("Rules");
    this.stop = listen(null, (kind) => kind === "everything" && this.readSoon());
    document.addEventListener("alerts", this.readSoon);
    await this.read();
  }

  close() {
    this.stop?.();
    document.removeEventListener("alerts", this.readSoon);
    this.closed = true;
  }

  async read() {
    try {
      this.elements = await readElements();
      const { value: rules } = await get(PATH);
      if (this.closed) return;
      const none = h("p", { class: "muted" }, "There are no rules yet. A rule makes alerts.");
      this.list.replaceChildren(...(rules.length ? rules.map((each) => this.card(each)) : [none]));
    } catch (error) {
      this.result.show("bad", error.message);
    }
  }

  card(rule) {
    const { name, enabled, condition, delivery, hasWebhook } = rule;
    const state = enabled ? null : h("span", { class: "badge" }, "Disabled");
    const sent = delivery ? webhookText(delivery) : null;
    return h(
      "section",
      { class: "card" },
      h("h3", {}, name, " ", state),
      h("p", {}, conditionText(condition, this.elements)),
      h("p", { class: "muted" }, scopeText(rule, this.elements)),
      hasWebhook ? (sent ?? h("p", { class: "muted" }, "Webhook: nothing sent yet")) : null,
      h(
        "div",
        { class: "actions", "data-needs": "administer" },
        button("Change…", () => this.openForm(rule), { class: "small" }),
        button(enabled ? "Disable" : "Enable", () => this.save({ ...rule, enabled: !enabled }), {
          class: "small",
        }),
        button("Delete…", () => this.confirmDelete(rule), { class: "small danger" }),
      ),
    );
  }

  async save(rule) {
    try {
      await call("PUT", `${PATH}/${rule.number}`, rule);
      const ended = `${rule.name} is disabled. Its open alerts ended with that, whatever the devices send.`;
      this.result.show("fine", rule.enabled ? "" : ended);
    } catch (error) {
      this.result.show("bad", error.message);
    }
    await this.read();
  }

  confirmDelete({ name, number }) {
    const text = `This deletes the rule ${name} and ends its alerts. They stay in the list.`;
    confirmDialog("Delete this rule?", text, "Delete", async () => {
      await call("DELETE", `${PATH}/${number}`);
      await this.read();
    });
  }

  async openForm(rule) {
    const devices = await readDevices().catch(() => []);
    openDialog(rule ? "Change the rule" : "Add a rule", (close) => {
      const save = async (body) => {
        if (rule) await call("PUT", `${PATH}/${rule.number}`, { ...body, enabled: rule.enabled });
        else await call("POST", PATH, body);
        close();
        await this.read();
      };
      return ruleForm(rule, { elements: this.elements, devices, save, close });
    });
  }
}

function scopeText({ tags, devices, condition }, { names }) {
  const parts = [];
  if (tags.length) parts.push(`devices with the ${tags.length > 1 ? "tags" : "tag"} ${tags.join(", ")}`);
  if (devices.length)
    parts.push(devices.length > 3 ? counted(devices.length, "device") : devices.join(", "));
  const models = (condition.templates ?? []).map((id) => names.get(id) ?? id);
  const only = models.length ? `, of ${models.length > 1 ? "the models" : "the model"} ${models.join(", ")} only` : "";
  return `For ${parts.join(" and ") || "all devices"}${only}`;
}

async function readDevices() {
  const found = [];
  let path = "/api/devices?maxpagesize=100";
  while (path) {
    const { value, nextLink } = await get(path);
    found.push(...value.map(({ id, displayName }) => ({ id, name: displayName })));
    path = nextLink && new URL(nextLink).pathname + new URL(nextLink).search;
  }
  return found;
}

// The form

function ruleForm(rule, { elements, devices, save, close }) {
  const name = field({ label: "Name", schema: { kind: "string" } }, { required: true });
  name.write(rule?.name);
  const first = rule?.condition.kind ?? KINDS[0][0];
  const place = h("div");
  let read;
  const choose = (kind) => {
    const known = rule?.condition.kind === kind ? rule.condition : USUAL[kind];
    const parts = PARTS[kind](known, elements);
    place.replaceChildren(...parts.map(stack));
    read = () => ({ kind, ...Object.assign({}, ...parts.map((part) => part.body())) });
  };
  const kinds = choice("Make an alert when", KINDS, first, choose);
  choose(first);
  const scope = scopeFields(rule, devices);
  const webhook = webhookFields(rule);
  const result = resultLine();
  const form = h(
    "form",
    { class: "dialog-body", novalidate: true },
    [name, kinds].map(stack),
    place,
    scope.element,
    webhook.element,
    h(
      "div",
      { class: "actions" },
      h("button", { type: "submit", class: "primary" }, rule ? "Save" : "Add"),
      button("Cancel", close),
      result.element,
    ),
  );
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    try {
      const title = name.read();
      if (!title?.trim()) throw new Error("Enter a name.");
      await save({ name: title, condition: read(), ...scope.read(), webhook: webhook.read() });
    } catch (error) {
      result.show("bad", error.message);
    }
  });
  return form;
}

function stack({ label, control, hint = null }) {
  return h("div", { class: "stack" }, label, control, hint);
}

function choice(text, options, value, changed = () => null) {
  const id = newId("choice");
  const control = h(
    "select",
    { id, onchange: () => changed(control.value) },
    options.map(([each, label]) => h("option", { value: each }, label)),
  );
  control.value = value;
  return { label: h("label", { for: id }, text), control };
}

function spanChoice(text, spans, value) {
  const all = [...new Set([...spans, value])].sort((a, b) => a - b);
  const options = all.map((seconds) => [seconds, seconds ? spanText(seconds) : "At once"]);
  const part = choice(text, options, value);
  return { ...part, body: () => ({ seconds: Number(part.control.value) }) };
}

function numberField(key, element, value) {
  const part = field({ schema: { kind: "double" }, ...element });
  part.write(value);
  return {
    ...part,
    body() {
      const read = part.read();
      if (read === undefined) throw new Error(`Enter a number for “${element.label}”.`);
      return { [key]: read };
    },
  };
}

const PARTS = {
  telemetry(known, { telemetry, names }) {
    const numbers = [...telemetry.values()].filter(({ schema }) =>
      ["integer", "double"].includes(schema.kind),
    );
    // A limit is a number of one unit. What models give in two units is offered once for each.
    const offered = new Map();
    for (const each of numbers.flatMap((number) => number.variants ?? [number]))
      offered.set(`${each.key} ${each.unit}`, each);
    const isKnown = ({ key, templates = [] }) =>
      key === known.telemetry && (known.templates ?? []).every((id) => templates.includes(id));
    const chosenNow = [...offered].find(([, each]) => isKnown(each))?.[0];
    const options = [...offered].map(([id, { title, unit }]) => [id, unit ? `${title} (${unit})` : title]);
    if (known.telemetry && !chosenNow) options.push([known.telemetry, known.telemetry]);
    const limit = numberField("limit", { label: "Limit" }, known.limit);
    const margin = numberField(
      "margin",
      {
        label: "Margin",
        description: "How far inside the limit a reading must be for the alert to end.",
      },
      known.margin,
    );
    const models = h("small", { class: "hint" });
    const showUnit = (id) => {
      const { unit, templates = [] } = offered.get(id) ?? {};
      limit.label.textContent = unit ? `Limit (${unit})` : "Limit";
      margin.label.textContent = unit ? `Margin (${unit})` : "Margin";
      const titles = templates.map((id) => names.get(id)).join(", ");
      models.textContent = titles && `For devices of the ${templates.length > 1 ? "models" : "model"} ${titles}. Others send it in another unit.`;
    };
    const first = known.telemetry ? (chosenNow ?? known.telemetry) : options[0]?.[0];
    const what = { ...choice("Reading", options, first, showUnit), hint: models };
    showUnit(what.control.value);
    const side = choice(
      "Is",
      [
        ["above", "above the limit"],
        ["below", "below the limit"],
      ],
      known.above ? "above" : "below",
    );
    return [
      {
        ...what,
        body() {
          const id = chosen(what, "reading");
          const { key = id, templates = [] } = offered.get(id) ?? {};
          return { telemetry: key, templates };
        },
      },
      { ...side, body: () => ({ above: side.control.value === "above" }) },
      limit,
      margin,
      spanChoice("For how long", FOR, known.seconds),
    ];
  },
  silence(known) {
    return [spanChoice("For how long", SILENT, known.seconds)];
  },
  property(known, { properties }) {
    const shown = [...properties.values()].filter(({ writable }) => !writable);
    const simple = CHOSEN.flatMap((kind) => shown.filter(({ schema }) => schema.kind === kind));
    const options = withOther(simple, known.property);
    const values = { label: h("span", { class: "label" }, "Values"), control: h("div") };
    let read;
    const show = (key) => {
      const [control, reader] = valueFields(properties.get(key), known);
      values.control.replaceChildren(control);
      read = reader;
    };
    const what = choice("Status", options, known.property || options[0]?.[0], show);
    show(what.control.value);
    const side = choice(
      "Is",
      [
        ["is", "one of these values"],
        ["isNot", "none of these values"],
      ],
      known.negated ? "isNot" : "is",
    );
    return [
      { ...what, body: () => ({ property: chosen(what, "status") }) },
      { ...side, body: () => ({ negated: side.control.value === "isNot" }) },
      { ...values, body: () => ({ values: read() }) },
      spanChoice("For how long", FOR, known.seconds),
    ];
  },
  missing(known) {
    const count = { label: "How many readings", schema: { kind: "integer" } };
    return [
      numberField("count", count, known.count),
      spanChoice("For how long", FOR, known.seconds),
    ];
  },
};

// Options for elements of models, and the one that a rule has already.
function withOther(elements, known) {
  const options = elements.map(({ key, title, unit }) => [key, unit ? `${title} (${unit})` : title]);
  if (known && !options.some(([key]) => key === known)) options.push([known, known]);
  return options;
}

function chosen({ control }, what) {
  if (!control.value) throw new Error(`No template has a ${what} for this rule.`);
  return control.value;
}

// Check boxes for the values of an enum or a boolean, else a text; and a function that reads them.
function valueFields(element, known) {
  const values =
    element?.schema.kind === "boolean"
      ? [
          { value: true, label: "Yes" },
          { value: false, label: "No" },
        ]
      : (element?.schema.values ?? []);
  const wanted = known.property === element?.key ? known.values : [];
  if (!values.length) {
    const input = h("input", { type: "text", "aria-label": "Value", value: plain(wanted[0] ?? "") });
    return [input, () => filled([input.value].filter(Boolean))];
  }
  const boxes = values.map(({ value, label }) => checkBox(label, wanted.includes(value), value));
  const group = h("div", { class: "checks", role: "group", "aria-label": "Values" }, boxes.map((b) => b.element));
  return [group, () => filled(boxes.filter((b) => b.input.checked).map((b) => b.value))];
}

function filled(values) {
  if (!values.length) throw new Error("Choose at least one value.");
  return values;
}

function checkBox(label, checked, value) {
  const input = h("input", { type: "checkbox", checked });
  return { input, value, element: h("label", { class: "check" }, input, " ", label) };
}

function scopeFields(rule, devices) {
  const tags = field({
    label: "Tags",
    description: "Separated by commas. The rule is for devices that have one of them.",
    schema: { kind: "string" },
  });
  tags.write(rule?.tags.join(", ") ?? "");
  const boxes = devices.map(({ id, name }) => {
    const label = name === id ? id : `${name} (${id})`;
    return { ...checkBox(label, rule?.devices.includes(id), id), text: label.toLowerCase() };
  });
  boxes.sort((a, b) => b.input.checked - a.input.checked); // The chosen ones first.
  const search = h("input", {
    type: "search",
    placeholder: "Name or ID",
    "aria-label": "Search devices",
    hidden: boxes.length < SEARCHED,
    oninput: () => {
      const words = search.value.toLowerCase().split(/\s+/);
      for (const { element, text } of boxes)
        element.hidden = !words.every((word) => text.includes(word));
    },
  });
  const list = h(
    "div",
    { class: "checks tall", role: "group", "aria-label": "Devices", tabindex: "0" },
    boxes.map((each) => each.element),
  );
  const chosenParts = h("div", {}, stack(tags), stack({ label: h("span", { class: "label" }, "Devices"), control: h("div", {}, search, list) }));
  const show = (value) => (chosenParts.hidden = value === "all");
  const isForAll = !rule?.tags.length && !rule?.devices.length;
  const options = [
    ["all", "All devices"],
    ["chosen", "Devices with a tag, or chosen ones"],
  ];
  const which = choice("Applies to", options, isForAll ? "all" : "chosen", show);
  show(which.control.value);
  return {
    element: h("div", {}, stack(which), chosenParts),
    read() {
      if (which.control.value === "all") return { tags: [], devices: [] };
      const found = {
        tags: (tags.read() ?? "").split(",").map((tag) => tag.trim()).filter(Boolean),
        devices: boxes.filter(({ input }) => input.checked).map(({ value }) => value),
      };
      if (!found.tags.length && !found.devices.length)
        throw new Error("Enter a tag or choose a device.");
      return found;
    },
  };
}

function webhookFields(rule) {
  const url = field({
    label: "Webhook (optional)",
    description: "The URL to which each alert is sent, signed with the secret of this central.",
    schema: { kind: "string" },
  });
  url.write(rule?.webhook);
  const result = resultLine();
  const test = async () => {
    result.show("busy", "Sending…");
    try {
      const { outcome } = await call("POST", "/console/api/webhook-test", { url: url.read() });
      if (outcome === "delivered") result.show("fine", "The receiver accepted the test message.");
      else result.show("bad", `The test message was not delivered: ${outcome}.`);
    } catch (error) {
      result.show("bad", error.message);
    }
  };
  const secret = h("p", { class: "copyable" });
  const showSecret = async () => {
    try {
      const found = await get("/console/api/webhook-secret");
      secret.replaceChildren(
        h("code", {}, found.secret),
        copyButton(() => found.secret, "the secret"),
      );
    } catch (error) {
      result.show("bad", error.message);
    }
  };
  const actions = h(
    "div",
    { class: "actions" },
    button("Send a test message", test, { class: "small" }),
    button("Show the secret", showSecret, { class: "small" }),
    result.element,
  );
  return {
    element: h("div", {}, stack(url), actions, secret),
    read: () => url.read()?.trim() || null,
  };
}
