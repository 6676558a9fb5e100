// How to connect a device: the settings that any client needs, and the files and commands for
// sensor-agent.

import { devicePath, get } from "./api.js";
import { button, copyButton, h, newId, openDialog } from "./dom.js";

const CA = "/console/api/ca.pem";
const CA_FILE = "central-ca.pem";
const ONLY_HERE =
  "Devices on other machines cannot reach this central. To let them, start it with --listen and an address of this machine.";

export async function openConnect(id) {
  try {
    showConnect(id, await get("/console/api/central"), await get(devicePath(id, "credentials")));
  } catch (error) {
    openDialog(`Connect ${id}`, () => h("p", { class: "dialog-body" }, error.message));
  }
}

function showConnect(id, about, credentials) {
  const key = credentials.symmetricKey.primaryKey;
  const keyFile = `${fileName(id)}.key`;
  const configFile = `${fileName(id)}.toml`;
  const saveKey = text(
    "Save the key: run this, paste it, press Enter and Ctrl-D",
    `(umask 077; cat > ${keyFile})`,
  );
  const certificate = h("a", { href: CA, download: CA_FILE }, CA_FILE);
  const files = [
    h("h3", {}, "Get the files"),
    h("p", {}, "Download the certificate: ", certificate),
    saveKey,
  ];
  openDialog(`Connect ${id}`, () =>
    h(
      "div",
      { class: "dialog-body" },
      value("Provisioning", about.provisioningHost),
      value("ID scope", credentials.idScope),
      about.idScopes
        .slice(1)
        .map(({ idScope, hub }) => value(`Another ID scope, with hub ${hub}`, idScope)),
      value("Device ID", id),
      secret("Primary key", key),
      secret("Connection string", connectionString(id, about, key)),
      about.local ? [] : files,
      h("h3", {}, "Install the service on a Raspberry Pi"),
      text("Run in the project's directory", installLine(id, about, keyFile)),
      h("h3", {}, "Or run in a terminal"),
      about.local ? saveKey : null,
      text(`Save as ${configFile}`, config(id, about, keyFile)),
      text("Run in the same directory", `sensor-agent run --config ${configFile}`),
      h("p", { class: "muted" }, "Without a board, add --fake-hw to either command."),
      about.local ? h("p", { class: "muted" }, ONLY_HERE) : null,
    ),
  );
}

// The installer reads everything but the device id from a central on the same machine.
function installLine(id, about, keyFile) {
  const options = about.local
    ? ["--central", about.dataDirectory]
    : [
        "--id-scope",
        about.idScope,
        "--key-file",
        keyFile,
        "--provisioning-host",
        about.provisioningHost,
        "--ca-file",
        CA_FILE,
      ];
  const words = [...options, "--device-id", id].map(shellQuoted);
  return `sudo sh deploy/install.sh ${words.join(" ")}`;
}

// In place of provisioning, ID scope, device ID and key.
const connectionString = (id, about, key) =>
  `HostName=${about.hub};DeviceId=${id};SharedAccessKey=${key}`;

function config(id, about, keyFile) {
  return [
    "[device]",
    `id = ${quoted(id)}`,
    "",
    "[cloud]",
    `id_scope = ${quoted(about.idScope)}`,
    `provisioning_host = ${quoted(about.provisioningHost)}`,
    `key_file = ${quoted(keyFile)}`,
    `ca_file = ${quoted(about.local ? about.caFile : CA_FILE)}`,
    "",
  ].join("\n");
}

// TOML's basic strings have the syntax of JSON's.
const quoted = (text) => JSON.stringify(text);

const shellQuoted = (text) =>
  /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;

const fileName = (id) => id.replace(/[^A-Za-z0-9.-]/g, "-");

function value(label, text, type = "text") {
  const id = newId("connect");
  const input = h("input", {
    id,
    type,
    readonly: true,
    value: text,
    spellcheck: "false",
    autocomplete: "off",
    onfocus: (event) => event.target.select(),
  });
  return h(
    "div",
    { class: "copyable" },
    h("label", { for: id }, label),
    input,
    copyButton(() => text, label),
  );
}

function secret(label, text) {
  const line = value(label, text, "password");
  const input = line.querySelector("input");
  const toggle = () => {
    const shown = input.type === "text";
    input.type = shown ? "password" : "text";
    show.textContent = shown ? "Show" : "Hide";
    show.setAttribute("aria-pressed", String(!shown));
  };
  const show = button("Show", toggle, {
    class: "small",
    "aria-pressed": "false",
    "aria-label": `Show ${label}`,
  });
  input.after(show);
  return line;
}

function text(label, content) {
  const id = newId("connect");
  return h(
    "div",
    { class: "snippet" },
    h(
      "div",
      { class: "card-head" },
      h("span", { id }, label),
      copyButton(() => content, label),
    ),
    h("pre", { tabindex: "0", "aria-labelledby": id }, content),
  );
}
