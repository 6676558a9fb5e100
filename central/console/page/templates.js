// The models that devices can have: what each names; importing one; removing one.

import { call, get, soon } from "./api.js";
import { h, openDialog, setText } from "./dom.js";
import { listen } from "./events.js";
import { unitSymbol } from "./format.js";
import { interfacesOf, readModel } from "./model.js";

const LARGEST = 256 * 1024; // Bytes that central takes.

const pathOf = (dtmi) => `/api/deviceTemplates/${encodeURIComponent(dtmi)}`;

export class TemplatesPage {
  constructor() {
    this.list = h("div", { class: "cards" });
    this.result = h("output", { class: "result" });
    this.file = h("input", {
      type: "file",
      accept: ".json,application/json",
      multiple: true,
      class: "unseen",
      "aria-label": "Files with models to import",
      onchange: () => this.importFiles(),
    });
    this.element = h(
      "div",
      {},
      h(
        "header",
        { class: "list-head" },
        h("h1", {}, "Templates"),
        h(
          "button",
          { type: "button", class: "primary", onclick: () => this.file.click() },
          "Import a model…",
        ),
        this.file,
      ),
      h(
        "p",
        { class: "muted page-note" },
        "A template is a DTDL v2 interface. A device that announces its id gets it by itself.",
      ),
      this.result,
      this.list,
    );
  }

  async open() {
    document.title = "Templates · Central";
    const readSoon = soon(() => this.read());
    this.stop = listen(null, (kind) => (kind === "device" || kind === "everything") && readSoon());
    await this.read();
  }

  close() {
    this.stop();
  }

  async read() {
    try {
      const [{ value: templates }, { value: devices }] = await Promise.all([
        get("/api/deviceTemplates"),
        get("/console/api/devices"),
      ]);
      const interfaces = interfacesOf(templates);
      this.list.replaceChildren(
        ...templates.map((template) => {
          const ids = [template["@id"], template.capabilityModel["@id"]];
          const users = devices.filter((device) => ids.includes(device.template)).length;
          return this.card(template, readModel(interfaces, template["@id"]), users);
        }),
      );
      if (!templates.length)
        this.list.replaceChildren(h("p", { class: "muted" }, "No model has been imported yet."));
    } catch (error) {
      this.say("bad", error.message);
    }
  }

  card(template, model, users) {
    const dtmi = template["@id"];
    return h(
      "section",
      { class: "card" },
      h("h3", {}, template.displayName),
      h("p", { class: "muted code" }, dtmi),
      h("p", { class: "muted" }, users === 1 ? "1 device" : `${users} devices`),
      contents(model),
      h(
        "div",
        { class: "actions" },
        h(
          "button",
          { type: "button", class: "small", onclick: () => openSource(template) },
          "Show its text",
        ),
        h(
          "button",
          { type: "button", class: "small danger", onclick: () => this.confirmRemoval(template) },
          "Remove…",
        ),
      ),
    );
  }

  async importFiles() {
    const done = [];
    try {
      for (const file of this.file.files) {
        if (file.size > LARGEST) throw new Error(`${file.name} has more than ${LARGEST} bytes.`);
        for (const model of interfacesIn(file.name, await file.text())) {
          const body = model.capabilityModel ? model : { capabilityModel: model };
          await call("PUT", pathOf(model["@id"]), body);
          done.push(model["@id"]);
        }
      }
      this.say("fine", `Imported: ${done.join(", ")}.`);
    } catch (error) {
      this.say("bad", `${done.length ? `Imported: ${done.join(", ")}. ` : ""}${error.message}`);
    }
    this.file.value = "";
    await this.read();
  }

  confirmRemoval(template) {
    openDialog("Remove this template?", (close) => {
      const result = h("output", { class: "result", "data-kind": "bad" });
      const remove = h("button", { type: "button", class: "danger" }, "Remove");
      remove.addEventListener("click", async () => {
        try {
          await call("DELETE", pathOf(template["@id"]));
          close();
          await this.read();
        } catch (error) {
          setText(result, error.message);
        }
      });
      return h(
        "div",
        { class: "dialog-body" },
        h("p", {}, `${template.displayName} (${template["@id"]}) is removed.`),
        h(
          "div",
          { class: "actions" },
          remove,
          h("button", { type: "button", onclick: close }, "Keep it"),
          result,
        ),
      );
    });
  }

  say(kind, text) {
    this.result.dataset.kind = kind;
    setText(this.result, text);
  }
}

// A file has one interface, several in a list, or a template as IoT Central exports it.
function interfacesIn(name, text) {
  let found;
  try {
    found = [JSON.parse(text)].flat();
  } catch (error) {
    throw new Error(`${name} is not JSON: ${error.message}.`);
  }
  for (const model of found) {
    if (typeof model?.["@id"] !== "string")
      throw new Error(`${name} is no DTDL interface: it has no "@id".`);
  }
  return found;
}

function contents(model) {
  const own = (elements) => elements.filter((each) => each.component === null);
  const rows = [
    ["Telemetry", own(model.telemetry)],
    ["Reported", own(model.properties).filter((each) => !each.writable)],
    ["Can be set", own(model.properties).filter((each) => each.writable)],
    ["Commands", own(model.commands)],
    ["Components", model.components],
  ];
  return h(
    "dl",
    { class: "facts left" },
    rows
      .filter(([, elements]) => elements.length)
      .map(([title, elements]) =>
        h(
          "div",
          {},
          h("dt", {}, title),
          h(
            "dd",
            {},
            elements.map((each, index) =>
              h("span", { title: each.name }, index ? ", " : "", words(each)),
            ),
          ),
        ),
      ),
  );
}

function words(element) {
  const unit = unitSymbol(element.unit);
  return unit ? `${element.label} (${unit})` : element.label;
}

function openSource(template) {
  openDialog(template.displayName, () =>
    h(
      "div",
      { class: "dialog-body" },
      h("pre", { tabindex: "0" }, JSON.stringify(template.capabilityModel, null, 2)),
    ),
  );
}
