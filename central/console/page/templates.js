// The templates that devices can have, with their capabilities; importing and removing one.

import { call, get, soon } from "./api.js";
import { button, confirmDialog, factList, h, openDialog, resultLine } from "./dom.js";
import { listen } from "./events.js";
import { counted } from "./format.js";
import { setTitle } from "./title.js";

const LARGEST = 256 * 1024; // Bytes that central takes.

const pathOf = (dtmi) => `/api/deviceTemplates/${encodeURIComponent(dtmi)}`;

export class TemplatesPage {
  constructor() {
    this.list = h("div", { class: "cards" });
    this.result = resultLine();
    this.file = h("input", {
      type: "file",
      accept: ".json,application/json",
      multiple: true,
      class: "unseen",
      "aria-label": "Files to import",
      onchange: () => this.importFiles(),
    });
    this.element = h(
      "div",
      {},
      h(
        "header",
        { class: "list-head" },
        h("h1", {}, "Templates"),
        button("Import…", () => this.file.click(), {
          class: "primary",
          "data-needs": "administer",
        }),
        this.file,
      ),
      h(
        "p",
        { class: "muted page-note" },
        "A template is a DTDL v2 interface. A device that announces the interface's ID gets the template automatically.",
      ),
      this.result.element,
      this.list,
    );
  }

  async open() {
    setTitle("Templates");
    const readSoon = soon(() => this.read());
    this.stop = listen(null, (kind) => (kind === "device" || kind === "everything") && readSoon());
    await this.read();
  }

  close() {
    this.stop();
  }

  async read() {
    try {
      const { value: models } = await get("/console/api/models");
      this.list.replaceChildren(...models.map((model) => this.card(model)));
      if (!models.length)
        this.list.replaceChildren(h("p", { class: "muted" }, "No template has been imported yet."));
    } catch (error) {
      this.result.show("bad", error.message);
    }
  }

  card(model) {
    const { id, label, users } = model;
    return h(
      "section",
      { class: "card" },
      h("h3", {}, label),
      h("p", { class: "muted code" }, id),
      h("p", { class: "muted" }, counted(users, "device")),
      contents(model),
      h(
        "div",
        { class: "actions" },
        button("Show DTDL", () => openSource(model), { class: "small" }),
        button("Remove…", () => this.confirmRemoval(model), {
          class: "small danger",
          "data-needs": "administer",
        }),
      ),
    );
  }

  async importFiles() {
    const done = [];
    try {
      for (const file of this.file.files) {
        if (file.size > LARGEST) throw new Error(`${file.name} is larger than ${LARGEST} bytes.`);
        for (const model of interfacesIn(file.name, await file.text())) {
          const body = model.capabilityModel ? model : { capabilityModel: model };
          await call("PUT", pathOf(model["@id"]), body);
          done.push(model["@id"]);
        }
      }
      this.result.show("fine", `Imported ${done.join(" and ")}`);
    } catch (error) {
      const before = done.length ? ` Imported before that: ${done.join(" and ")}` : "";
      this.result.show("bad", error.message + before);
    }
    this.file.value = "";
    await this.read();
  }

  confirmRemoval({ id, label }) {
    confirmDialog("Remove this template?", `This removes ${label} (${id}).`, "Remove", async () => {
      await call("DELETE", pathOf(id));
      await this.read();
    });
  }
}

// A file has one interface, a list of them, or a template exported from IoT Central.
function interfacesIn(name, text) {
  let found;
  try {
    found = [JSON.parse(text)].flat();
  } catch (error) {
    throw new Error(`${name} is not JSON: ${error.message}.`);
  }
  for (const model of found) {
    if (typeof model?.["@id"] !== "string")
      throw new Error(`${name} is not a DTDL interface: it has no "@id".`);
  }
  return found;
}

function contents(model) {
  const own = (elements) => elements.filter((each) => each.component === null);
  const rows = [
    ["Telemetry", own(model.telemetry)],
    ["Reported", own(model.properties).filter((each) => !each.writable)],
    ["Writable", own(model.properties).filter((each) => each.writable)],
    ["Commands", own(model.commands)],
    ["Components", model.components],
  ];
  const shown = rows.filter(([, elements]) => elements.length);
  return factList(
    shown.map(([title, elements]) => [title, elements.flatMap(words)]),
    "facts left",
  );
}

function words({ name, label, unit }, index) {
  return [index ? ", " : "", h("span", { title: name }, unit ? `${label} (${unit})` : label)];
}

async function openSource({ id, label }) {
  const text = await get(pathOf(id)).then(
    ({ capabilityModel }) => JSON.stringify(capabilityModel, null, 2),
    (error) => error.message,
  );
  openDialog(label, () => h("div", { class: "dialog-body" }, h("pre", { tabindex: "0" }, text)));
}
