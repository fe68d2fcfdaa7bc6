// Brings what is live on the page up to what the server renders anew, touching only what differs, so that scroll,
// focus and selection stay: soon after something happened, and every few seconds in any case. Without this script the
// page reloads itself, unless people write on it.
"use strict";

const seconds = Number(document.body.dataset.refreshSeconds);
const parts = ["live", "answer"].filter((id) => document.getElementById(id));
const LEAST_MILLISECONDS = 1_000;

function update(shown, told) {
  if (shown.isEqualNode(told)) return;
  if (shown.nodeName !== told.nodeName || shown.dataset?.key !== told.dataset?.key) return shown.replaceWith(told);
  if (shown.nodeType === Node.TEXT_NODE) return void (shown.data = told.data);
  const isGone = ({ name }) => !told.hasAttribute(name) && !(name === "open" && shown.nodeName === "DETAILS");
  for (const { name } of [...shown.attributes].filter(isGone)) shown.removeAttribute(name);
  for (const { name, value } of told.attributes) if (shown.getAttribute(name) !== value) shown.setAttribute(name, value);
  updateChildren(shown, [...shown.childNodes], [...told.childNodes]);
}

// What has a key that is told no more goes, with the blank behind it, so that its neighbours stay what they are.
function withoutGone(shown, told) {
  const keys = new Set(told.map((child) => child.dataset?.key));
  const isGone = (child) => child?.dataset?.key !== undefined && !keys.has(child.dataset.key);
  const goes = shown.map((child, index) => isGone(child) || (isGone(shown[index - 1]) && !child.textContent.trim()));
  shown.filter((_, index) => goes[index]).forEach((child) => child.remove());
  return shown.filter((_, index) => !goes[index]);
}

// Children that both have in common at either end stay; between them, one changes into the other.
function updateChildren(parent, before, told) {
  const shown = withoutGone(before, told);
  const shorter = Math.min(shown.length, told.length);
  let head = 0;
  while (head < shorter && shown[head].isEqualNode(told[head])) head += 1;
  let tail = 0;
  while (tail < shorter - head && shown.at(-1 - tail).isEqualNode(told.at(-1 - tail))) tail += 1;
  const rest = shown[shown.length - tail] ?? null;
  const old = shown.slice(head, shown.length - tail);
  const fresh = told.slice(head, told.length - tail);
  fresh.forEach((child, index) => (index < old.length ? update(old[index], child) : parent.insertBefore(child, rest)));
  old.slice(fresh.length).forEach((child) => child.remove());
}

async function renew() {
  const response = await fetch(location.href, {
    headers: { Accept: "text/html" },
    cache: "no-store",
    signal: AbortSignal.timeout(Math.max(seconds, 5) * 1000),
  });
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  const found = parts.map((id) => page.getElementById(id));
  if (found.includes(null)) throw new Error(`no page in the answer ${response.status}`);
  parts.forEach((id, index) => update(document.getElementById(id), found[index]));
  document.title = page.title;
}

let wake = () => {};
let hasNews = false;

function tell() {
  hasNews = true;
  wake();
}

// The stream comes back by itself, but for refusals, after which the clock alone renews the page.
function listen() {
  if (!("follows" in document.body.dataset)) return;
  const events = new EventSource("/events?steps=no");
  for (const name of ["activity", "reset", "system.degraded", "system.recovered"]) events.addEventListener(name, tell);
}

async function renewAgainAndAgain() {
  for (;;) {
    await new Promise((resolve) => setTimeout(resolve, LEAST_MILLISECONDS));
    if (!hasNews)
      await new Promise((resolve) => {
        wake = resolve;
        setTimeout(resolve, seconds * 1_000 - LEAST_MILLISECONDS);
      });
    if (document.hidden) continue;
    hasNews = false;
    try {
      await renew();
      document.body.classList.remove("offline");
    } catch {
      document.body.classList.add("offline");
    }
  }
}

listen();
renewAgainAndAgain();
