"""Searches videos: `python -m hero_jax.search index|add|delete|query --help`.

python -m hero_jax.search index --model=EXPORT --data=datasets/mine --index=films
python -m hero_jax.search query "a red circle jumps" --model=EXPORT --index=films --page=found.html
"""

import argparse
import dataclasses
import functools
import itertools
import json
import logging
import os
import sys
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path

from data.command import ends_with_a_sentence
from data.errors import InputError
from data.pipeline.units import clip_ids
from data.progress import progress
from data.records.reader import Split
from data.schema import SPLITS, DatasetMetadata
from data.times import clock
from hero_jax.index import DTYPES, Index, Writer
from hero_jax.inference import exported, model
from hero_jax.inference.windows import clip_of_window
from hero_jax.search.engine import add_clips, build_index, search
from hero_jax.search.page import PageMoment, Searched, page

# Before TensorFlow, which a run that was not exported needs, is imported.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

# Queries of a file that are searched for together.
BATCH = 256
LONGEST = 200  # of what the table shows of a sentence, in characters
PICTURES = 4  # of a moment on the page
CLIPS_KEPT = 64


def main(arguments=None) -> None:
    """Runs the command line; a wrong input ends in its sentence and status 1."""
    options = _parser().parse_args(arguments)
    warnings.showwarning = lambda message, *_: print(f"warning: {message}", file=sys.stderr)
    with ends_with_a_sentence():
        options.run(options)


def _parser():
    parser = argparse.ArgumentParser(prog="python -m hero_jax.search", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name, run, text):
        made = commands.add_parser(name, help=text, description=text)
        made.add_argument("--index", required=True, help="folder of the index")
        made.set_defaults(run=run)
        return made

    for name, run, text in (
        ("index", _index, "Make an index of the clips of a dataset."),
        ("add", _add, "Add the clips of a dataset to an index, or replace those that are there."),
    ):
        made = command(name, run, text)
        _add_model(made)
        made.add_argument("--data", required=True, help="dataset that `data.build` made")
        made.add_argument("--split", choices=SPLITS, help="one split; all of them without it")
        made.add_argument(
            "--on_corrupt", choices=("error", "skip"), default="error", help="damaged records"
        )
        if name == "index":
            made.add_argument(
                "--dtype", choices=DTYPES, help="of what is stored; half precision without it"
            )
    made = command("delete", _delete, "Delete clips from an index.")
    made.add_argument("clips", nargs="+", help="their ids")
    made = command("compact", _compact, "Free what deleted clips take on disk.")
    made = command("query", _query, "Find the moments that a sentence tells of.")
    _add_model(made)
    made.add_argument("sentences", nargs="*", help="what to find")
    made.add_argument("--file", help="sentences to find, one to a line; - for standard input")
    made.add_argument("--top", type=int, default=10, help="moments to show for each")
    made.add_argument("--json", action="store_true", help="a JSON object a line for each sentence")
    made.add_argument("--page", help="HTML file to write what is found to")
    made.add_argument("--data", help="dataset of the clips, for pictures of frames on the page")
    return parser


def _add_model(parser):
    parser.add_argument("--model", required=True, help="export, or the workdir of a run")


def _load(path):
    if (Path(path) / "checkpoints").is_dir() and not (Path(path) / exported.DESCRIPTION).exists():
        try:
            from hero_jax import export
        except ModuleNotFoundError as error:
            raise InputError(
                f"{path} is a run that was not exported, which needs the requirements of training "
                f"({error.name} is missing): export it, or install requirements.txt."
            ) from error
        # Through which Orbax warns of what is meant.
        logging.getLogger("absl").setLevel("ERROR")
        return model.Model(export.from_run(path))
    return model.load(path)


def _clips(model, options) -> Iterator:
    metadata = DatasetMetadata.load(options.data)
    splits = [options.split] if options.split else [*metadata.clips]
    clips = itertools.chain.from_iterable(
        model.records(options.data, split, options.on_corrupt) for split in splits
    )
    return progress(clips, "clips encoded")


def _index(options):
    model = _load(options.model)
    index = build_index(model, _clips(model, options), options.index, options.dtype)
    print(f"{len(index)} clips and windows are in {options.index}")


def _add(options):
    model = _load(options.model)
    added, replaced = add_clips(model, _clips(model, options), options.index)
    print(f"{added} clips and windows added to {options.index}, {replaced} replaced")


def _delete(options):
    ids = [clip_id for _, clip_id in Index(options.index).clip_ids()]
    wanted = set(options.clips)
    # A long clip is there as its windows.
    own = [clip_id for clip_id in ids if clip_of_window(clip_id) in wanted]
    missing = wanted - {*own, *map(clip_of_window, own)}
    with Writer(options.index) as writer:
        writer.delete([*own, *missing])
    print(f"{len(own)} clips and windows deleted from {options.index}")


def _compact(options):
    with Writer(options.index) as writer:
        writer.compact()
    print(f"{len(Index(options.index))} clips and windows are in {options.index}")


def _query(options):
    if not options.sentences and not options.file:
        raise InputError("nothing to find: give a sentence, or --file with some.")
    if options.page and not (folder := Path(options.page).absolute().parent).is_dir():
        raise InputError(f"--page={options.page} cannot be written: there is no folder {folder}.")
    pictures = _Pictures(options.data) if options.page and options.data else None
    model, index = _load(options.model), Index(options.index)
    searches = []
    for sentences in _batches(_sentences(options)):
        for sentence, found in zip(
            sentences, search(model, index, sentences, top=options.top), strict=True
        ):
            print(_line(sentence, found) if options.json else _table(sentence, found), flush=True)
            if options.page:
                searches.append(Searched(sentence, tuple(_shown(f, pictures) for f in found)))
    if options.page:
        _write_page(options, searches, pictures)


def _sentences(options) -> Iterator[str]:
    yield from options.sentences
    if not options.file:
        return
    try:
        with sys.stdin if options.file == "-" else open(options.file, encoding="utf-8") as file:
            yield from filter(None, (line.strip() for line in file))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"--file={options.file} cannot be read ({error}).") from error


def _batches(sentences: Iterable[str]) -> Iterator[list[str]]:
    sentences = iter(sentences)
    while batch := [*itertools.islice(sentences, BATCH)]:
        yield batch


def _line(sentence, found):
    moments = [dataclasses.asdict(one) for one in found]
    return json.dumps({"query": sentence, "found": moments}, ensure_ascii=False)


def _table(sentence, found) -> str:
    """The moments as lines for people, the subtitles there below each."""
    lines = [sentence if len(sentence) <= LONGEST else sentence[:LONGEST] + "…"]
    width = max((len(one.video_id) for one in found), default=0)
    for rank, one in enumerate(found, 1):
        when = f"{clock(one.start)}–{clock(one.end)}"
        lines.append(f"{rank:4}  {one.video_id:<{width}}  {when:<15} {one.score:10.4g}")
        lines += [f"        {clock(line.start):>7}  {line.text}" for line in one.lines]
    return "\n".join(lines if found else [*lines, "      nothing is in the index"]) + "\n"


class _Pictures:
    """Pictures in moments of a dataset's clips, and how long the videos are as far as is known."""

    def __init__(self, dataset):
        self.step = DatasetMetadata.load(dataset).seconds_per_feature
        self.durations: dict[str, float] = {}
        self._places = {}
        for split in DatasetMetadata.load(dataset).clips:
            clips = Split(dataset, split, "skip")
            names = enumerate(clip_ids(Path(dataset), split, clips))
            self._places |= {name: (clips, number) for number, name in names if name}
        # A clip is found again and again; of some, the pictures are kept.
        self._clip = functools.lru_cache(CLIPS_KEPT)(self._read)

    def _read(self, clip_id):
        """Where in its video the clip begins, and its pictures; None if it is not there."""
        place = self._places.get(clip_id) or self._places.get(clip_of_window(clip_id))
        clip = place and place[0].read(place[1])
        if clip is None:
            return None
        video, end = clip.video_id or clip.clip_id, len(clip.frame_features) * self.step
        self.durations[video] = max(self.durations.get(video, 0), clip.video_start + end)
        return clip.video_start, clip.frame_images

    def of(self, found) -> tuple[tuple[float, bytes], ...]:
        """Some of those in a moment, evenly spread."""
        start, images = self._clip(found.clip_id) or (0, ())
        frames = ((start + (n + 0.5) * self.step, image) for n, image in enumerate(images))
        inside = [frame for frame in frames if found.start <= frame[0] <= found.end]
        count = min(PICTURES, len(inside))
        return tuple(inside[n * len(inside) // count] for n in range(count))


def _shown(found, pictures) -> PageMoment:
    return PageMoment(**vars(found), frames=pictures.of(found) if pictures else ())


def _write_page(options, searches, pictures):
    durations = pictures.durations if pictures else {}
    text = page(searches, title="Found in " + Path(options.index).name, durations=durations)
    try:
        Path(options.page).write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"--page={options.page} cannot be written ({error}).") from error
    print(f"written to {options.page}", file=sys.stderr)


if __name__ == "__main__":
    main()
