"""Accuracy of guessing the sample corpus's annotations without its films, beside chance.

    python -m benchmarks.text_only [--num_clips=1500] [--seed=0]

Fits a linear model to words, pairs of neighbouring words, and pairs of a question's and an answer's
words in the annotations of the training split, and guesses the answers and the truth of statements
in the test split. Prints its accuracy by kind, and the interval around chance that holds 95% of
such samples. Also prints the recall of queries by chance, and the most frequent captions.
"""

import argparse
import collections
import dataclasses
import itertools
import math
from collections.abc import Iterable, Sequence

import numpy as np

from data.schema import Query
from data.shapes.source import ShapesSource

STEPS = 80
LEARNING_RATE = 0.03
DECAY = 1e-4
LEAST_OCCURRENCES = 3  # of a feature in training


@dataclasses.dataclass(frozen=True)
class Choice:
    """A choice between options.

    Attributes:
      features: names of each option's features.
      label: number of the right option.
      kind: of the question or statement.
      film: id of the film that it is about.
    """

    features: list[list[str]]
    label: int
    kind: str
    film: str


def question_choice(query: Query) -> Choice:
    """Returns the choice between the answers of a question."""
    answers = [answer.split() for answer in query.answers]
    asked = query.text.rstrip("?").split()
    options = []
    for number, answer in enumerate(answers):
        others = set(itertools.chain(*answers[:number], *answers[number + 1 :]))
        pairs = itertools.product([*asked, *map("_".join, itertools.pairwise(asked))], answer)
        shared = [f"shared {len(set(answer) & others)}", f"asked {len(set(answer) & set(asked))}"]
        options.append([*_grams(answer), *map(" | ".join, pairs), *shared])
    return Choice(options, query.label, query.kind, query.clip_id)


def truth_choice(query: Query) -> Choice:
    """Returns the choice whether a statement is true: between its features and none."""
    return Choice([_statement(query), []], 1 - query.label, query.kind, query.clip_id)


def pair_choices(queries: Iterable[Query]) -> list[Choice]:
    """Returns the choice between the two statements of each pair."""
    pairs = collections.defaultdict(list)
    for query in sorted(queries, key=lambda query: (query.group, query.text)):
        pairs[query.group].append(query)
    return [
        Choice(
            [*map(_statement, pair)],
            [query.label for query in pair].index(1),
            pair[0].kind,
            pair[0].clip_id,
        )
        for pair in pairs.values()
    ]


def _statement(query):
    words = query.text.split()
    return [*_grams(words), *map(" & ".join, itertools.combinations(words, 2))]


def _grams(words):
    return [*words, *map(" ".join, itertools.pairwise(["^", *words, "$"]))]


class Guesser:
    """A softmax over the options' scores, each the sum of its features' weights."""

    def __init__(self, choices: Sequence[Choice]):
        """Fits the weights by Adam, on all choices at once."""
        counts = collections.Counter(
            name for choice in choices for option in choice.features for name in option
        )
        names = [name for name, count in counts.items() if count >= LEAST_OCCURRENCES]
        self._numbers = {name: number for number, name in enumerate(names)}
        owners, features, num_options = self._entries(choices)
        right = np.zeros((len(choices), num_options))
        right[np.arange(len(choices)), [choice.label for choice in choices]] = 1
        self._weights = mean = square = np.zeros(len(names))
        for step in range(1, STEPS + 1):
            scores = self._scores(owners, features, right.shape)
            shares = np.exp(scores - scores.max(1, keepdims=True))
            error = (shares / shares.sum(1, keepdims=True) - right) / len(choices)
            slope = np.bincount(features, error.ravel()[owners], minlength=len(names))
            slope += DECAY * self._weights
            mean, square = 0.9 * mean + 0.1 * slope, 0.99 * square + 0.01 * slope**2
            step_size = LEARNING_RATE * math.sqrt(1 - 0.99**step) / (1 - 0.9**step)
            self._weights = self._weights - step_size * mean / (np.sqrt(square) + 1e-8)

    def right(self, choices: Sequence[Choice]) -> np.ndarray:
        """Returns `[choices]`, True where the guess is right."""
        owners, features, num_options = self._entries(choices)
        scores = self._scores(owners, features, (len(choices), num_options))
        return scores.argmax(1) == [choice.label for choice in choices]

    def _entries(self, choices):
        """Returns the option's and the feature's number for every known feature of every option."""
        options = [option for choice in choices for option in choice.features]
        numbers = [[self._numbers[n] for n in option if n in self._numbers] for option in options]
        owners = np.repeat(np.arange(len(options)), [len(known) for known in numbers])
        features = np.fromiter(itertools.chain(*numbers), np.int64, len(owners))
        return owners, features, len(choices[0].features)

    def _scores(self, owners, features, shape):
        """Returns the score of every option, `[choices, options]`."""
        return np.bincount(owners, self._weights[features], minlength=math.prod(shape)).reshape(
            shape
        )


def accuracies(
    train: Sequence[Choice], test: Sequence[Choice]
) -> dict[str, tuple[float, float, float]]:
    """Returns accuracy on `test`, chance, and half the 95% interval, by kind ('' for all).

    The interval treats films, not annotations, as independent.
    """
    right = Guesser(train).right(test)
    kinds = np.array([choice.kind for choice in test])
    films = np.unique([choice.film for choice in test], return_inverse=True)[1]
    chance = 1 / len(test[0].features)
    found = {}
    for kind in ("", *sorted(set(kinds))):
        chosen = kinds == kind if kind else np.full(len(test), True)
        excess = np.bincount(films[chosen], right[chosen] - chance)
        half = 1.96 * math.sqrt(np.square(excess).sum()) / chosen.sum()
        found[kind] = right[chosen].mean(), chance, half
    return found


def _report(title, train, test):
    for kind, (share, chance, half) in accuracies(train, test).items():
        print(
            f"{title:<22}{kind or 'all':<5}{100 * share:6.1f}%   "
            f"chance {100 * chance:.0f}% ± {100 * half:.1f}%"
        )


def _queries(seed, num_clips, query_type):
    source = ShapesSource(seed, num_clips, query_type)
    return source.queries["train"], source.queries["test"], len(source.videos["test"])


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the accuracies."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.text_only", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--num_clips", type=int, default=1500, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    options = parser.parse_args(arguments)
    train, test, _ = _queries(options.seed, options.num_clips, "question")
    _report("questions", *([*map(question_choice, part)] for part in (train, test)))
    train, test, _ = _queries(options.seed, options.num_clips, "event")
    _report("next events", *([*map(question_choice, part)] for part in (train, test)))
    train, test, _ = _queries(options.seed, options.num_clips, "statement")
    _report("statements", *([*map(truth_choice, part)] for part in (train, test)))
    _report("pairs of statements", *(pair_choices(part) for part in (train, test)))
    train, test, films = _queries(options.seed, options.num_clips, "query")
    again = len({query.text for query in test} & {query.text for query in train})
    chance = ", ".join(f"R@{k} {100 * k / films:.1f}%" for k in (1, 5, 10))
    print(f"queries: {len(test)} in test, {again} of whose texts are in train; chance {chance}")
    train, test, _ = _queries(options.seed, options.num_clips, "caption")
    counts = collections.Counter(query.text for query in train)
    for text, count in counts.most_common(3):
        print(f"captions: {count} of {len(train)} in train are {text!r}")


if __name__ == "__main__":
    main()
