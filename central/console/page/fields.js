// A labelled field for a value of a schema; for an object, a group with one for each of its fields.
// `read()` returns the value, or undefined for an empty field, or throws an Error. `write(value)`
// shows a value.

import { h, newId } from "./dom.js";
import { choicesOf, plain } from "./format.js";

const JSON_KINDS = new Set(["array", "map", "object", "unknown"]);

export function field(element, { required = false } = {}) {
  if (element.schema.kind === "object" && element.schema.fields.length)
    return objectField(element, required);
  const id = newId("field");
  const hint = hintOf(element, id);
  const choices = choicesOf(element);
  const input = choices ? select(id, choices) : makeInput(element.schema, id);
  if (hint) input.setAttribute("aria-describedby", hint.id);
  if (required) input.setAttribute("required", "");
  const control = element.unit
    ? h("span", { class: "with-unit" }, input, h("span", { class: "unit" }, element.unit))
    : input;
  return {
    id,
    input,
    hint,
    label: h("label", { for: id }, element.label),
    control,
    read: () => read(input, element),
    write(value) {
      const text = write(value, element.schema);
      if (choices) addOption(input, text);
      input.value = text;
    },
  };
}

function hintOf(element, id) {
  if (!element.description) return null;
  return h("small", { id: `${id}-hint`, class: "hint" }, element.description);
}

function objectField(element, required) {
  const id = newId("field");
  const hint = hintOf(element, id);
  const fields = element.schema.fields.map((each) => ({ name: each.name, ...field(each) }));
  const control = h(
    "div",
    {
      class: "object-field",
      role: "group",
      "aria-labelledby": id,
      "aria-describedby": hint?.id,
    },
    fields.map((each) => h("div", { class: "stack" }, each.label, each.control, each.hint)),
  );
  return {
    id,
    input: fields[0].input,
    hint,
    label: h("span", { id, class: "label" }, element.label),
    control,
    read() {
      const given = fields
        .map((each) => [each.name, each.read()])
        .filter(([, value]) => value !== undefined && value !== "");
      return given.length || required ? Object.fromEntries(given) : undefined;
    },
    write(value) {
      const known = value !== null && typeof value === "object" ? value : {};
      for (const each of fields) each.write(known[each.name]);
    },
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
    case "date":
      return h("input", { id, type: "date" });
    case "dateTime":
      return h("input", { id, type: "datetime-local", step: "1" });
    case "time":
      return h("input", { id, type: "time", step: "1" });
    case "duration":
      return h("input", { id, type: "text", autocomplete: "off", placeholder: "PT1H30M" });
    default:
      return isJson(schema)
        ? h("textarea", { id, rows: "3", spellcheck: "false", placeholder: "JSON" })
        : h("input", { id, type: "text", autocomplete: "off", spellcheck: "false" });
  }
}

function isJson(schema) {
  return JSON_KINDS.has(schema.kind);
}

function select(id, options) {
  return h(
    "select",
    { id },
    h("option", { value: "" }, "—"),
    options.map(([value, label]) => h("option", { value }, label)),
  );
}

// A value that is not among the choices can be shown, too.
function addOption(input, text) {
  if ([...input.options].some((each) => each.value === text)) return;
  input.append(h("option", { value: text }, text));
}

function read(input, element) {
  const text = input.value;
  const { kind } = element.schema;
  if (input.validity.badInput) throw new Error(`${element.label} is incomplete.`);
  if (text === "" && (kind !== "string" || input.hasAttribute("required"))) return undefined;
  switch (kind) {
    case "integer":
    case "double": {
      const value = Number(text);
      if (!Number.isFinite(value)) throw new Error(`${element.label} must be a number.`);
      if (kind === "integer" && !Number.isSafeInteger(value))
        throw new Error(`${element.label} must be a whole number.`);
      return value;
    }
    case "boolean":
      return text === "true";
    case "dateTime":
      return new Date(text).toISOString();
    case "enum":
      return JSON.parse(text);
    default:
      return isJson(element.schema) ? readJson(text, element) : text;
  }
}

function readJson(text, element) {
  try {
    return JSON.parse(text);
  } catch {
    throw new Error(`${element.label} must be JSON.`);
  }
}

function write(value, schema) {
  if (value === undefined || value === null) return "";
  if (schema.kind === "enum" || isJson(schema)) return JSON.stringify(value);
  if (schema.kind === "dateTime" && !Number.isNaN(Date.parse(value))) return localTime(value);
  return plain(value);
}

// A time for a datetime-local field: in the reader's zone, without the zone's name.
export function localTime(time) {
  const then = new Date(time);
  const local = new Date(then.getTime() - then.getTimezoneOffset() * 60_000);
  return local.toISOString().slice(0, 19);
}
