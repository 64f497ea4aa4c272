// Films that are added from the page: uploads, and paths in the folder of films.

import { post, upload } from "./api.js";
import { address, data, element } from "./elements.js";

function outcome(fields) {
  if (fields.error) return fields.error;
  const counts = ["added", "replaced", "renamed", "unchanged"].map((name) => `${fields[name]} ${name}`);
  return [counts.join(", "), ...fields.notes].join("; ");
}

// Shows the progress of what is added, and returns when it has ended.
function follow(number, state, meter) {
  return new Promise((resolve) => {
    const events = new EventSource(address("api/events", { number }));
    events.addEventListener("progress", (event) => {
      const told = JSON.parse(event.data);
      meter.value = told.share;
      state.textContent = told.state;
    });
    events.addEventListener("end", (event) => {
      events.close();
      meter.value = 1;
      state.textContent = outcome(JSON.parse(event.data));
      resolve();
    });
  });
}

// show: shows elements; done: is called when films were added.
export function connect(show, done) {
  const list = element("ol", { className: "outcome", "aria-label": "Additions" });

  async function add(name, path, file) {
    const state = element("span", { role: "status" }, file ? "uploading" : "waits");
    const meter = element("progress", { max: 1, value: 0, "aria-label": `Progress of ${name}` });
    list.append(element("li", {}, data(name), meter, state));
    show(list);
    try {
      if (file) await upload(address("api/upload", { name: file.name }), file);
      if (path === null) {
        meter.value = 1;
        state.textContent = "uploaded";
        return;
      }
      const { number } = await post("api/add", { path });
      await follow(number, state, meter);
      done();
    } catch (error) {
      state.textContent = error.message;
      state.className = "error";
    }
  }

  document.getElementById("upload").addEventListener("submit", async (event) => {
    event.preventDefault();
    const files = [...event.target.elements.files.files];
    const isFilm = (file) => /^(video|$)/.test(file.type.split("/")[0]) && !/\.(srt|vtt|ass|ssa|sub|sbv)$/i.test(file.name);
    // Subtitles come first, so that a film is added with its own.
    for (const file of files.filter((one) => !isFilm(one))) await add(file.name, null, file);
    for (const file of files.filter(isFilm)) await add(file.name, file.name, file);
  });
  document.getElementById("add").addEventListener("submit", (event) => {
    event.preventDefault();
    const path = event.target.elements.path.value.trim();
    add(path || "all films", path, null);
  });
}
