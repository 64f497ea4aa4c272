"""Recall of a search by the model, by subtitles, and by both.

    python -m benchmarks.hybrid --model=exports/demo --data=datasets/shapes_query --split=test

Searches the clips of a split for each of its queries, and prints how many have the query's clip
first, and among the first 5 and 10. On real sentences (`tvr_text`, see `benchmarks.sentences`):

    HERO_SHARED=DIR python -m benchmarks.sentences --seeds 1 --out=OUT
    python -m benchmarks.hybrid --model=OUT/seed1 --data=OUT/datasets/sentences --split=validation
"""

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from data.command import ends_with_a_sentence, path_argument
from data.errors import InputError
from data.records.reader import QuerySplit
from data.schema import SPLITS, Query
from hero_jax.index import Snapshot
from hero_jax.inference.model import Model
from hero_jax.inference.windows import clip_of_window
from hero_jax.search import build_index, search
from hero_jax.search.loading import load

# Weights of subtitles: the model alone, both, and subtitles alone.
WEIGHTS: Mapping[float, str] = {0.0: "model", 0.5: "both", 0.75: "both", 1.0: "text"}
RANKS = (1, 5, 10)
# Moments of a search, of which several may be of one clip.
TOP = 100
AT_ONCE = 256


def queries(dataset: Path, split: str) -> list[Query]:
    """Returns the queries of a split that name their clip; raises InputError if there are none."""
    records = QuerySplit(dataset, split)
    named = [query for n in range(len(records)) if (query := records.read(n)) and query.clip_id]
    if not named:
        raise InputError(f"{dataset} has no queries about clips in its split {split}: name another")
    return named


def ranks(model: Model, index: Snapshot, wanted: Sequence[Query], said: float) -> list[int]:
    """Returns the place of each query's clip among the clips that a search finds, 0 for none."""
    places = []
    for first in range(0, len(wanted), AT_ONCE):
        block = wanted[first : first + AT_ONCE]
        found = search(model, index, [query.text for query in block], top=TOP, said=said)
        for query, moments in zip(block, found, strict=True):
            clips = [*dict.fromkeys(clip_of_window(moment.clip_id) for moment in moments)]
            places.append(clips.index(query.clip_id) + 1 if query.clip_id in clips else 0)
    return places


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.hybrid", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--model", type=path_argument, required=True, help="export, or a workdir")
    parser.add_argument("--data", type=path_argument, required=True, help="dataset with queries")
    parser.add_argument("--split", choices=SPLITS, default="test", help="default: %(default)s")
    options = parser.parse_args(arguments)
    with ends_with_a_sentence(), tempfile.TemporaryDirectory() as folder:
        wanted, model = queries(options.data, options.split), load(options.model)
        clips = model.records(options.data, options.split)
        index = build_index(model, clips, Path(folder) / "index")
        print(f"{len(wanted):,} queries, {len(index):,} clips and windows")
        print(f"{'':12}" + "".join(f"{f'R@{rank}':>8}" for rank in RANKS))
        for said, name in WEIGHTS.items():
            places = ranks(model, index, wanted, said)
            shares = [sum(0 < n <= rank for n in places) / len(places) for rank in RANKS]
            print(f"{name:<7}{said:5.2f}" + "".join(f"{100 * one:8.1f}" for one in shares))


if __name__ == "__main__":
    main()
