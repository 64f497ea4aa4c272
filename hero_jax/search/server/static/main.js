// The page: what is asked for is in the address, so that a link shows the same.

import * as adding from "./adding.js";
import { get, post } from "./api.js";
import { address, element } from "./elements.js";
import { Player } from "./player.js";
import { Results } from "./results.js";
import * as tasks from "./tasks.js";

const TABS = { search: "Search", answer: "Question", judge: "Statement", caption: "Caption", add: "Add films" };
const FIELDS = ["q", "said", "film", "folder", "since", "until"];
const byId = (id) => document.getElementById(id);
const form = byId("search");
const shown = byId("results");

let about = { tasks: [], folders: [], adds: false };
let running = null;

const player = new Player(byId("player"), (film, second) => results.time(film, second));
const results = new Results(shown, {
  play(film, second, rank, isPlayed = true) {
    player.open(film, second, isPlayed);
    for (const kind of ["answer", "judge", "caption"]) byId(kind).elements.film.value = film.video_id;
    if (rank) remember("moment", rank);
  },
  similar(moment) {
    const like = { like: moment.clip_id, start: moment.start, end: moment.end };
    go({ ...Object.fromEntries(filterFields()), ...like });
  },
  caption: null,
});

function tell(sentence, isError = false) {
  const status = byId("status");
  status.textContent = sentence;
  status.classList.toggle("error", isError);
}

// Tabs

function select(name) {
  for (const kind of Object.keys(TABS)) {
    byId(`panel-${kind}`).hidden = kind !== name;
    const tab = byId(`tab-${kind}`);
    tab?.setAttribute("aria-selected", String(kind === name));
    if (tab) tab.tabIndex = kind === name ? 0 : -1;
  }
  results.clear();
  tell("");
  remember("tab", name === "search" ? "" : name);
  if (name === "search") search();
}

function makeTabs() {
  const names = ["search", ...about.tasks, ...(about.adds ? ["add"] : [])];
  const tabs = names.map((name) =>
    element(
      "button",
      {
        type: "button",
        role: "tab",
        id: `tab-${name}`,
        "aria-controls": `panel-${name}`,
        "aria-selected": "false",
        onclick: () => select(name),
      },
      TABS[name],
    ),
  );
  const list = byId("tabs");
  list.replaceChildren(...tabs);
  list.hidden = names.length === 1;
  list.addEventListener("keydown", (event) => {
    const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!by) return;
    event.stopPropagation();
    const next = tabs[(tabs.indexOf(document.activeElement) + by + tabs.length) % tabs.length];
    next.focus();
    next.click();
  });
}

// The address

function parameters() {
  return new URLSearchParams(location.search);
}

// Changes a part of the address that makes no new entry in the history.
function remember(name, value) {
  const now = parameters();
  if (value) now.set(name, value);
  else now.delete(name);
  history.replaceState(null, "", now.size ? `?${now}` : location.pathname);
}

function filterFields() {
  return ["film", "folder", "since", "until"].map((name) => [name, form.elements[name].value]);
}

function go(fields) {
  const given = Object.entries(fields).filter(([name, value]) => value && !(name === "said" && Number(value) === 0));
  history.pushState(null, "", `?${new URLSearchParams(given)}`);
  search();
}

// Shows the address in the form.
function fill() {
  const now = parameters();
  for (const name of FIELDS) form.elements[name].value = now.get(name) ?? (name === "said" ? "0" : "");
  const count = filterFields().filter(([, value]) => value).length;
  byId("filtered").textContent = count ? ` (${count})` : "";
}

// Searching

async function search() {
  fill();
  const now = parameters();
  running?.abort();
  running = new AbortController();
  const query = now.get("q") ?? "";
  document.title = query ? `${query} – Search of videos` : "Search of videos";
  if (!query.trim() && !now.get("like")) {
    results.clear();
    tell("");
    return;
  }
  const filters = {
    videos: now.get("film") ? [now.get("film")] : [],
    folder: now.get("folder") ?? "",
    since: now.get("since") || null,
    until: now.get("until") || null,
  };
  const like = { clip_id: now.get("like"), start: Number(now.get("start")), end: Number(now.get("end")) };
  tell("Searching …");
  try {
    const reply = like.clip_id
      ? await post("api/similar", { ...like, filters }, running.signal)
      : await post("api/search", { query, said: Number(now.get("said") ?? 0), filters }, running.signal);
    results.show(reply, query);
    const [moments, films] = [reply.moments.length, reply.films.length];
    tell(moments ? `${moments} moment${moments === 1 ? "" : "s"} in ${films} film${films === 1 ? "" : "s"}` : "Nothing was found.");
    if (Number(now.get("moment"))) results.play(Number(now.get("moment")), false);
  } catch (error) {
    if (error.name === "AbortError") return;
    results.clear();
    tell(error.message, true);
  }
}

function submit() {
  go(Object.fromEntries(FIELDS.map((name) => [name, form.elements[name].value])));
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  submit();
});
// A slider or filter that is moved searches again for the same.
for (const name of FIELDS.slice(1)) {
  form.elements[name].addEventListener("change", () => form.elements.q.value.trim() && submit());
}
form.addEventListener("reset", (event) => {
  event.preventDefault();
  for (const [name] of filterFields()) form.elements[name].value = "";
  if (form.elements.q.value.trim()) submit();
  else fill();
});
addEventListener("popstate", search);

// Names of films, as they are typed

async function suggest(event) {
  const { films } = await get(address("api/films", { containing: event.target.value, limit: 20 }));
  byId("film-names").replaceChildren(...films.map((film) => element("option", { value: film.video_id })));
}
for (const input of document.querySelectorAll('input[name="film"]')) {
  input.addEventListener("input", suggest);
  input.addEventListener("focus", suggest);
}

// Keys

const KEYS = {
  "/": () => byId("query").focus(),
  ArrowDown: () => results.move(1),
  ArrowUp: () => results.move(-1),
  ArrowLeft: () => player.by(-5),
  ArrowRight: () => player.by(5),
  j: () => player.by(-10),
  l: () => player.by(10),
  k: () => player.toggle(),
  " ": () => player.toggle(),
  Escape: () => player.close(),
};
const OF_PLAYER = new Set(["ArrowLeft", "ArrowRight", "j", "k", "l", " ", "Escape"]);

addEventListener("keydown", (event) => {
  const { target, key } = event;
  if (!KEYS[key] || event.ctrlKey || event.metaKey || event.altKey) return;
  const isFromQuery = target.id === "query" && key === "ArrowDown";
  if (target.closest("input, textarea, select") && !isFromQuery) return;
  // A film's own controls and other buttons have keys of their own.
  if (target.closest("video") && !"jkl/".includes(key)) return;
  if (key === " " && target.closest("button, a, summary") && !target.closest(".play")) return;
  if (OF_PLAYER.has(key) && !player.isOpen) return;
  event.preventDefault();
  KEYS[key]();
});

// Beginning

async function filmOf(name) {
  const { films } = await get(address("api/films", { containing: name, limit: 1000 }));
  return films.find((film) => film.video_id === name);
}

async function begin() {
  about = await get("api/about");
  byId("about").textContent = `${about.films} films, ${about.clips} clips`;
  form.elements.folder.append(...about.folders.map((name) => element("option", { value: name }, name)));
  if (about.tasks.includes("caption")) {
    results.actions.caption = (moment) => {
      const now = byId("caption").elements;
      select("caption");
      [now.film.value, now.start.value, now.end.value] = [moment.video_id, moment.start, moment.end];
      byId("caption").requestSubmit();
    };
  }
  tasks.connect(tell, (...nodes) => shown.replaceChildren(...nodes), async (name, second) => {
    const film = await filmOf(name);
    if (film) player.open(film, second, true);
  });
  adding.connect((...nodes) => shown.replaceChildren(...nodes), async () => {
    const now = await get("api/about");
    byId("about").textContent = `${now.films} films, ${now.clips} clips`;
  });
  makeTabs();
  const name = parameters().get("tab");
  select(name && byId(`tab-${name}`) ? name : "search");
}

begin().catch((error) => tell(error.message, true));
