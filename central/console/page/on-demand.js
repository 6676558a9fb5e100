// Parts of the page that are loaded when they are first used. Most visits need the devices and their
// charts only.

import { button, card, h, openDialog } from "./dom.js";

const FAILED =
  "This part of the page could not be loaded: central does not respond, or it was upgraded meanwhile. Try again, or reload the page.";

// Returns the module that `load` imports. Throws an error for the user if that fails.
export async function loaded(load) {
  try {
    return await load();
  } catch {
    throw new Error(FAILED);
  }
}

// A function that calls the one of this name in a module. If it cannot be loaded, a dialog says so.
export function onDemand(load, name) {
  let loading = false; // A second click meanwhile opens nothing more.
  return async (...given) => {
    if (loading) return;
    loading = true;
    const found = await loaded(load).catch((error) => error);
    loading = false;
    if (found instanceof Error)
      openDialog("Not loaded", () => h("p", { class: "dialog-body" }, found.message));
    else await found[name](...given);
  };
}

// What is shown in the place of a part that could not be loaded.
export function notLoaded(error, again) {
  const words = h("p", { role: "alert" }, error.message);
  return card("Not loaded", words, h("div", { class: "actions" }, button("Try again", again)));
}

// The tab of a device that the function of this name in a module creates.
export function tabOnDemand(load, name, store) {
  const element = h("div");
  let closed = false;
  const fill = async () => {
    const found = await loaded(load).catch((error) => error);
    if (closed) return; // Another tab was opened meanwhile.
    element.replaceChildren(found instanceof Error ? notLoaded(found, fill) : found[name](store));
  };
  fill();
  return { element, close: () => (closed = true) };
}
