// The condition of a rule in words, by the names and units that the models give.

import { get } from "./api.js";
import { counted, number, valueText, withUnit } from "./format.js";

const UNITS = [
  [86_400, "day"],
  [3600, "hour"],
  [60, "minute"],
  [1, "second"],
];

// Returns the telemetry and the reported properties of all models, each by its key; `of`, which
// returns those of one model; and the `names` of the models, by id.
export async function readElements() {
  const { value: models } = await get("/console/api/models");
  const all = collectAll(models);
  const own = new Map(models.map((model) => [model.id, collectAll([model])]));
  const names = new Map(models.map(({ id, label }) => [id, label]));
  return { ...all, names, of: (template) => own.get(template) ?? all };
}

function collectAll(models) {
  return { telemetry: collect(models, "telemetry"), properties: collect(models, "properties") };
}

// If models give different units, the element has none, its `units` in words, and its `variants`: one
// for each unit, with the ids of the models that have it.
function collect(models, kind) {
  const found = new Map();
  const elements = models.flatMap(({ id, ...model }) => model[kind].map((each) => ({ ...each, model: id })));
  for (const element of elements) if (!found.has(element.key)) found.set(element.key, element);
  for (const [key, first] of found) {
    const same = elements.filter((each) => each.key === key);
    const variants = [...new Set(same.map(({ unit }) => unit))].map((unit) => ({
      ...first,
      unit,
      templates: same.filter((each) => each.unit === unit).map(({ model }) => model),
    }));
    const units = variants.map(({ unit }) => unit || "no unit").join(" or ");
    if (variants.length > 1) found.set(key, { ...first, unit: "", units, variants });
  }
  return found;
}

export function spanText(seconds) {
  const [size, unit] = UNITS.find(([size]) => seconds >= size && seconds % size === 0) ?? [1, "second"];
  return counted(seconds / size, unit);
}

export function conditionText(condition, elements) {
  const lasting = condition.seconds ? ` for ${spanText(condition.seconds)}` : "";
  switch (condition.kind) {
    case "telemetry": {
      const { title, unit, units } = telemetryOf(condition, elements);
      const limit = withUnit(String(condition.limit), unit) + asSent(units);
      return `${title} ${condition.above ? "above" : "below"} ${limit}${lasting}`;
    }
    case "silence":
      return `Not heard from${lasting}`;
    case "property": {
      const element = propertyOf(condition, elements);
      const values = condition.values.map((value) => valueText(value, element)).join(" or ");
      return `${element.title} is ${condition.negated ? "not " : ""}${values}${lasting}`;
    }
    default:
      return `${counted(condition.count, "reading")} or more missing${lasting}`;
  }
}

// What was found when the alert was made: the reading, the property or the number of readings.
export function foundText({ condition, value }, elements) {
  if (value === null) return "";
  if (condition.kind === "telemetry") {
    const { title, unit, units } = telemetryOf(condition, elements);
    return `${title} was ${withUnit(number(value, "double"), unit)}${asSent(units)}.`;
  }
  if (condition.kind === "property") {
    const element = propertyOf(condition, elements);
    return `${element.title} was ${valueText(value, element)}.`;
  }
  return `${counted(value, "reading")} missing.`;
}

const asSent = (units) => (units ? ` (${units}, as the device sends it)` : "");

function telemetryOf({ telemetry, templates }, elements) {
  const found = elements.telemetry.get(telemetry);
  const variant = found?.variants?.find((each) => each.templates.includes(templates?.[0]));
  if (variant) return variant;
  return elements.telemetry.get(telemetry) ?? { title: telemetry, unit: "" };
}

function propertyOf({ property }, elements) {
  return elements.properties.get(property) ?? { title: property };
}
