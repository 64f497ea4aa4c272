// Requests to the server; an error has the server's sentence.

async function reply(response) {
  let content;
  try {
    content = await response.json();
  } catch {
    throw new Error(`The server replied ${response.status}.`);
  }
  if (!response.ok) throw new Error(content.error);
  return content;
}

export async function get(route) {
  return reply(await fetch(route));
}

export async function post(route, fields, signal) {
  return reply(
    await fetch(route, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(fields),
      signal,
    }),
  );
}

export async function upload(route, file) {
  const headers = { "Content-Type": "application/octet-stream" };
  return reply(await fetch(route, { method: "POST", headers, body: file }));
}
