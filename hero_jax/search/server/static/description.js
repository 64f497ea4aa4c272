// The description of the API for people, made of openapi.json.

import { get } from "./api.js";
import { element } from "./elements.js";

// A schema in a few words; ids of schemas are links to them.
function words(schema = {}) {
  if (schema.$ref) {
    const name = schema.$ref.split("/").pop();
    return [element("a", { href: `#${name}` }, name)];
  }
  if (schema.anyOf) return schema.anyOf.flatMap((one, n) => [n ? " or " : "", ...words(one)]);
  if (schema.type === "array") return ["list of ", ...(schema.items ? words(schema.items) : ["anything"])];
  const limits = ["minimum", "maximum", "minLength", "maxLength", "format"]
    .filter((name) => name in schema)
    .map((name) => `${name} ${schema[name]}`);
  return [[schema.type ?? "anything", ...limits].join(", ")];
}

function row(name, schema, isRequired) {
  const rest = "default" in schema && !isRequired ? `; default ${JSON.stringify(schema.default)}` : "";
  return element("li", {}, element("code", {}, name), " ", ...words(schema), isRequired ? "; required" : rest);
}

function route(path, method, operation) {
  const body = Object.entries(operation.requestBody?.content ?? {});
  const replies = Object.entries(operation.responses).map(([status, reply]) => {
    const contents = Object.entries(reply.content ?? {});
    const kinds = contents.flatMap(([kind, { schema }]) => [", ", kind, " ", ...(schema?.$ref ? words(schema) : [])]);
    return element("li", {}, `${status} ${reply.description}`, ...kinds);
  });
  return element(
    "section",
    { className: "film" },
    element("h2", {}, `${method.toUpperCase()} ${path}`),
    element("p", {}, operation.summary),
    element("ul", {}, ...(operation.parameters ?? []).map((one) => row(one.name, one.schema, one.required))),
    ...body.map(([kind, { schema }]) => element("p", {}, `takes ${kind} `, ...(schema ? words(schema) : []))),
    element("ul", { className: "quiet" }, ...replies),
  );
}

function type(name, schema) {
  const fields = Object.entries(schema.properties ?? {});
  return element(
    "section",
    { className: "film", id: name },
    element("h2", {}, name),
    element("p", { className: "outline" }, schema.description ?? ""),
    element("ul", {}, ...fields.map(([field, of]) => row(field, of, schema.required?.includes(field)))),
  );
}

const { paths, components } = await get("openapi.json");
const routes = Object.entries(paths).flatMap(([path, operations]) =>
  Object.entries(operations).map(([method, operation]) => route(path, method, operation)),
);
const types = Object.entries(components.schemas).map(([name, schema]) => type(name, schema));
document.getElementById("routes").append(...routes, ...types);
