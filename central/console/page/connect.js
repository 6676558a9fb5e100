// How to connect a device: what any client needs, and a ready configuration for sensor-agent.

import { devicePath, get } from "./api.js";
import { copyButton, h, newId, openDialog } from "./dom.js";

const CA = "/console/api/ca.pem";
const CA_FILE = "central-ca.pem";

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
  const commands = [
    "# Paste the primary key, then Enter and Ctrl-D.",
    `(umask 077; cat > ${keyFile})`,
    "# Without a board, add --fake-hw.",
    `sensor-agent run --config ${configFile}`,
  ].join("\n");
  openDialog(`Connect ${id}`, () =>
    h(
      "div",
      { class: "dialog-body" },
      value("Provisioning", about.provisioningHost),
      value("ID scope", credentials.idScope),
      value("Device ID", id),
      secret("Primary key", key),
      h("h3", {}, "With sensor-agent"),
      text(`Save as ${configFile}`, config(id, about, keyFile)),
      text("Then, in the same directory", commands),
      h(
        "p",
        { class: "muted" },
        about.local
          ? "For a device on another machine, start central with --listen and the address that the device can reach."
          : "The certificate goes beside the configuration: ",
        about.local ? null : h("a", { href: CA, download: CA_FILE }, CA_FILE),
      ),
    ),
  );
}

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

// TOML's basic strings are written as JSON's.
const quoted = (text) => JSON.stringify(text);

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
  const show = h("button", { type: "button", class: "small", "aria-pressed": "false" }, "Show");
  show.setAttribute("aria-label", `Show ${label}`);
  show.addEventListener("click", () => {
    const shown = input.type === "text";
    input.type = shown ? "password" : "text";
    show.textContent = shown ? "Show" : "Hide";
    show.setAttribute("aria-pressed", String(!shown));
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
