"use strict";
/* Draws /openapi.json. Every text goes in as text, never as markup. */

const METHODS = ["post", "get", "put", "patch", "delete"];
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

/* The little of Markdown that the description uses: paragraphs and `code`. */
function inline(text) {
  return text.split("`").map((part, index) => (index % 2 ? element("code", {}, part) : part));
}

function prose(text) {
  return (text || "").trim().split(/\n\n+/).map((paragraph) => element("p", {}, ...inline(paragraph)));
}

function json(value) {
  return element("pre", {}, typeof value === "string" ? value : JSON.stringify(value, null, 2));
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
  return schema.const !== undefined ? JSON.stringify(schema.const) : schema.type || "any";
}

function bounds(schema) {
  const known = ["minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems", "pattern", "default"];
  const option = (schema.anyOf || []).find((each) => each.type !== "null") || {};
  const merged = { ...option, ...schema };
  const shown = known.filter((key) => merged[key] !== undefined && merged[key] !== null);
  const values = (resolved(schema).enum || []).join(", ");
  return [...shown.map((key) => `${key} ${merged[key]}`), values].filter(Boolean).join("; ");
}

function row(name, schema, meaning, required) {
  return element("tr", {},
    element("td", {}, element("code", {}, name), required ? "" : element("span", { class: "quiet" }, " optional")),
    element("td", {}, typeName(schema)),
    element("td", {}, ...(meaning ? [...inline(meaning), element("br")] : []), element("span", { class: "quiet" }, bounds(schema))));
}

function table(headings, rows) {
  return element("table", {},
    element("thead", {}, element("tr", {}, ...headings.map((heading) => element("th", {}, heading)))),
    element("tbody", {}, ...rows));
}

function fields(schema) {
  const required = schema.required || [];
  const rows = Object.entries(schema.properties || {}).map(([name, property]) =>
    row(name, property, property.description, required.includes(name)));
  return rows.length ? table(["Field", "Type", "Meaning"], rows) : json(schema);
}

function examplesOf(content) {
  const named = Object.entries(content.examples || {}).map(([name, example]) => [name, example.value]);
  return content.example === undefined ? named : [["example", content.example], ...named];
}

function response(status, answer) {
  const headers = Object.keys(answer.headers || {});
  const parts = Object.entries(answer.content || {}).flatMap(([mediaType, content]) => [
    element("p", {}, element("code", {}, mediaType), ` ${typeName(content.schema)}`),
    ...examplesOf(content).flatMap(([name, value]) => [element("p", { class: "quiet" }, name), json(value)]),
  ]);
  return element("details", {},
    element("summary", {}, element("strong", {}, status), ` ${answer.description}`),
    headers.length ? element("p", { class: "quiet" }, `Headers: ${headers.join(", ")}`) : null,
    ...parts);
}

function trial(method, path, parameters, body) {
  const inputs = parameters.map((parameter) => [parameter, element("input", { class: "mono", name: parameter.name })]);
  const text = body ? element("textarea", { rows: "8", spellcheck: "false" }) : null;
  if (text) text.value = JSON.stringify((examplesOf(body)[0] || ["", {}])[1], null, 2);
  const output = element("output");
  const send = async (event) => {
    event.preventDefault();
    const headers = text ? { "Content-Type": "application/json" } : {};
    const token = document.getElementById("token").value.trim();
    if (token) headers.Authorization = `Bearer ${token}`;
    const query = new URLSearchParams();
    let target = path;
    for (const [parameter, input] of inputs) {
      if (parameter.in === "path") target = target.replace(`{${parameter.name}}`, encodeURIComponent(input.value));
      else if (input.value && parameter.in === "query") query.set(parameter.name, input.value);
      else if (input.value) headers[parameter.name] = input.value;
    }
    const url = query.size ? `${target}?${query}` : target;
    try {
      const answer = await fetch(url, { method: method.toUpperCase(), headers, body: text ? text.value : undefined });
      const lines = [...answer.headers].map(([name, value]) => `${name}: ${value}`).join("\n");
      output.replaceChildren(json(`${answer.status} ${answer.statusText}\n${lines}\n\n${pretty(await answer.text())}`));
    } catch (error) {
      output.replaceChildren(json(String(error)));
    }
  };
  return element("details", {},
    element("summary", {}, "Try it"),
    element("form", { onsubmit: send },
      ...inputs.map(([parameter, input]) => element("label", {}, parameter.name, input)),
      text ? element("label", {}, "Body", text) : null,
      element("button", {}, "Send"), output));
}

function pretty(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

function operation(path, method, described, shared) {
  const parameters = [...shared, ...(described.parameters || [])];
  const body = described.requestBody && described.requestBody.content["application/json"];
  const schemas = body ? (body.schema.oneOf || [body.schema]).map(resolved) : [];
  return element("section", { id: described.operationId },
    element("h2", {}, element("span", { class: "method" }, method.toUpperCase()), element("code", {}, path)),
    element("p", {}, element("strong", {}, described.summary)),
    ...prose(described.description),
    parameters.length ? element("h3", {}, "Parameters") : null,
    parameters.length
      ? table(["Name", "Type", "Meaning"], parameters.map((each) => row(each.name, each.schema, `${each.description} (${each.in})`, each.required)))
      : null,
    ...schemas.flatMap((schema) => [element("h3", {}, schema.title), ...prose(schema.description), fields(schema)]),
    ...(body ? examplesOf(body).flatMap(([name, value]) => [element("p", { class: "quiet" }, `Example: ${name}`), json(value)]) : []),
    element("h3", {}, "Answers"),
    ...Object.entries(described.responses).map(([status, answer]) => response(status, answer)),
    trial(method, path, parameters, body));
}

function operations() {
  return Object.entries(description.paths).flatMap(([path, item]) =>
    METHODS.filter((method) => item[method]).map((method) => ({
      path, method, described: item[method], shared: item.parameters || [],
    })));
}

function draw() {
  document.title = description.info.title;
  const all = operations();
  const groups = description.tags.map((tag) => [tag, all.filter((each) => each.described.tags.includes(tag.name))]);
  document.getElementById("contents").append(
    element("strong", {}, description.info.title),
    ...groups.flatMap(([tag, members]) => [
      element("h2", {}, tag.name),
      ...members.map((each) => element("a", { href: `#${each.described.operationId}` }, each.described.summary)),
    ]),
    element("h2", {}, "Schemas"),
    ...Object.keys(description.components.schemas).map((name) => element("a", { href: `#schema-${name}` }, name)));
  document.getElementById("reference").append(
    element("h1", {}, description.info.title),
    ...prose(description.info.description),
    element("p", {}, element("a", { href: "/openapi.json" }, "/openapi.json"), ` (OpenAPI ${description.openapi})`),
    element("p", {}, element("label", {}, "Access token, for what is tried below ",
      element("input", { class: "mono", id: "token", autocomplete: "off" }))),
    ...groups.flatMap(([, members]) =>
      members.map((each) => operation(each.path, each.method, each.described, each.shared))),
    ...Object.entries(description.components.schemas).map(([name, schema]) =>
      element("section", { id: `schema-${name}` }, element("h2", {}, name), ...prose(schema.description),
        schema.enum ? json(schema.enum.join("\n")) : fields(schema))));
}

fetch("/openapi.json")
  .then((answer) => answer.json())
  .then((found) => {
    description = found;
    draw();
  })
  .catch((error) => document.getElementById("reference").append(json(`The description could not be read: ${error}`)));
