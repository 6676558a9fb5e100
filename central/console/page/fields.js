// A labelled field for a value of a schema. `read()` gives the value, undefined when it is left
// empty, or throws a sentence; `write(value)` shows one.

import { h, newId } from "./dom.js";
import { plain, unitSymbol } from "./format.js";

const WHOLE = new Set(["integer"]);

export function field(element, { required = false } = {}) {
  const id = newId("field");
  const hint = element.description
    ? h("small", { id: `${id}-hint`, class: "hint" }, element.description)
    : null;
  const input = makeInput(element.schema, id);
  if (hint) input.setAttribute("aria-describedby", hint.id);
  if (required) input.setAttribute("required", "");
  const symbol = unitSymbol(element.unit);
  const control = symbol
    ? h("span", { class: "with-unit" }, input, h("span", { class: "unit" }, symbol))
    : input;
  return {
    id,
    input,
    hint,
    label: h("label", { for: id }, element.label),
    control,
    read: () => read(input, element),
    write: (value) => (input.value = write(value, element.schema)),
  };
}

function makeInput(schema, id) {
  switch (schema.kind) {
    case "boolean":
      return select(id, [
        ["true", "Yes"],
        ["false", "No"],
      ]);
    case "enum":
      return select(
        id,
        schema.values.map((each) => [JSON.stringify(each.value), each.label]),
      );
    case "integer":
      return h("input", { id, type: "number", step: "1", inputmode: "numeric" });
    case "double":
      return h("input", { id, type: "number", step: "any", inputmode: "decimal" });
    case "object":
    case "array":
    case "map":
    case "unknown":
      return h("textarea", { id, rows: "3", spellcheck: "false", placeholder: "JSON" });
    default:
      return h("input", { id, type: "text", autocomplete: "off", spellcheck: "false" });
  }
}

function select(id, options) {
  return h(
    "select",
    { id },
    h("option", { value: "" }, "—"),
    options.map(([value, label]) => h("option", { value }, label)),
  );
}

function read(input, element) {
  const text = input.value;
  const kind = element.schema.kind;
  if (input.validity.badInput) throw new Error(`${element.label} must be a number.`);
  if (text === "" && (kind !== "string" || input.hasAttribute("required"))) return undefined;
  if (kind === "integer" || kind === "double") {
    const value = Number(text);
    if (!Number.isFinite(value)) throw new Error(`${element.label} must be a number.`);
    if (WHOLE.has(kind) && !Number.isSafeInteger(value))
      throw new Error(`${element.label} must be a whole number.`);
    return value;
  }
  if (kind === "boolean") return text === "true";
  if (input.tagName === "TEXTAREA" || kind === "enum") {
    try {
      return JSON.parse(text);
    } catch {
      throw new Error(`${element.label} must be JSON.`);
    }
  }
  return text;
}

function write(value, schema) {
  if (value === undefined || value === null) return "";
  if (schema.kind === "enum") return JSON.stringify(value);
  if (schema.kind === "boolean" || typeof value === "number") return String(value);
  return typeof value === "string" && !["object", "array", "map", "unknown"].includes(schema.kind)
    ? value
    : plain(JSON.stringify(value));
}
