// Requests to central. IoT Central's paths are under /api, those of the page under /console/api.

const TIMEOUT = 70_000; // Milliseconds. A command may take 30 s to connect and 30 s to answer.

export class ApiError extends Error {
  constructor(message, status, code = "") {
    super(message);
    this.status = status;
    this.code = code;
  }
}

export async function call(method, path, body, headers = {}, signal = null) {
  const response = await send(method, path, body, headers, signal);
  try {
    return response.status === 204 ? null : await response.json();
  } catch {
    throw new ApiError("Central does not respond.", 0);
  }
}

// Calls `heard(value)` for each line of JSON in the response, as it arrives.
export async function callLines(method, path, body, heard) {
  const response = await send(method, path, body, {});
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (let part = await reader.read(); !part.done; part = await reader.read()) {
      const lines = (rest + part.value).split("\n");
      rest = lines.pop();
      for (const line of lines) heard(JSON.parse(line));
    }
  } catch {
    throw new ApiError("Central does not respond. The rest of the results is not known.", 0);
  }
}

// Returns a response that is not a refusal, or throws an ApiError.
async function send(method, path, body, headers, signal = null) {
  const signals = [AbortSignal.timeout(TIMEOUT), signal].filter(Boolean);
  const options = { method, headers, signal: AbortSignal.any(signals) };
  if (body !== undefined) {
    options.body = JSON.stringify(body);
    options.headers = { "Content-Type": "application/json", ...headers };
  }
  let response, answer;
  try {
    response = await fetch(path, options);
    if (response.ok) return response;
    answer = await response.json();
  } catch {
    throw new ApiError("Central does not respond.", 0);
  }
  const { code, message = `Central responded with status ${response.status}.` } = answer?.error ?? {};
  // The sign-in has expired.
  if (code === "Unauthorized") location.replace(`/sign-in.html${location.hash}`);
  throw new ApiError(message, response.status, code);
}

export const get = (path, signal = null) => call("GET", path, undefined, {}, signal);

export const devicePath = (id, ...rest) => ["/api/devices", id, ...rest].map(part).join("/");
export const pagePath = (id, ...rest) => ["/console/api/devices", id, ...rest].map(part).join("/");

function part(text, index) {
  return index === 0 ? text : encodeURIComponent(text);
}

// A function that runs `work` soon: once for many calls, and never twice at the same time.
export function soon(work, gap = 250) {
  let timer = null;
  let running = false;
  let again = false;
  const run = async () => {
    timer = null;
    running = true;
    again = false;
    try {
      await work();
    } finally {
      running = false;
      if (again) timer = setTimeout(run, gap);
    }
  };
  return () => {
    if (running) again = true;
    else timer ??= setTimeout(run, gap);
  };
}
