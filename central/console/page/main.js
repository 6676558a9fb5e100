// The page's address decides what is shown: #/ all devices, #/devices/ID/TAB one of them.

import { DevicePage } from "./device.js";
import { DevicesPage } from "./devices.js";

const main = document.getElementById("main");
let page = null;

async function go() {
  const [place, id, tab] = location.hash.replace(/^#\/?/, "").split("/").map(decode);
  if (place === "devices" && id) {
    if (page?.id !== id) {
      show(new DevicePage(id));
      const opened = page;
      await opened.open();
      if (page !== opened) return;
    }
    page.show(decode(location.hash.split("/")[3] ?? tab ?? ""));
  } else {
    show(new DevicesPage());
    await page.open();
  }
}

function show(next) {
  page?.close();
  main.replaceChildren(next.element);
  document.querySelector("dialog")?.close();
  if (page) {
    scrollTo(0, 0);
    main.focus({ preventScroll: true }); // A screen reader goes on with what is new.
  }
  page = next;
}

function decode(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault(); // The address names a page here, not a place on it.
  main.focus();
});
addEventListener("hashchange", go);
go();
