// How to connect a device: the settings that any client needs, and the files and commands for
// sensor-agent.

import { call, devicePath, get } from "./api.js";
import { button, copyButton, h, newId, openDialog, resultLine } from "./dom.js";

const CA = "/console/api/ca.pem";
const CA_FILE = "central-ca.pem";
const ONLY_HERE =
  "Devices on other machines cannot reach this central. To let them, start it with --listen and an address of this machine.";

const TOKEN = "central-token"; // In the session's storage, which no other port of this host reads.

export async function openConnect(id) {
  try {
    const about = await get("/console/api/central");
    const authority = about.local ? null : await (await fetch(CA)).text();
    const token = sessionStorage.getItem(TOKEN);
    const headers = token ? { Authorization: token } : {};
    const keys = await call("GET", devicePath(id, "credentials"), undefined, headers);
    showConnect(id, about, authority, keys);
  } catch (error) {
    if (error.code === "TokenRequired") await askToken(id);
    else openDialog(`Connect ${id}`, () => h("p", { class: "dialog-body" }, error.message));
  }
}

// Without users, whoever can read central's directory may read the keys of devices.
async function askToken(id) {
  const { tokenFile } = await get("/console/api/session");
  const wrong = sessionStorage.getItem(TOKEN) !== null;
  sessionStorage.removeItem(TOKEN);
  openDialog(`Connect ${id}`, (close) => {
    const field = newId("token");
    const input = h("input", { id: field, type: "password", autocomplete: "off" });
    const result = resultLine();
    if (wrong) result.show("bad", "That is not the token of this central.");
    const next = async (event) => {
      event.preventDefault();
      if (!/^[ -~]+$/.test(input.value.trim())) return input.focus();
      sessionStorage.setItem(TOKEN, input.value.trim());
      close();
      await openConnect(id);
    };
    return h(
      "form",
      { class: "dialog-body", onsubmit: next, novalidate: true },
      h("p", {}, "The keys of devices are for those who can read central's files."),
      text("Show the token in a terminal", `cat ${shellQuoted(tokenFile)}`),
      h("div", { class: "stack" }, h("label", { for: field }, "Token"), input),
      h(
        "div",
        { class: "actions" },
        h("button", { type: "submit", class: "primary" }, "Continue"),
        button("Cancel", close),
        result.element,
      ),
    );
  });
}

function showConnect(id, about, authority, credentials) {
  const key = credentials.symmetricKey.primaryKey;
  const keyFile = `${fileName(id)}.key`;
  const configFile = `${fileName(id)}.toml`;
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
      h("h3", {}, "Set up the service on a Raspberry Pi"),
      about.local ? null : files(id, authority),
      text("Run in a terminal of the Raspberry Pi", setupLine(id, about)),
      h("h3", {}, "Or run in a terminal"),
      saving("key", keyFile),
      text(`Save as ${configFile}`, config(id, about, keyFile)),
      text("Run in the same directory", `sensor-agent run --config ${configFile}`),
      h("p", { class: "muted" }, "Without a board, add --fake-hw to either command."),
      about.local ? h("p", { class: "muted" }, ONLY_HERE) : null,
    ),
  );
}

// What another machine needs from this one, ready to paste into its terminal.
function files(id, authority) {
  return [
    h("p", {}, "The certificate: ", h("a", { href: CA, download: CA_FILE }, CA_FILE)),
    text(
      "Or save it: run this in a terminal of the Raspberry Pi",
      `cat > ${CA_FILE} <<'END'\n${authority.trim()}\nEND`,
    ),
    saving("connection string", stringFile(id)),
  ];
}

// A secret in a command would stay in the shell's history.
const saving = (what, file) =>
  text(`Save the ${what}: run this, paste it, press Enter and Ctrl-D`, `(umask 077; cat > ${file})`);

// A central on the same machine has everything but the device id in its directory.
function setupLine(id, about) {
  const words = about.local
    ? ["--central", about.dataDirectory, "--device-id", id]
    : ["--connection-string-file", stringFile(id), "--ca-file", CA_FILE];
  return ["sudo", "sensor-agent", "setup", ...words].map(shellQuoted).join(" ");
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

const stringFile = (id) => `${fileName(id)}.connection`;

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
