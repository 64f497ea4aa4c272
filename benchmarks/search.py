"""Written sentences that find their moments in the sample corpus.

    python -m benchmarks.search --model=exports/shapes --index=indexes/shapes

Searches the index of the test split for twenty sentences. Like the corpus's queries, they are about
things that are seen but not mentioned, things that are only said, or both. Each is true of one
moment in the 150 films, except for one that is true of two. Needs an export and its index;
docs/search.md has the commands.

    python -m data.shapes --videos=films --num=40 --split=test
    python -m data.build shapes --num_clips=400 --tokenizer=datasets/shapes --out=datasets/forty
    python -m hero_jax.search index --model=exports/shapes --data=datasets/forty --split=test \
        --index=indexes/forty
    python -m hero_jax.search add --videos=films --model=exports/shapes --index=indexes/films
    python -m benchmarks.search --model=exports/shapes --index=indexes/forty --films=indexes/films

compares with the same films after they were written as videos, which have all that is searched for.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from data.command import path_argument
from data.times import temporal_iou
from hero_jax.index.index import Index
from hero_jax.inference.model import Model, load
from hero_jax.search.engine import search
from hero_jax.search.found import FoundMoment


class Target(NamedTuple):
    """A sentence and the moments where it is true: film number, first and last second."""

    text: str
    moments: tuple[tuple[int, float, float], ...]


SENTENCES = (
    Target("the yellow oval leaps over the green cross", ((9, 63.28, 65.92),)),
    Target("the turquoise triangle comes in from the sky in the snow", ((29, 17.78, 19.80),)),
    Target("the turquoise cross flies around the yellow star in the snow", ((39, 49.31, 53.61),)),
    Target("the yellow square turns red in the snow", ((49, 55.50, 57.08),)),
    Target("the green oval jumps over the turquoise circle in the meadow", ((59, 33.25, 35.97),)),
    Target("the pink square jumps over the blue cross in the desert", ((69, 24.78, 27.19),)),
    Target("the small orange triangle turns turquoise in the city", ((79, 46.24, 48.91),)),
    Target("the yellow oval jumps over the blue square on the beach", ((89, 31.38, 33.68),)),
    Target("the blue square flies around the pink circle in the city", ((109, 52.98, 57.38),)),
    Target("the orange star comes in from the right on the beach", ((119, 26.73, 29.63),)),
    Target("the blue square circles the pink star in the snow", ((129, 28.06, 32.74),)),
    Target("the turquoise circle jumps over the orange ring in the city", ((139, 38.88, 41.54),)),
    Target(
        "the turquoise square follows the green cross to the right in the desert",
        ((169, 31.72, 34.61),),
    ),
    Target("the green star flies around the red oval in the meadow", ((179, 36.90, 41.15),)),
    Target("the purple ring wants to go home", ((19, 63.98, 67.42), (1269, 62.79, 64.93))),
    Target("the purple circle says to the yellow square that it is late", ((99, 4.77, 7.06),)),
    Target("the orange ring feels happy", ((149, 9.50, 11.98),)),
    Target("the orange oval feels hungry", ((159, 48.93, 51.09),)),
    Target("the purple square wants to build a house", ((189, 36.22, 38.22),)),
    Target("Ivo flies around Mia", ((199, 24.44, 28.96),)),
)
TOP = 5
OVERLAP = 0.5  # least intersection over union of a moment that counts as found


def overlap(found: FoundMoment, target: Target) -> float:
    """Returns the largest intersection over union with a right moment, 0 in any other film."""
    best = 0.0
    for film, start, end in target.moments:
        if found.video_id == f"shapes0_{film:05d}":
            spans = np.array([[found.start, found.end], [start, end]])
            best = max(best, float(temporal_iou(*spans)))
    return best


class Place(NamedTuple):
    """Rank of a target's moment among those that a search finds.

    rank: of the first right moment, None if there is none in the first TOP.
    overlap: the largest one with a right moment.
    best: the first moment.
    """

    rank: int | None
    overlap: float
    best: FoundMoment

    def __str__(self) -> str:
        return f"{self.rank or '-':>2}  overlap {self.overlap:4.2f}"


def answers(model: Model, path: Path) -> list[Place]:
    """Searches an index for SENTENCES."""
    found = search(model, Index(path), [target.text for target in SENTENCES], top=TOP)
    results = []
    for target, moments in zip(SENTENCES, found, strict=True):
        overlaps = [overlap(moment, target) for moment in moments]
        rank = next((n for n, share in enumerate(overlaps, 1) if share >= OVERLAP), None)
        results.append(Place(rank, max(overlaps), moments[0]))
    return results


def summary(results: Sequence[Place]) -> str:
    """Returns how many sentences find their moments."""
    count = sum(answer.rank is not None for answer in results)
    return f"{count} of {len(results)} in the first {TOP}"


def described(moment: FoundMoment) -> str:
    """Describes a moment on one line."""
    return f"{moment.video_id} {moment.start:5.1f}-{moment.end:5.1f} {moment.score:7.3f}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the rank and the overlap of each sentence's moment."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.search", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--model", type=path_argument, required=True, help="export")
    parser.add_argument(
        "--index", type=path_argument, required=True, help="index of the test split"
    )
    parser.add_argument("--films", type=path_argument, help="index of the same films as videos")
    options = parser.parse_args(arguments)
    model = load(options.model)
    results = answers(model, options.index)
    if options.films is None:
        for target, answer in zip(SENTENCES, results, strict=True):
            print(f"{answer}  {target.text}")
        print(summary(results))
        return
    of_films = answers(model, options.films)
    for target, answer, of_film in zip(SENTENCES, results, of_films, strict=True):
        print(target.text)
        print(f"  records {answer}  first: {described(answer.best)}")
        print(f"  films   {of_film}  first: {described(of_film.best)}")
    print(f"records: {summary(results)}; films: {summary(of_films)}")


if __name__ == "__main__":
    main()
