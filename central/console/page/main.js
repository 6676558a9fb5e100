// What is shown, by the page's address: #/ devices, #/devices/ID/TAB one device, #/templates the
// templates. After a question mark it says more: which devices (see devices.js), or what the charts
// show (see range.js).

import { showAccess } from "./access.js";
import { DevicePage } from "./device.js";
import { DevicesPage } from "./devices.js";
import { faultsBanner } from "./faults.js";
import { TemplatesPage } from "./templates.js";

const main = document.getElementById("main");
let page = null;

async function go() {
  const [place, id] = here().parts;
  mark(place === "templates" ? "#/templates" : "#/");
  if (place === "devices" && id) {
    if (page?.id !== id) {
      show(new DevicePage(id));
      const opened = page;
      await opened.open();
      if (page !== opened) return;
    }
    const { parts, query } = here();
    page.show(parts[2] ?? "", query);
  } else {
    show(place === "templates" ? new TemplatesPage() : new DevicesPage(here().query));
    await page.open();
  }
}

function here() {
  const [path, query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  return { parts: path.split("/").map(decode), query };
}

// Marks the current page in the bar at the top.
function mark(here) {
  for (const link of document.querySelectorAll(".bar nav a")) {
    if (link.hash === here) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
}

function show(next) {
  page?.close();
  main.replaceChildren(next.element);
  document.querySelector("dialog")?.close();
  if (page) {
    scrollTo(0, 0);
    main.focus({ preventScroll: true }); // A screen reader continues with the new content.
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
  event.preventDefault(); // The hash names a page, not a place on it.
  main.focus();
});
main.before(faultsBanner());
addEventListener("hashchange", go);
await showAccess(document.querySelector(".bar"));
go();
