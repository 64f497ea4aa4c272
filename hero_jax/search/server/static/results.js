// What was found: films with their time lines, and the moments by rank.

import { bar, data, element, marked, percent, thumbnail, times } from "./elements.js";
import { timeline } from "./timeline.js";

const OF_BEST = "How good the moment is beside the best one of this search";
const OF_FILM = "How much of what the film shows of the query is in this moment";
const PICTURES = 3;

export class Results {
  // actions: play(film, second, rank), similar(moment), caption(moment) or null.
  constructor(place, actions) {
    this.place = place;
    this.actions = actions;
    this.clear();
  }

  clear() {
    this.moments = [];
    this.films = new Map();
    this.lines = new Map();
    this.place.replaceChildren();
  }

  show(reply, query) {
    this.clear();
    this.moments = reply.moments.map((moment, n) => ({ ...moment, rank: n + 1 }));
    const values = reply.films.flatMap((found) => found.curve.filter((value) => value !== null));
    const scale = [Math.min(...values), Math.max(...values)];
    this.place.replaceChildren(...reply.films.map((found) => this.section(found, scale, query)));
  }

  section(found, scale, query) {
    const { film } = found;
    const moments = this.moments.filter((one) => one.video_id === film.video_id);
    this.films.set(film.video_id, film);
    const line = timeline(found, moments, scale, {
      moment: (rank) => this.play(rank),
      second: (which, second) => this.actions.play(which, second, null),
    });
    this.lines.set(film.video_id, line);
    const told = [`${moments.length} moment${moments.length === 1 ? "" : "s"}`, film.day].filter(Boolean);
    return element(
      "section",
      { className: "film" },
      element("h2", {}, data(film.video_id)),
      element("p", { className: "quiet" }, told.join(", ")),
      line.node,
      element("ol", {}, ...moments.map((one) => this.moment(film, one, query))),
    );
  }

  moment(film, one, query) {
    const scores = element(
      "span",
      { className: "scores" },
      element("span", { title: OF_BEST }, "of the best"),
      bar(one.of_best),
      element("span", {}, percent(one.of_best)),
      element("span", { title: OF_FILM }, "of the film"),
      bar(one.of_film),
      element("span", {}, percent(one.of_film)),
    );
    const seconds = [...Array(PICTURES).keys()].map(
      (n) => one.start + ((n + 0.5) * (one.end - one.start)) / PICTURES,
    );
    const frames = film.pictures
      ? element(
          "span",
          { className: "frames" },
          ...seconds.map((second) => thumbnail(film, second, { loading: "lazy" })),
        )
      : "";
    const play = element(
      "button",
      { type: "button", className: "play", onclick: () => this.play(one.rank) },
      element("span", { className: "rank" }, String(one.rank)),
      element("span", { className: "when" }, times(one.start, one.end)),
      scores,
      frames,
    );
    const more = element(
      "div",
      { className: "more" },
      element("button", { type: "button", onclick: () => this.actions.similar(one) }, "More like this"),
      this.actions.caption
        ? element("button", { type: "button", onclick: () => this.actions.caption(one) }, "Describe")
        : "",
    );
    const said = one.lines.map((line) =>
      element(
        "li",
        {},
        element("span", { className: "quiet" }, times(line.start, line.end)),
        marked(line.text, query),
      ),
    );
    return element(
      "li",
      { className: "moment", id: `moment-${one.rank}` },
      play,
      said.length ? element("ul", { className: "said" }, ...said) : "",
      more,
    );
  }

  play(rank, isPlayed = true) {
    const one = this.moments[rank - 1];
    if (!one) return;
    for (const other of this.place.querySelectorAll("[aria-current]")) other.removeAttribute("aria-current");
    this.item(rank).setAttribute("aria-current", "true");
    this.place.querySelector(`.box[data-rank="${rank}"]`).setAttribute("aria-current", "true");
    this.actions.play(this.films.get(one.video_id), one.start, rank, isPlayed);
  }

  item(rank) {
    return this.place.querySelector(`#moment-${rank}`);
  }

  // Moves the focus to the next moment in the order of the page, or to the one before.
  move(by) {
    const buttons = [...this.place.querySelectorAll(".moment .play")];
    if (!buttons.length) return;
    const at = buttons.findIndex((one) => one.closest(".moment").contains(document.activeElement));
    const next = at < 0 ? (by > 0 ? 0 : buttons.length - 1) : at + by;
    buttons[Math.min(Math.max(next, 0), buttons.length - 1)].focus();
  }

  time(film, second) {
    for (const [name, line] of this.lines) line.show(film?.video_id === name ? second : null);
  }
}
