"use strict";
/* Draws /openapi.json: each operation's text, and beside it the request as a command that follows what is
   typed into its form. Every text goes in as text, never as markup. */

const METHODS = ["post", "get", "put", "patch", "delete"];
const FORM = "application/x-www-form-urlencoded";
const STREAM = "text/event-stream";
const KEY = "Idempotency-Key";
const UNKNOWN = "…";
const FORMATS = { "date-time": "2026-01-31T09:30:00Z", date: "2026-01-31" };
const MOST_SHOWN = 200_000;
const WIDE = matchMedia("(min-width: 50rem)");
const token = entry({ "aria-describedby": "tokens" });
let description;

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key === "class") made.className = value;
    else if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else made.setAttribute(key, value);
  }
  made.append(...children.filter((child) => child !== null));
  return made;
}

function entry(further = {}) {
  return element("input", { class: "mono", autocomplete: "off", spellcheck: "false", ...further });
}

/* The little of Markdown that the description uses: paragraphs and `code`. */
function inline(text) {
  return text.split("`").map((part, index) => (index % 2 ? element("code", {}, part) : part));
}

function quiet(...text) {
  return element("span", { class: "quiet" }, ...text);
}

function prose(text) {
  return (text || "").trim().split(/\n\n+/).map((paragraph) => element("p", {}, ...inline(paragraph)));
}

function resolved(part) {
  if (!part || !part.$ref) return part;
  return part.$ref.slice(2).split("/").reduce((found, key) => found[key], description);
}

function typeName(schema) {
  if (schema.$ref) return schema.$ref.split("/").pop();
  const options = schema.anyOf || schema.oneOf;
  if (options) return options.map(typeName).join(" or ");
  if (schema.type === "array") return `list of ${typeName(schema.items)}`;
  return schema.const !== undefined ? JSON.stringify(schema.const) : [schema.type || "any"].flat().join(" or ");
}

function bounds(schema) {
  const known = ["minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems", "pattern", "default"];
  const option = (schema.anyOf || []).find((each) => each.type !== "null") || {};
  const merged = { ...option, ...schema };
  const shown = known.filter((key) => merged[key] !== undefined && merged[key] !== null);
  const values = (resolved(schema).enum || []).join(", ");
  return [...shown.map((key) => `${key} ${merged[key]}`), values].filter(Boolean).join("; ");
}

function term(name, schema, meaning, notes) {
  const bound = bounds(schema);
  return [
    element("dt", {}, element("code", {}, name), " ", quiet([typeName(schema), ...notes].join(", "))),
    element("dd", {}, ...(meaning ? inline(meaning) : []), bound ? element("span", { class: "quiet bounds" }, bound) : null),
  ];
}

function members(schema) {
  const required = schema.required || [];
  const terms = Object.entries(schema.properties || {}).flatMap(([name, property]) =>
    term(name, property, property.description, required.includes(name) ? [] : ["optional"]));
  return terms.length ? element("dl", {}, ...terms) : json(schema.enum ? schema.enum.join("\n") : schema);
}

function examplesOf(content) {
  const named = Object.entries(content.examples || {}).map(([name, example]) => [name, example.value]);
  return content.example === undefined ? named : [["example", content.example], ...named];
}

function bodyOf(described) {
  const contents = described.requestBody ? described.requestBody.content : {};
  return { json: contents["application/json"], form: contents["application/json"] ? undefined : contents[FORM] };
}

/* What fields of these names are, in the examples of these operations. */
function words(all) {
  const found = {};
  const gather = (value) => {
    for (const [name, each] of Object.entries(value)) {
      if (each && typeof each === "object") gather(each);
      else if (isNaN(name)) found[name] ??= each;
    }
  };
  for (const { described } of all) {
    for (const parameter of described.parameters) {
      if (parameter.schema.examples) gather({ [parameter.name]: parameter.schema.examples[0] });
    }
    for (const [, value] of examplesOf(bodyOf(described).json || {})) gather(value);
  }
  return found;
}

/* A value of this shape: with known words where there are any, else as its type says. */
function sample(schema, known, name) {
  const { const: only, examples, enum: values, anyOf, oneOf, type, format, properties, items, required } = resolved(schema);
  if (only !== undefined) return only;
  if (examples || values) return (examples || values)[0];
  const options = anyOf || oneOf;
  if (options) {
    const found = sample(options.find((each) => each.type !== "null"), known, name);
    return found === UNKNOWN && options.some((each) => each.type === "null") ? null : found;
  }
  const kind = [type].flat().find((each) => each !== "null");
  if (kind === "object") {
    return Object.fromEntries((required || []).map((each) => [each, sample(properties?.[each] || {}, known, each)]));
  }
  if (kind === "array") return [sample(items || {}, known, name)];
  const usual = { integer: 1, number: 1, boolean: true, string: FORMATS[format] || UNKNOWN }[kind];
  const fits = known[name] !== undefined && (!kind || typeof known[name] === typeof usual);
  return fits ? known[name] : usual ?? UNKNOWN;
}

function json(value) {
  const text = typeof value === "string" ? value : JSON.stringify(value, null, 2);
  const pre = element("pre");
  let end = 0;
  for (const found of text.matchAll(/("(?:[^"\\\n]|\\.)*")(\s*:)?|\b(?:true|false|null)\b|-?\b\d[\d.eE+-]*\b/g)) {
    const kind = found[2] ? "key" : found[1] ? "text" : "value";
    const piece = found[1] || found[0];
    pre.append(text.slice(end, found.index), element("span", { class: `json-${kind}` }, piece));
    end = found.index + piece.length;
  }
  pre.append(text.slice(end));
  return pre;
}

function pretty(text) {
  try { return JSON.stringify(JSON.parse(text), null, 2); } catch { return text; }
}

function newKey() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

function field(name, place, schema, required, known) {
  const value = name === KEY ? newKey() : required ? String(sample(schema, known, name)) : "";
  const input = entry();
  input.value = value;
  return { name, place, input, instead: value };
}

/* Half of a surrogate pair, which no encoding of a request takes, as browsers send it in a body. */
function sendable(text) {
  return text.replace(/\p{Surrogate}/gu, "\ufffd");
}

/* What stands in the form: what is sent, and what the command says. */
function request(asked) {
  const headers = {}, query = new URLSearchParams(), form = new URLSearchParams();
  let path = asked.path;
  for (const { name, place, input, instead } of asked.inputs) {
    const value = sendable(input.value);
    if (place === "path") path = path.replace(`{${name}}`, encodeURIComponent(value || instead));
    else if (value && place === "header") headers[name] = value;
    else if (value) (place === "form" ? form : query).append(name, value);
  }
  if (asked.text) headers["Content-Type"] = "application/json";
  const url = location.origin + path + (query.size ? `?${query}` : "");
  const text = asked.text ? sendable(asked.text.value) : undefined;
  return { method: asked.method.toUpperCase(), url, headers, form, text };
}

function quoted(text) {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

function command(asked) {
  const { method, url, headers, form, text } = request(asked);
  const streams = STREAM in (asked.described.responses["200"]?.content || {});
  return [
    `curl ${streams ? "-iN" : "-i"}${method === "GET" ? "" : ` -X ${method}`} ${quoted(url)}`,
    ...(asked.needsToken || token.value.trim() ? ['-H "Authorization: Bearer $TOKEN"'] : []),
    ...Object.entries(headers).map(([name, value]) => `-H ${quoted(`${name}: ${value}`)}`),
    ...[...form].map(([name, value]) => `--data-urlencode ${quoted(`${name}=${value}`)}`),
    ...(text === undefined ? [] : [`--data-raw ${quoted(text)}`]),
  ].join(" \\\n  ");
}

async function copy(pre, told) {
  try {
    await navigator.clipboard.writeText(pre.textContent);
    told.textContent = "Copied";
  } catch { /* not of a secure origin, or not allowed */
    getSelection().selectAllChildren(pre);
    told.textContent = "Selected: press Ctrl+C or ⌘C";
  }
}

async function show(answer, output) {
  const lines = [...answer.headers].map(([name, value]) => `${name}: ${value}`).join("\n");
  const head = `${answer.status} ${answer.statusText}\n${lines}\n\n`;
  const pre = element("pre", {}, head);
  output.replaceChildren(pre);
  let text = "";
  const reader = answer.body?.pipeThrough(new TextDecoderStream()).getReader();
  for (let part = await reader?.read(); part && !part.done; part = await reader.read()) {
    text = (text + part.value).slice(-MOST_SHOWN);
    pre.textContent = head + text;
  }
  output.replaceChildren(json(head + pretty(text)));
}

function sender(asked, button, output) {
  let running = null;
  return async (event) => {
    event.preventDefault();
    if (running) return running.abort();
    running = new AbortController();
    button.textContent = "Stop";
    const { method, url, headers, form, text } = request(asked);
    const body = text ?? (form.size ? form : undefined);
    if (token.value.trim()) headers.Authorization = `Bearer ${token.value.trim()}`;
    try {
      await show(await fetch(url, { method, headers, body, signal: running.signal }), output);
    } catch (error) {
      if (error.name !== "AbortError") output.replaceChildren(json(String(error)));
    }
    running = null;
    button.textContent = "Send";
  };
}

function figure(caption, content, ...tools) {
  return element("figure", {}, element("figcaption", {}, element("span", {}, caption), ...tools), content);
}

/* The request as a command, the form that it follows, and an answer. */
function beside(asked) {
  const { described } = asked;
  const body = bodyOf(described);
  const known = { ...asked.words, ...words([asked]) };
  const examples = body.json ? examplesOf(body.json) : [];
  if (body.json && !examples.length) examples.push(["made up", sample(body.json.schema, known)]);
  const form = body.form ? resolved(body.form.schema) : {};
  asked.inputs = [
    ...described.parameters.map((each) => field(each.name, each.in, each.schema, each.required, known)),
    ...Object.entries(form.properties || {}).map(([name, each]) =>
      field(name, "form", each, (form.required || []).includes(name), known)),
  ];
  asked.text = body.json ? element("textarea", { rows: "8", spellcheck: "false", class: "mono" }) : null;
  const pre = element("pre", { class: "command" });
  const told = element("span", { role: "status", class: "quiet" });
  const button = element("button", { type: "button", class: "copy", onclick: () => copy(pre, told) }, "Copy");
  asked.draw = () => {
    pre.textContent = command(asked);
    told.textContent = "";
  };
  const choose = (index) => {
    if (asked.text) asked.text.value = JSON.stringify(examples[index][1], null, 2);
    asked.draw();
  };
  choose(0);
  const choice = examples.length < 2 ? null : element("select", { "aria-label": "Example", onchange: ({ target }) => {
    choose(target.selectedIndex);
    renew(asked);
  } }, ...examples.map(([name]) => element("option", {}, name)));
  return element("div", { class: "beside", role: "group", "aria-label": `Request: ${described.summary}` },
    figure("Request", pre, told, choice, button),
    trial(asked),
    answerOf(described, known));
}

/* Another content needs another key, unless the reader chose one. */
function renew(asked, changed) {
  const key = asked.inputs.find((each) => each.name === KEY);
  if (key && changed !== key.input && key.input.value === key.instead) key.input.value = key.instead = newKey();
  asked.draw();
}

function trial(asked) {
  const button = element("button", {}, "Send");
  const output = element("output");
  return element("details", {},
    element("summary", {}, "Try it"),
    element("form", { onsubmit: sender(asked, button, output), oninput: ({ target }) => renew(asked, target) },
      ...asked.inputs.map(({ name, input }) => element("label", {}, name, input)),
      asked.text ? element("label", {}, "Body", asked.text) : null,
      button, output));
}

function answerOf(described, known) {
  const [status, answer] = Object.entries(described.responses).find(([each]) => each < "400");
  const [mediaType, content] = Object.entries(answer.content)[0] || ["", {}];
  const [given] = examplesOf(content);
  const shown = given ? given[1] : content.schema ? sample(content.schema, known) : UNKNOWN;
  const caption = `Answer ${status} ${mediaType}`.trim();
  const says = shown !== UNKNOWN && Object.keys(shown).length;
  if (!says) return figure(caption, element("p", {}, ...inline(answer.description)));
  return figure(caption, json(shown), given ? null : quiet("made up from its schema"));
}

function response(status, answer) {
  const headers = Object.keys(answer.headers || {});
  const parts = Object.entries(answer.content || {}).flatMap(([mediaType, content]) => [
    element("p", {}, element("code", {}, mediaType), ` ${typeName(content.schema)}`),
    ...examplesOf(content).flatMap(([name, value]) => [element("p", { class: "quiet" }, name), json(value)]),
  ]);
  return element("details", {},
    element("summary", {}, element("strong", { class: `status s${status[0]}` }, status), ` ${answer.description}`),
    headers.length ? element("p", { class: "quiet" }, `Headers: ${headers.join(", ")}`) : null,
    ...parts);
}

function operation(asked) {
  const { method, path, described } = asked;
  const { json: body, form } = bodyOf(described);
  const content = body || form;
  const schemas = content ? (content.schema.oneOf || [content.schema]).map(resolved) : [];
  return element("section", { id: described.operationId, class: "operation" },
    element("h3", {}, verb(method), " ", element("code", {}, path)),
    element("div", { class: "text" },
      element("p", {}, element("strong", {}, described.summary)),
      ...prose(described.description),
      asked.needsToken ? element("p", { class: "quiet" }, "Needs a token.") : null,
      element("h4", {}, "Parameters"),
      element("dl", {}, ...described.parameters.flatMap((each) =>
        term(each.name, each.schema, each.description, each.required ? [each.in] : [each.in, "optional"]))),
      ...schemas.flatMap((schema) => [element("h4", {}, schema.title), ...prose(schema.description), members(schema)]),
      element("h4", {}, "Answers"),
      ...Object.entries(described.responses).map(([status, answer]) => response(status, answer))),
    beside(asked));
}

function operations() {
  return Object.entries(description.paths).flatMap(([path, item]) =>
    METHODS.filter((method) => item[method]).map((method) => {
      const described = item[method];
      const needsToken = Boolean(described.security) && !described.security.some((each) => !Object.keys(each).length);
      return { path, method, described, needsToken };
    }));
}

function verb(method) {
  return element("span", { class: `method ${method}` }, method.toUpperCase());
}

function contents(groups, schemas) {
  const list = document.getElementById("contents");
  list.append(
    ...groups.flatMap(([tag, group]) => [
      element("p", { class: "group" }, tag.name),
      ...group.map(({ method, described }) =>
        element("a", { href: `#${described.operationId}` }, verb(method), described.summary)),
    ]),
    element("p", { class: "group" }, "Schemas"),
    ...schemas.map(([name]) => element("a", { href: `#schema-${name}` }, name)));
  list.hidden = false;
  const fit = () => list.toggleAttribute("open", WIDE.matches);
  WIDE.addEventListener("change", fit);
  fit();
}

function tokenField() {
  const { description: meaning } = description.components.securitySchemes.bearer;
  return element("div", { class: "token" },
    element("label", {}, "Access token", token),
    element("span", { id: "tokens", class: "quiet" },
      ...inline(`${meaning} It goes with what is tried here; commands have it as \`$TOKEN\`.`)));
}

function draw() {
  const all = operations();
  const schemas = Object.entries(description.components.schemas);
  const groups = description.tags.map((tag) => [tag, all.filter((each) => each.described.tags.includes(tag.name))]);
  contents(groups, schemas);
  const everywhere = words(all);
  delete everywhere.id; /* of what, differs */
  for (const [, group] of groups) {
    const known = { ...everywhere, ...words(group) };
    for (const each of group) each.words = known;
  }
  token.addEventListener("input", () => all.forEach((each) => each.draw()));
  document.getElementById("reference").append(
    element("div", { class: "about" },
      ...prose(description.info.description),
      element("p", {}, element("a", { href: "/openapi.json" }, "/openapi.json"), ` (OpenAPI ${description.openapi})`),
      tokenField()),
    ...groups.flatMap(([tag, group]) => [
      element("h2", {}, tag.name), element("p", {}, ...inline(tag.description)), ...group.map(operation),
    ]),
    element("h2", {}, "schemas"),
    ...schemas.map(([name, schema]) =>
      element("section", { id: `schema-${name}` }, element("h3", {}, name), ...prose(schema.description), members(schema))));
  if (location.hash) document.getElementById(location.hash.slice(1))?.scrollIntoView();
}

fetch("/openapi.json")
  .then((answer) => answer.json())
  .then((found) => {
    description = found;
    draw();
  })
  .catch((error) => document.getElementById("reference").append(json(`The description could not be read: ${error}`)));
