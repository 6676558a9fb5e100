// Who uses the page, and what they may do. Central decides; the page only leaves out the rest.

import { call, get } from "./api.js";
import { button, h } from "./dom.js";

const PATH = "/console/api/session";

// Opens the page for signing in if a user must sign in first. Returns the session.
export async function readSession() {
  const session = await get(PATH);
  if (session.required && !session.user) {
    openSignIn();
    await new Promise(() => {}); // The rest of this page needs a user.
  }
  return session;
}

export function openSignIn() {
  location.replace(`/sign-in.html${location.hash}`);
}

// Shows what the user may do (see data-needs in console.css), and the button for signing out.
export async function showAccess(bar) {
  let session;
  try {
    session = await readSession();
  } catch {
    session = { required: false, may: ["view", "operate", "administer"] }; // Central refuses the rest.
  }
  const { required, user, role, may } = session;
  // Without users, whoever has central's token may read keys; the page asks for it.
  document.documentElement.dataset.may = (required ? may : [...may, "keys"]).join(" ");
  if (user) bar.append(accountMenu(user, role));
}

export function may(permission) {
  return document.documentElement.dataset.may.split(" ").includes(permission);
}

function accountMenu(user, role) {
  const leave = button("Sign out", () => call("DELETE", PATH).finally(openSignIn));
  const choices = h("div", { class: "choices" }, h("p", { class: "muted" }, `Role: ${role}`), leave);
  const name = [h("span", {}, user), h("small", { class: "muted role" }, role)];
  return h("details", { class: "menu account" }, h("summary", {}, name), choices);
}
