// The shop: products, a basket, orders that are watched live. It asks nothing but this gateway's API.
"use strict";

const MOST_FOLLOWED = 4; // a browser opens six connections to a host
const MOST_REMEMBERED = 20;
const PAGE = 50;
const AGAIN_MILLISECONDS = 1_500;
const STATUSES = new Set(["scheduled", "accepted", "created", "rejected", "processing", "shipped", "delivered", "cancelled"]);
const ENDED = new Set(["rejected", "delivered", "cancelled"]);
const BEYOND_CANCELLING = new Set([...ENDED, "shipped"]);
const WORDS = {
  scheduled: "begins later",
  accepted: "on its way to us",
  created: "confirmed",
  rejected: "not possible",
  processing: "being prepared",
  shipped: "shipped",
  delivered: "delivered",
  cancelled: "cancelled",
  notified: "you were told",
  notification_declined: "you wanted no mail",
  insufficient_stock: "not enough of it left",
  unknown_sku: "not sold here",
  payment_declined: "the payment was declined",
};

const byId = (id) => document.getElementById(id);
const words = (name) => WORDS[name] ?? name.replaceAll("_", " ");
const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));
const products = new Map();
const cards = new Map();
const basket = new Map();
const orders = new Map();
const streams = new Map();
const session = { renewsAt: 0, endsAt: 0, renewal: null };
let me = null;
let cursor = null;

function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element[key] = value;
  element.append(...children);
  return element;
}

function say(text, isBad = false) {
  const news = byId("news");
  news.textContent = text;
  news.className = isBad ? "news bad" : "news";
  news.hidden = !text;
}

function money(amount, currency) {
  const format = new Intl.NumberFormat(undefined, { style: "currency", currency });
  return format.format(amount / 10 ** format.resolvedOptions().maximumFractionDigits);
}

// --- asking the gateway --------------------------------------------------------------------------------------

class Refusal extends Error {
  constructor(status, problem) {
    super(problem.errors?.map((fault) => `${fault.field} ${fault.message}`).join("; ") || problem.detail || problem.title);
    this.status = status;
    this.type = problem.type ?? "";
  }
}

class Silence extends Error {}

async function sent(method, path, options = {}) {
  try {
    const answer = await fetch(path, { method, signal: AbortSignal.timeout(15_000), ...options });
    return { answer, text: await answer.text() };
  } catch (error) {
    throw new Silence(error.message);
  }
}

const valueOf = (answer, text) => (text && (answer.headers.get("Content-Type") ?? "").includes("json") ? JSON.parse(text) : {});

async function ask(method, path, { body, headers = {}, renews = true } = {}) {
  if (renews && me && Date.now() > session.renewsAt) await renewed();
  const content = body === undefined ? {} : { "Content-Type": "application/json" };
  const { answer, text } = await sent(method, path, {
    headers: { ...content, ...headers },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  if (answer.status === 401 && renews && me) {
    session.endsAt = 0;
    await renewed();
    return ask(method, path, { body, headers, renews: false });
  }
  if (!answer.ok) throw new Refusal(answer.status, valueOf(answer, text));
  return valueOf(answer, text);
}

// Whether it is unknown what came of a request: then it is sent again under the same key.
const isUnclear = (error) => error instanceof Silence || error.status >= 500 || error.status === 429;

async function guarded(deed) {
  try {
    await deed();
  } catch (error) {
    if (!(error instanceof Refusal || error instanceof Silence)) throw error;
    say(error instanceof Refusal ? error.message : "The shop does not answer. Try again in a moment.", true);
  }
}

// --- who is there --------------------------------------------------------------------------------------------

// The cookie is renewed before it runs out: what is sent without it would be taken for a stranger's.
function renewed() {
  session.renewal ??= renew().finally(() => (session.renewal = null));
  return session.renewal;
}

async function renew() {
  const { answer, text } = await sent("POST", "/session/refresh");
  if (answer.ok) return began(valueOf(answer, text));
  if (answer.status === 401) {
    signedOut();
    throw new Refusal(401, { detail: "Your session has ended. Sign in again." });
  }
  if (Date.now() > session.endsAt) throw new Refusal(answer.status, valueOf(answer, text));
}

function began({ expires_in: seconds }) {
  session.renewsAt = Date.now() + seconds * 500;
  session.endsAt = Date.now() + seconds * 1_000;
}

async function recognise() {
  try {
    me = await ask("GET", "/users/me", { renews: false });
  } finally {
    showWho();
  }
}

function signedOut() {
  me = null;
  localStorage.removeItem("signed-in");
  forgetOrders();
  showWho();
}

function showWho() {
  byId("who").textContent = me ? me.username : "";
  byId("sign-out").hidden = !me;
  byId("door").hidden = Boolean(me);
  byId("email-of-order").hidden = Boolean(me);
  byId("told").hidden = true;
}

byId("is-new").addEventListener("change", ({ target }) => {
  byId("email-of-new").hidden = !target.checked;
  byId("sign-in").elements.email.required = target.checked;
  byId("sign-in").elements.password.autocomplete = target.checked ? "new-password" : "current-password";
  byId("sign-in").querySelector("button").textContent = target.checked ? "Make an account" : "Sign in";
});

byId("sign-in").addEventListener("submit", (event) => {
  event.preventDefault();
  const form = event.target;
  const { username, password, email } = Object.fromEntries(new FormData(form));
  guarded(async () => {
    if (byId("is-new").checked) await ask("POST", "/users", { body: { username, password, email } });
    began(await ask("POST", "/session", { body: { username, password } }));
    localStorage.setItem("signed-in", username);
    form.reset();
    byId("is-new").dispatchEvent(new Event("change"));
    forgetOrders();
    await recognise();
    say(`Welcome, ${me?.username ?? username}.`);
    await Promise.all([listOrders(), listPreferences()]);
  });
});

byId("sign-out").addEventListener("click", () =>
  guarded(async () => {
    await ask("DELETE", "/session", { renews: false });
    signedOut();
    [...basket.keys()].forEach((sku) => put(sku, 0));
    say("You are signed out.");
  }),
);

// Signed in or out on another page of this browser.
addEventListener("storage", ({ key }) => key === "signed-in" && location.reload());

// --- products and basket -------------------------------------------------------------------------------------

async function listProducts(isMore = false) {
  const after = isMore && cursor ? `&cursor=${encodeURIComponent(cursor)}` : "";
  const page = await ask("GET", `/products?limit=${PAGE}${after}`, { renews: false });
  if (!isMore) products.clear();
  for (const product of page.products) products.set(product.sku, product);
  cursor = page.next_cursor;
  byId("more").hidden = !cursor;
  const shown = [...products.values()].map(productCard);
  const list = byId("products");
  if (shown.length !== list.children.length || shown.some((card, place) => list.children[place] !== card)) list.replaceChildren(...shown);
  if (!products.size) byId("products").append(make("li", { className: "quiet" }, "Nothing is for sale yet. An operator can add some: orderctl sample"));
  showBasket();
}

// A card that is shown is kept, with what is typed into it and the focus.
function productCard(product) {
  const isSoldOut = product.stock === null || product.stock === 0;
  const left = product.stock === undefined ? "" : isSoldOut ? "sold out" : `${product.stock} left`;
  if (!cards.has(product.sku)) cards.set(product.sku, emptyCard(product.sku));
  const { card, name, about, price, quantity, button } = cards.get(product.sku);
  name.textContent = product.name;
  about.textContent = [product.category, left].filter(Boolean).join(" · ");
  price.textContent = money(product.unit_amount, product.currency);
  quantity.ariaLabel = `Pieces of ${product.name}`;
  button.ariaLabel = `Add ${product.name}`;
  button.disabled = isSoldOut;
  return card;
}

function emptyCard(sku) {
  const [name, about, price] = [make("b"), make("span", { className: "quiet" }), make("span", { className: "price" })];
  const quantity = make("input", { type: "number", min: 1, max: 10_000, value: 1 });
  const button = make("button", { className: "plain" }, "Add");
  const form = make("form", {}, quantity, button);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    put(sku, (basket.get(sku) ?? 0) + Number(quantity.value));
    say(`${products.get(sku).name} is in the basket.`);
  });
  return { card: make("li", { className: "card product" }, name, about, price, form), name, about, price, quantity, button };
}

byId("more").addEventListener("click", () => guarded(() => listProducts(true)));

function put(sku, qty) {
  if (qty > 0) basket.set(sku, qty);
  else basket.delete(sku);
  sessionStorage.setItem("basket", JSON.stringify([...basket]));
  showBasket();
}

function total() {
  const lines = [...basket].map(([sku, qty]) => [products.get(sku), qty]);
  const currencies = new Set(lines.map(([product]) => product?.currency));
  if (currencies.size !== 1 || currencies.has(undefined)) return null;
  return { currency: [...currencies][0], amount_total: lines.reduce((sum, [product, qty]) => sum + product.unit_amount * qty, 0) };
}

function showBasket() {
  const lines = [...basket].map(([sku, qty]) => {
    const product = products.get(sku);
    const remove = make("button", { type: "button", className: "plain", ariaLabel: `Remove ${product?.name ?? sku}` }, "Remove");
    remove.addEventListener("click", () => {
      put(sku, 0);
    });
    const price = product ? money(product.unit_amount * qty, product.currency) : "";
    return make("tr", {}, make("th", { scope: "row" }, `${qty} × ${product?.name ?? sku}`), make("td", {}, price), make("td", {}, remove));
  });
  const sum = total();
  byId("lines").replaceChildren(...lines);
  byId("sum").replaceChildren(
    ...(sum ? [make("tr", {}, make("th", { scope: "row" }, "In all"), make("td", {}, money(sum.amount_total, sum.currency)), make("td"))] : []),
  );
  byId("basket").hidden = !basket.size;
  byId("empty").hidden = Boolean(basket.size);
}

function newKey() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

// What is being ordered, and under which key, is kept until the answer is known: also over a reload.
byId("basket").addEventListener("submit", (event) => {
  event.preventDefault();
  const email = event.target.elements.email.value.trim();
  const items = [...basket].map(([sku, qty]) => ({ sku, qty }));
  const body = { items, ...(total() ?? {}), ...(email && !me ? { email } : {}) };
  guarded(async () => {
    const kept = pending();
    if (kept && JSON.stringify(kept.body) !== JSON.stringify(body)) await finishOrdering();
    sessionStorage.setItem(slot(), JSON.stringify({ key: pending()?.key ?? newKey(), body }));
    await finishOrdering();
  });
});

// A key is one account's: under another one it would order anew.
const whose = () => me?.username ?? "";
const slot = () => `ordering:${whose()}`;
const pending = () => JSON.parse(sessionStorage.getItem(slot()) ?? "null");

async function finishOrdering() {
  const kept = pending();
  if (!kept) return;
  const { key, body } = kept;
  const own = slot();
  byId("order").disabled = true;
  say("Ordering …");
  try {
    const order = await placed(key, body, whose());
    sessionStorage.removeItem(own);
    for (const { sku, qty } of body.items) put(sku, (basket.get(sku) ?? 0) - qty);
    remember(order.id);
    say("Thank you. Your order is below, and tells by itself how it goes.");
    show({ items: body.items, currency: body.currency, amount_total: body.amount_total, timeline: [], ...order });
    follow();
    listProducts().catch(() => {});
  } catch (error) {
    if (error.status === 401) throw new Refusal(401, { detail: "Sign in to order. The basket stays." }); // so does the key
    sessionStorage.removeItem(own);
    if (error.type?.endsWith("price-changed")) {
      await listProducts();
      throw new Refusal(error.status, { detail: "A price has changed. Look at the basket, and order again." });
    }
    throw error;
  } finally {
    byId("order").disabled = false;
  }
}

async function placed(key, body, orderer) {
  for (;;) {
    if (whose() !== orderer) throw new Refusal(401, { detail: "Sign in again to hear what became of your order." });
    try {
      return await ask("POST", "/orders", { body, headers: { "Idempotency-Key": key } });
    } catch (error) {
      if (!isUnclear(error)) throw error;
      say("The shop does not answer. It is asked again; you will not order twice.", true);
      await pause(AGAIN_MILLISECONDS);
    }
  }
}

// --- how to be told ------------------------------------------------------------------------------------------

const preferences = () => `/customers/${encodeURIComponent(me.id)}/preferences`;
let chosen = {};
let choosing = Promise.resolve();

async function listPreferences() {
  const asker = whose();
  if (me?.role !== "customer") return;
  const found = await ask("GET", preferences());
  if (whose() !== asker) return;
  chosen = found;
  showPreferences();
  byId("told").hidden = false;
}

function showPreferences() {
  for (const [channel, isOn] of Object.entries(chosen)) byId("told").elements[channel].checked = isOn;
}

// One choice after another, each as the boxes stand by then.
byId("told").addEventListener("change", ({ currentTarget: { elements } }) => {
  choosing = choosing.then(() =>
    guarded(async () => {
      try {
        chosen = await ask("PUT", preferences(), { body: { mail: elements.mail.checked, webhook: elements.webhook.checked } });
      } catch (error) {
        showPreferences();
        throw error;
      }
      const ways = [chosen.mail && "by mail", chosen.webhook && "by your webhooks"].filter(Boolean);
      say(ways.length ? `You will be told ${ways.join(" and ")}.` : "You will not be told. How your orders go is shown here.");
    }),
  );
});

// --- orders --------------------------------------------------------------------------------------------------

const remembered = () => JSON.parse(localStorage.getItem("orders") ?? "[]");

function remember(id) {
  if (!me) localStorage.setItem("orders", JSON.stringify([id, ...remembered()].slice(0, MOST_REMEMBERED)));
}

function forgetOrders() {
  for (const stream of streams.values()) stream.close();
  streams.clear();
  orders.clear();
  showOrders();
}

async function listOrders() {
  const asker = whose();
  if (me) {
    const page = await ask("GET", `/orders?limit=${MOST_REMEMBERED}&customer=${encodeURIComponent(me.id)}`);
    if (whose() !== asker) return;
    for (const order of page.orders) orders.set(order.id, { timeline: [], ...order });
  } else {
    const found = await Promise.allSettled(remembered().map((id) => ask("GET", `/orders/${encodeURIComponent(id)}`)));
    if (whose() !== asker) return;
    for (const { value } of found) if (value) orders.set(value.id, value);
  }
  showOrders();
  follow();
}

function show(order) {
  const known = orders.get(order.id);
  orders.delete(order.id);
  const rest = [...orders];
  orders.clear();
  orders.set(order.id, { ...known, ...order });
  for (const [id, other] of rest) orders.set(id, other);
  showOrders();
}

function showOrders() {
  byId("none").hidden = Boolean(orders.size);
  const shown = [...orders.values()].map((order) => {
    order.card ??= make("li", { className: "card order" });
    const told = JSON.stringify([order.status, order.reason, order.timeline]);
    if (order.card.dataset.told !== told) order.card.replaceChildren(...orderParts(order));
    order.card.dataset.told = told;
    return order.card;
  });
  const list = byId("orders");
  shown.forEach((card, place) => list.children[place] === card || list.insertBefore(card, list.children[place] ?? null));
  while (list.children.length > shown.length) list.lastChild.remove();
}

function orderParts(order) {
  const look = order.status === "rejected" ? "bad" : order.status === "delivered" ? "good" : "";
  const what = order.items.map((item) => `${item.qty} × ${item.name ?? products.get(item.sku)?.name ?? item.sku}`).join(", ");
  const cost = order.amount_total == null || !order.currency ? "" : money(order.amount_total, order.currency);
  const parts = [
    make("header", {}, make("span", { className: `state ${look}` }, words(order.status)), make("span", {}, what), make("span", { className: "price" }, cost), make("code", {}, order.id)),
  ];
  if (order.reason) parts.push(make("p", { className: "quiet" }, `${words(order.reason)}${order.sku ? `: ${products.get(order.sku)?.name ?? order.sku}` : ""}`));
  const steps = order.timeline.map((step) => make("li", {}, `${new Date(step.at).toLocaleTimeString()} ${words(step.step)}`));
  parts.push(make("ol", {}, ...steps));
  if (!BEYOND_CANCELLING.has(order.status)) {
    const button = make("button", { className: "grave", ariaLabel: `Cancel order ${order.id}` }, "Cancel");
    button.addEventListener("click", () => cancel(order.id, button));
    parts.push(button);
  }
  return parts;
}

function cancel(id, button) {
  button.disabled = true;
  guarded(async () => {
    try {
      const order = await ask("PATCH", `/orders/${encodeURIComponent(id)}/status`, { body: { status: "cancelled" } });
      Object.assign(orders.get(id) ?? {}, order);
      say("The order is cancelled.");
      listProducts().catch(() => {});
    } finally {
      button.disabled = false;
      showOrders();
    }
  });
}

// Follows the newest orders that have not come to their end.
function follow() {
  const open = [...orders.values()].filter((order) => !ENDED.has(order.status) && !streams.has(order.id));
  for (const order of open.slice(0, Math.max(MOST_FOLLOWED - streams.size, 0))) {
    const stream = new EventSource(`/orders/${encodeURIComponent(order.id)}/events`);
    streams.set(order.id, stream);
    stream.onmessage = ({ lastEventId, data }) => took(order.id, Number(lastEventId), JSON.parse(data));
    stream.addEventListener("end", () => left(order.id));
    stream.onerror = () => stream.readyState === EventSource.CLOSED && refused(order.id);
  }
}

function left(id) {
  streams.get(id)?.close();
  streams.delete(id);
  follow();
}

// A stream that the gateway does not give is asked for again after a while, spread over all who wait.
async function refused(id) {
  await pause(AGAIN_MILLISECONDS * (1 + 2 * Math.random()));
  try {
    const order = await ask("GET", `/orders/${encodeURIComponent(id)}`);
    if (orders.has(id)) Object.assign(orders.get(id), order);
  } catch (error) {
    if (error.status === 404) orders.delete(id);
  }
  showOrders();
  left(id);
}

function took(id, n, step) {
  const order = orders.get(id);
  if (!order) return;
  order.timeline = order.timeline.slice(0, n - 1).concat([step]);
  if (STATUSES.has(step.step)) order.status = step.step;
  if (ENDED.has(order.status)) {
    order.reason = step.step === order.status ? (step.reason ?? null) : order.reason;
    if (order.status === "rejected") listProducts().catch(() => {});
  }
  showOrders();
}

// Who is there, what there is, and what was being ordered: each as far as it can be known.
guarded(async () => {
  for (const [sku, qty] of JSON.parse(sessionStorage.getItem("basket") ?? "[]")) basket.set(sku, qty);
  const name = localStorage.getItem("signed-in");
  const faults = [];
  const tried = (deed) => deed().catch((error) => faults.push(error));
  if (name) {
    await tried(() => renewed().then(recognise));
    if (localStorage.getItem("signed-in")) me ??= { username: name }; // accounts are away: asked again before anything is sent
  }
  showWho();
  await Promise.all([tried(listProducts), tried(listOrders), tried(listPreferences)]);
  await tried(finishOrdering);
  if (faults.length) throw faults[0];
});
