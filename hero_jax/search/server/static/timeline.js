// The time line of a film: how each frame scores as a curve, the moments as boxes, previews.

import { clock, element, thumbnail, times } from "./elements.js";

const SVG = "http://www.w3.org/2000/svg";
const HEIGHT = 100;
// Height of a lane of moments in rem, and the least share of the track that a moment takes.
const LANE = 1.375;
const LEAST = 0.05;

// The curve as a path over 1000 by 100; low and high are the ends of the scale.
function curve(found, length, [low, high]) {
  const path = document.createElementNS(SVG, "path");
  const range = Math.max(high - low, 1e-6);
  let line = "";
  let pen = "M";
  found.curve.forEach((value, n) => {
    if (value === null) {
      pen = "M";
      return;
    }
    const second = found.film.start + (n + 0.5) * found.step;
    const [x, y] = [(1000 * second) / length, HEIGHT * (1 - (0.05 + (0.9 * (value - low)) / range))];
    line += `${pen}${x.toFixed(1)} ${y.toFixed(1)}`;
    pen = "L";
  });
  path.setAttribute("d", line);
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", `0 0 1000 ${HEIGHT}`);
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", "How well each frame fits");
  svg.append(path);
  return svg;
}

// Lays moments out: the better ones below, and none over another.
function laid(moments, length) {
  const least = LEAST * length;
  const lanes = [];
  const places = new Map();
  for (const one of moments) {
    const [start, end] = [Math.min(one.start, length - least), Math.max(one.end, one.start + least)];
    let lane = lanes.findIndex((taken) => taken.every(([from, to]) => end <= from || start >= to));
    if (lane < 0) lane = lanes.push([]) - 1;
    lanes[lane].push([start, end]);
    places.set(one, lane);
  }
  return { count: lanes.length, of: (one) => places.get(one) };
}

// moments: of the film, each with its rank; play: takes a second, or a moment's rank.
export function timeline(found, moments, scale, play) {
  const { film } = found;
  const length = Math.max(film.duration, ...moments.map((one) => one.end), 1e-6);
  const share = (second) => `${(100 * second) / length}%`;
  const track = element("div", { className: "track" }, curve(found, length, scale));
  const lanes = laid(moments, length);
  track.style.height = `${2.75 + LANE * lanes.count}rem`;
  for (const one of moments) {
    const box = element(
      "button",
      {
        type: "button",
        className: "box",
        tabIndex: -1,
        "data-rank": one.rank,
        "aria-label": `Moment ${one.rank}, ${times(one.start, one.end)}`,
        onclick: (event) => {
          event.stopPropagation();
          play.moment(one.rank);
        },
      },
      String(one.rank),
    );
    box.style.bottom = `${0.125 + LANE * lanes.of(one)}rem`;
    box.style.left = `min(${share(one.start)}, 100% - 1.5rem)`;
    box.style.width = share(one.end - one.start);
    track.append(box);
  }
  const head = element("span", { className: "head", hidden: true });
  track.append(head);
  const second = (event) => {
    const { left, width } = track.getBoundingClientRect();
    return Math.min(Math.max((event.clientX - left) / width, 0), 1) * length;
  };
  track.addEventListener("click", (event) => play.second(film, second(event)));
  addPreview(track, film, length, second);
  const ends = element("p", { className: "ends" }, element("span", {}, clock(0)), element("span", {}, clock(length)));
  return {
    node: element("div", {}, track, ends),
    // Shows where the film is, null where it is not played.
    show(now) {
      head.hidden = now === null;
      if (now !== null) head.style.left = share(Math.min(now, length));
    },
  };
}

function addPreview(track, film, length, second) {
  let preview = null;
  let shown = -1;
  const away = () => {
    preview?.remove();
    preview = null;
    shown = -1;
  };
  track.addEventListener("pointermove", (event) => {
    if (event.pointerType === "touch") return;
    const now = second(event);
    if (!preview) {
      preview = element("div", { className: "preview", "aria-hidden": "true" });
      track.append(preview);
    }
    preview.style.left = `clamp(5rem, ${(100 * now) / length}%, 100% - 5rem)`;
    // A picture for a second is enough: they are seconds apart.
    if (Math.floor(now) === shown) return;
    shown = Math.floor(now);
    const picture = film.pictures ? thumbnail(film, now) : "";
    preview.replaceChildren(picture, element("span", {}, clock(now)));
  });
  track.addEventListener("pointerleave", away);
}
