// Signing in. Afterwards the page opens at the place in the address.

import { call, get } from "./api.js";

const PATH = "/console/api/session";
const form = document.getElementById("form");
const user = document.getElementById("user");
const password = document.getElementById("password");
const result = document.getElementById("result");
const submit = form.querySelector("button");

function show(kind, text) {
  result.dataset.kind = kind;
  result.textContent = text;
}

const open = () => location.replace(`/${location.hash}`);

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  if (!user.value.trim() || !password.value) {
    show("bad", "Enter your name and your password.");
    (user.value.trim() ? password : user).focus();
    return;
  }
  submit.disabled = true;
  show("busy", "Signing in…");
  try {
    await call("POST", PATH, { user: user.value.trim(), password: password.value });
    open();
  } catch (error) {
    show("bad", error.message);
    password.value = "";
    password.focus();
  }
  submit.disabled = false;
});

user.focus();
try {
  const session = await get(PATH);
  document.getElementById("trust").hidden = !session.authority;
  if (!session.required || session.user) open();
} catch (error) {
  show("bad", error.message);
}
