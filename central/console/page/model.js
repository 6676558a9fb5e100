// Reading a device model: a DTDL v2 interface, and those of its components. A model comes from
// outside, so whatever in it does not have the expected form is passed over.

const NUMERIC = new Set(["integer", "double", "number"]);
const DEEPEST = 10; // Interfaces that extend one another, as the language has it.

// The interfaces of templates, by the template's id and by their own.
export function interfacesOf(templates) {
  return new Map([
    ...templates.map((each) => [each.capabilityModel["@id"], each.capabilityModel]),
    ...templates.map((each) => [each["@id"], each.capabilityModel]),
  ]);
}

// Returns {telemetry, properties, commands, components}, or null where there is no interface.
// Each element has name, label, description, unit, schema, component (null at the root).
export function readModel(interfaces, dtmi) {
  const root = interfaces.get(dtmi);
  if (!root) return null;
  const model = {
    label: text(root.displayName) ?? dtmi,
    telemetry: [],
    properties: [],
    commands: [],
    components: [],
  };
  readInterface(model, root, null, interfaces);
  return model;
}

function readInterface(model, from, component, interfaces) {
  const schemas = new Map(list(from.schemas).map((schema) => [schema?.["@id"], schema]));
  for (const raw of inherited(from, interfaces, DEEPEST)) {
    if (raw === null || typeof raw !== "object" || typeof raw.name !== "string") continue;
    const types = [raw["@type"]].flat();
    const element = {
      name: raw.name,
      label: text(raw.displayName) ?? raw.name,
      description: text(raw.description) ?? "",
      unit: raw.unit,
      schema: readSchema(raw.schema, schemas),
      component,
    };
    if (types.includes("Telemetry")) model.telemetry.push(element);
    else if (types.includes("Property"))
      model.properties.push({ ...element, writable: raw.writable === true });
    else if (types.includes("Command"))
      model.commands.push({
        ...element,
        request: payload(raw.request, schemas),
        response: payload(raw.response, schemas),
      });
    else if (types.includes("Component") && component === null) {
      model.components.push({ name: raw.name, label: element.label });
      const inner = typeof raw.schema === "string" ? interfaces.get(raw.schema) : raw.schema;
      if (inner && typeof inner === "object") readInterface(model, inner, raw.name, interfaces);
    }
  }
}

// An interface's contents, those that it inherits (`extends`) first.
function inherited(from, interfaces, depth) {
  const bases = depth ? [from.extends].flat() : [];
  return [
    ...bases
      .map((base) => (typeof base === "string" ? interfaces.get(base) : base))
      .filter((base) => base !== null && typeof base === "object")
      .flatMap((base) => inherited(base, interfaces, depth - 1)),
    ...list(from.contents),
  ];
}

// What a telemetry, property or command is called in a whole device: `component*name` in one.
export function keyOf({ component, name }) {
  return component === null ? name : `${component}*${name}`;
}

// Its name for a person: with the component's before it.
export function labelOf(element, model) {
  if (element.component === null) return element.label;
  const part = model?.components.find((each) => each.name === element.component);
  return `${part?.label ?? element.component}: ${element.label}`;
}

function payload(raw, schemas) {
  if (raw === null || typeof raw !== "object") return null;
  return {
    name: raw.name,
    label: text(raw.displayName) ?? raw.name ?? "Value",
    description: text(raw.description) ?? "",
    unit: raw.unit,
    schema: readSchema(raw.schema, schemas),
  };
}

// A schema becomes {kind}: boolean, integer, double, string, dateTime ...; an enum with its values,
// an object with its fields.
function readSchema(raw, schemas) {
  const schema = typeof raw === "string" ? (schemas.get(raw) ?? raw) : raw;
  if (typeof schema === "string")
    return { kind: schema === "long" ? "integer" : schema === "float" ? "double" : schema };
  const type = [schema?.["@type"]].flat()[0];
  if (type === "Object") {
    const fields = list(schema.fields).filter((each) => typeof each?.name === "string");
    return { kind: "object", fields: fields.map((each) => payload(each, schemas)) };
  }
  if (type !== "Enum") return { kind: typeof type === "string" ? type.toLowerCase() : "unknown" };
  const values = list(schema.enumValues)
    .filter((each) => each && each.enumValue !== undefined)
    .map((each) => ({
      value: each.enumValue,
      label: text(each.displayName) ?? each.name ?? String(each.enumValue),
    }));
  return { kind: "enum", values };
}

export function isNumeric(element) {
  return NUMERIC.has(element.schema.kind);
}

// Elements for the numbers of a device without a model: their names are all that is known.
export function unmodelled(names) {
  return names.map((name) => ({
    name,
    label: name,
    description: "",
    unit: undefined,
    schema: { kind: "number" },
    component: null,
  }));
}

function list(value) {
  return Array.isArray(value) ? value : [];
}

// A display name may be text, or text by language.
function text(value) {
  if (typeof value === "string") return value;
  if (value && typeof value === "object")
    return value.en ?? Object.values(value).find((each) => typeof each === "string");
  return undefined;
}

// A message taken apart: what the model knows, what it does not, or the text if it is no JSON
// object.
export function readMessage(message, model) {
  let body;
  try {
    body = JSON.parse(message.body);
  } catch {
    return { known: new Map(), rest: null, text: message.body };
  }
  if (body === null || typeof body !== "object" || Array.isArray(body))
    return { known: new Map(), rest: null, text: message.body };
  const component = message.system.component ?? null;
  const known = new Map();
  const rest = {};
  for (const [name, value] of Object.entries(body)) {
    const modelled = model?.telemetry.some(
      (each) => each.name === name && each.component === component,
    );
    if (modelled) known.set(name, value);
    else rest[name] = value;
  }
  return { known, rest: Object.keys(rest).length ? rest : null, text: null };
}
