// What a message says, in the terms of the device's model.

export const LATE = 5000; // Milliseconds between taking and receiving; the same as in central.

// Returns the `values` by key (`component*name` in a component), the `rest` that the model does not
// have, or the `text` of a message that is not a JSON object.
export function readMessage(message, model) {
  const body = parse(message.body);
  if (body === null || typeof body !== "object" || Array.isArray(body))
    return { values: new Map(), rest: null, text: message.body };
  const { component } = message.system;
  const prefix = component ? `${component}*` : "";
  const fields = Object.entries(body);
  const modelled = new Set(model?.telemetry.map((each) => each.key));
  const rest = fields.filter(([name]) => !modelled.has(prefix + name));
  return {
    values: new Map(fields.map(([name, value]) => [prefix + name, value])),
    rest: rest.length ? Object.fromEntries(rest) : null,
    text: null,
  };
}

function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

// Returns those messages, newest first, that arrived after a response was written, which must not
// remove them.
export function newerThan(messages, answer) {
  const newest = answer[0]?.number ?? 0;
  return messages.filter((message) => message.number > newest);
}
