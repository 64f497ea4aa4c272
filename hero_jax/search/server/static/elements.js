// Elements of the page, made of text alone: nothing that a film or a person wrote is read as HTML.

export function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name in made && name !== "list") made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null && child !== ""));
  return made;
}

// Text in its own direction.
export function data(text) {
  return element("bdi", {}, text || "(no name)");
}

export function clock(seconds) {
  const whole = Math.max(Math.floor(seconds), 0);
  const two = (number) => String(number).padStart(2, "0");
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60];
  return hours ? `${hours}:${two(minutes)}:${two(whole % 60)}` : `${minutes}:${two(whole % 60)}`;
}

export function times(start, end) {
  return `${clock(start)} – ${clock(end)}`;
}

export function percent(share) {
  const value = 100 * share;
  return value >= 1 || value === 0 ? `${Math.round(value)}%` : "under 1%";
}

export function bar(share) {
  const inside = element("span");
  inside.style.width = `${100 * Math.min(Math.max(share, 0), 1)}%`;
  return element("span", { className: "bar", "aria-hidden": "true" }, inside);
}

export function address(route, parameters) {
  return `${route}?${new URLSearchParams(parameters)}`;
}

export function thumbnail(film, second, properties = {}) {
  const source = address("thumbnail", { id: film.video_id, second: Math.max(second, 0).toFixed(2) });
  const image = element("img", { src: source, alt: "", ...properties });
  image.addEventListener("error", () => (image.hidden = true));
  return image;
}

const COMMON = new Set("a an and at in is it of on or the to with".split(" "));

function stem(word) {
  const lower = word.toLowerCase();
  return lower.length > 4 ? lower.replace(/(ing|ed|es|s)$/u, "") : lower;
}

// The text with those words marked that a query has too.
export function marked(text, query) {
  const words = (query.match(/[\p{L}\p{N}]+/gu) || []).map((word) => word.toLowerCase());
  const wanted = new Set(words.filter((word) => !COMMON.has(word)).map(stem));
  const parts = text.split(/([\p{L}\p{N}]+)/u);
  const made = parts.map((part, n) => (n % 2 && wanted.has(stem(part)) ? element("mark", {}, part) : part));
  return element("bdi", {}, ...made);
}
