// The player: of the film, or of its pictures where the film is not there or not playable.

import { address, clock, data, element, thumbnail } from "./elements.js";

// Seconds between two pictures that are shown.
const STEP = 0.5;

// Shows pictures at the speed of the film; it has what a video element has, as far as it is used.
class Pictures {
  constructor(film) {
    this.film = film;
    this.second = 0;
    this.timer = null;
    this.image = element("img", { alt: `Picture of ${film.video_id}` });
    this.button = element("button", { type: "button", onclick: () => this.toggle() }, "Play");
    this.range = element("input", {
      type: "range",
      min: 0,
      max: film.duration,
      step: STEP,
      "aria-label": "Second of the film",
      oninput: () => (this.currentTime = Number(this.range.value)),
    });
    this.clock = element("span", { className: "quiet" });
    const bars = element("div", { className: "bars" }, this.button, this.range, this.clock);
    const note = film.pictures ? "" : element("p", { className: "quiet" }, "There are no pictures of this film.");
    this.node = element("div", {}, film.pictures ? this.image : "", note, bars);
    this.ontime = () => {};
  }

  get currentTime() {
    return this.second;
  }

  set currentTime(second) {
    this.second = Math.min(Math.max(second, 0), this.film.duration);
    if (this.film.pictures) {
      const { src } = thumbnail(this.film, this.second);
      if (this.image.src !== src) this.image.src = src;
    }
    this.range.value = this.second;
    this.clock.textContent = `${clock(this.second)} of ${clock(this.film.duration)}`;
    this.ontime();
  }

  get paused() {
    return this.timer === null;
  }

  play() {
    if (!this.paused) return;
    this.button.textContent = "Pause";
    this.timer = setInterval(() => {
      this.currentTime += STEP;
      if (this.currentTime >= this.film.duration) this.pause();
    }, 1000 * STEP);
  }

  pause() {
    clearInterval(this.timer);
    this.timer = null;
    this.button.textContent = "Play";
  }

  toggle() {
    if (this.paused) this.play();
    else this.pause();
  }
}

export class Player {
  // ontime: takes the film and its second whenever that changes, and null when it is closed.
  constructor(place, ontime) {
    this.place = place;
    this.ontime = ontime;
    this.film = null;
    this.media = null;
  }

  // Opens a film at a second, and plays it if that is wanted.
  open(film, second, isPlayed) {
    if (this.film?.video_id !== film.video_id) this.load(film, film.plays);
    this.seek(second);
    if (isPlayed) this.start();
  }

  load(film, plays, note = "") {
    this.media?.pause();
    this.film = film;
    const close = element("button", { type: "button", onclick: () => this.close() }, "Close");
    const title = element("h2", {}, data(film.video_id));
    const bars = element("div", { className: "bars" }, title, close);
    if (plays) this.media = this.video(film);
    else {
      const pictures = new Pictures(film);
      pictures.ontime = () => this.tell(pictures);
      this.media = pictures;
    }
    this.place.replaceChildren(this.media.node || this.media, note ? element("p", {}, note) : "", bars);
    this.place.hidden = false;
  }

  video(film) {
    const track = element("track", {
      kind: "captions",
      label: "Subtitles",
      src: address("subtitles", { id: film.video_id }),
      default: true,
    });
    const video = element("video", { controls: true, playsInline: true, preload: "auto" }, track);
    video.src = address("film", { id: film.video_id });
    video.addEventListener("timeupdate", () => this.tell(video));
    video.addEventListener("seeking", () => this.tell(video));
    video.addEventListener("error", () => {
      if (this.media !== video) return;
      const second = this.wanted;
      this.load(film, false, "This browser cannot play the film; these are its pictures.");
      this.seek(second);
    });
    return video;
  }

  get isOpen() {
    return this.film !== null;
  }

  seek(second) {
    this.wanted = second;
    this.media.currentTime = second;
  }

  by(seconds) {
    this.seek(Math.max(this.media.currentTime + seconds, 0));
  }

  start() {
    // A browser may not let a page play what nobody clicked on.
    Promise.resolve(this.media.play()).catch(() => {});
  }

  toggle() {
    if (this.media.paused) this.start();
    else this.media.pause();
  }

  tell(media) {
    // One that was closed may still have an event to tell.
    if (media && media === this.media) this.ontime(this.film, media.currentTime);
  }

  close() {
    this.media?.pause();
    this.film = this.media = null;
    this.place.replaceChildren();
    this.place.hidden = true;
    this.ontime(null, null);
  }
}
