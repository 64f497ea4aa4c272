// Questions, statements and captions.

import { post } from "./api.js";
import { bar, data, element, percent, times } from "./elements.js";

function row(text, share, isBest) {
  return element("li", { className: isBest ? "best" : "" }, data(text), bar(share), element("span", {}, percent(share)));
}

// For each tab: what is sent of its form, and what is shown of the reply.
const KINDS = {
  answer: {
    fields: (form) => ({
      video_id: form.film.value,
      question: form.question.value,
      answers: form.answers.value.split("\n").map((line) => line.trim()).filter(Boolean),
    }),
    show: (reply, fields, play) => [
      element(
        "ol",
        { className: "outcome", "aria-label": "Answers" },
        ...fields.answers.map((text, n) => row(text, reply.probabilities[n], n === reply.best)),
      ),
      element(
        "button",
        { type: "button", onclick: () => play(reply.start) },
        `Play where it is shown, ${times(reply.start, reply.end)}`,
      ),
    ],
  },
  judge: {
    fields: (form) => ({ video_id: form.film.value, statement: form.statement.value }),
    show: (reply, fields) => [
      element(
        "ol",
        { className: "outcome", "aria-label": "Judgement" },
        row("it is true", reply.probability, reply.probability >= 0.5),
        row("it is not", 1 - reply.probability, reply.probability < 0.5),
      ),
    ],
  },
  caption: {
    fields: (form) => ({
      video_id: form.film.value,
      start: Number(form.start.value),
      end: Number(form.end.value),
    }),
    show: (reply, fields, play) => [
      element("p", { className: "outcome" }, data(reply.caption)),
      element("button", { type: "button", onclick: () => play(fields.start) }, "Play the moment"),
    ],
  },
};

// tell: shows a sentence; show: shows elements; play: takes the id and a second of a film.
export function connect(tell, show, play) {
  for (const [kind, { fields, show: elements }] of Object.entries(KINDS)) {
    const form = document.getElementById(kind);
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      const given = fields(form.elements);
      tell("Looking …");
      show();
      try {
        const reply = await post(`api/${kind}`, given);
        tell("");
        show(...elements(reply, given, (second) => play(given.video_id, second)));
      } catch (error) {
        tell(error.message, true);
      }
    });
  }
}
