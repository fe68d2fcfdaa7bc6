// Replaces what is live on the page by what the server renders anew. Without this script the page reloads itself.
"use strict";

const seconds = Number(document.body.dataset.refreshSeconds);
const parts = ["live", "answer"];

async function renew() {
  const response = await fetch(location.href, {
    headers: { Accept: "text/html" },
    cache: "no-store",
    signal: AbortSignal.timeout(Math.max(seconds, 5) * 1000),
  });
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  const found = parts.map((id) => page.getElementById(id));
  if (found.includes(null)) throw new Error(`no page in the answer ${response.status}`);
  parts.forEach((id, index) => document.getElementById(id).replaceChildren(...found[index].childNodes));
  document.title = page.title;
}

async function renewAgainAndAgain() {
  for (;;) {
    await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
    if (document.hidden) continue;
    try {
      await renew();
      document.body.classList.remove("offline");
    } catch {
      document.body.classList.add("offline");
    }
  }
}

renewAgainAndAgain();
