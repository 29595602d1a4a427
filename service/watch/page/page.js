// Renews the parts of the page in place. Without this script the browser reloads the page.
"use strict";

const every = 5000;
const fresh = document.getElementById("fresh");
const stale = document.createElement("strong");
stale.className = "warn";
stale.setAttribute("role", "status");
stale.hidden = true;
fresh.append(" ", stale);

async function renew() {
  if (document.hidden) return;
  try {
    const reply = await fetch(location.pathname, { cache: "no-store", signal: AbortSignal.timeout(every) });
    if (!reply.ok) throw new Error("status " + reply.status);
    const page = new DOMParser().parseFromString(await reply.text(), "text/html");
    const parts = document.querySelectorAll("[data-live]");
    if (parts.length !== page.querySelectorAll("[data-live]").length) return location.reload(); // deletions were turned on or off
    for (const part of parts) {
      const now = page.getElementById(part.id);
      part.hidden = now.hidden;
      if (part.innerHTML !== now.innerHTML) part.innerHTML = now.innerHTML;
    }
    stale.hidden = true;
  } catch {
    stale.textContent = "no answer since then";
    stale.hidden = false;
  }
}

setInterval(renew, every);
document.addEventListener("visibilitychange", renew);
