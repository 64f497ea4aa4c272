"""Searches videos: `python -m hero_jax.search index|add|delete|compact|query --help`.

python -m hero_jax.search index --model=EXPORT --data=datasets/mine --index=films
python -m hero_jax.search query "a red circle jumps" --model=EXPORT --index=films --page=found.html
"""

import argparse
import contextlib
import itertools
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence

from data.arguments import user_path
from data.command import Parser, ends_with_a_sentence, path_argument
from data.errors import InputError
from data.files import writing_to
from data.progress import progress
from data.schema import SPLITS, Clip, DatasetMetadata
from data.text import open_text, without_marks
from hero_jax.index import DTYPES, Index, Writer
from hero_jax.inference.model import Model
from hero_jax.inference.windows import clip_of_window
from hero_jax.search.engine import FoundMoment, add_clips, build_index, search
from hero_jax.search.loading import load
from hero_jax.search.output import json_line, table
from hero_jax.search.page import PageMoment, Searched, page
from hero_jax.search.pictures import Pictures

# Sentences of a file that are searched for together.
BATCH = 256
# In place of a file of sentences.
STDIN = "-"


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line; an input error ends it with a sentence and status 1."""
    options = _parser().parse_args(arguments)
    warnings.showwarning = lambda message, *_: print(f"warning: {message}", file=sys.stderr)
    with ends_with_a_sentence():
        options.run(options)


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="python -m hero_jax.search", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, run: Callable[[argparse.Namespace], None], text: str) -> Parser:
        subparser = commands.add_parser(name, help=text, description=text)
        subparser.add_argument(
            "--index", type=path_argument, required=True, help="folder of the index"
        )
        subparser.set_defaults(run=run)
        return subparser

    index = command("index", _index, "Make an index of the clips of a dataset.")
    _add_clip_flags(index)
    index.add_argument(
        "--dtype", choices=DTYPES, help="precision of what is stored (default: half precision)"
    )
    add = command("add", _add, "Add the clips of a dataset to an index, or replace those it has.")
    _add_clip_flags(add)
    delete = command("delete", _delete, "Delete clips from an index.")
    delete.add_argument("clips", nargs="+", help="ids of the clips")
    command("compact", _compact, "Free the room on disk of deleted clips.")
    query = command("query", _query, "Find the moments that a sentence describes.")
    _add_model_flag(query)
    query.add_argument("sentences", nargs="*", help="sentences to find")
    query.add_argument(
        "--file", type=_file, help="file of sentences to find, one per line; - for stdin"
    )
    query.add_argument("--top", type=int, default=10, help="number of moments for each sentence")
    query.add_argument("--json", action="store_true", help="print a JSON object per sentence")
    query.add_argument("--page", type=path_argument, help="HTML file to write the moments to")
    query.add_argument(
        "--data",
        type=path_argument,
        help="dataset of the clips, for pictures of frames on the page",
    )
    return parser


def _file(text: str) -> str:
    """Returns the path of a file of sentences, `-` as it is."""
    return text if text == STDIN else str(path_argument(text).absolute())


def _add_model_flag(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model", type=path_argument, required=True, help="export, or the workdir of a run"
    )


def _add_clip_flags(parser: argparse.ArgumentParser) -> None:
    _add_model_flag(parser)
    parser.add_argument(
        "--data", type=path_argument, required=True, help="dataset made by `data.build`"
    )
    parser.add_argument("--split", choices=SPLITS, help="split of the dataset (default: all)")
    parser.add_argument(
        "--on_corrupt", choices=("error", "skip"), default="error", help="damaged records"
    )


def _clips(model: Model, options: argparse.Namespace) -> Iterator[Clip]:
    metadata = DatasetMetadata.load(options.data)
    splits = [options.split] if options.split else [*metadata.clips]
    clips = itertools.chain.from_iterable(
        model.records(options.data, split, options.on_corrupt) for split in splits
    )
    return progress(clips, "clips encoded")


def _index(options: argparse.Namespace) -> None:
    model = load(options.model)
    index = build_index(model, _clips(model, options), options.index, options.dtype)
    print(f"{len(index)} clips and windows are in {options.index}")


def _add(options: argparse.Namespace) -> None:
    model = load(options.model)
    added, replaced = add_clips(model, _clips(model, options), options.index)
    print(f"{added} clips and windows added to {options.index}, {replaced} replaced")


def _delete(options: argparse.Namespace) -> None:
    requested = set(options.clips)
    # The index holds a long clip as its windows.
    deleted = [
        clip_id
        for _, clip_id in Index(options.index).clip_ids()
        if clip_of_window(clip_id) in requested
    ]
    missing = requested - {*deleted, *map(clip_of_window, deleted)}
    with Writer(options.index) as writer:
        writer.delete([*deleted, *missing])
    print(f"{len(deleted)} clips and windows deleted from {options.index}")


def _compact(options: argparse.Namespace) -> None:
    with Writer(options.index) as writer:
        writer.compact()
    print(f"{len(Index(options.index))} clips and windows are in {options.index}")


def _query(options: argparse.Namespace) -> None:
    if not options.sentences and not options.file:
        raise InputError("there is nothing to find: give a sentence, or --file with some")
    if options.page and not (folder := options.page.absolute().parent).is_dir():
        raise InputError(
            f"--page={options.page} cannot be written, there is no folder {folder}: make it, or "
            "name another file"
        )
    pictures = Pictures(options.data) if options.page and options.data else None
    model, index = load(options.model), Index(options.index)
    # Searching reads all of it too.
    index.check()
    searches = []
    for sentences in _batches(_sentences(options)):
        results = search(model, index, sentences, top=options.top)
        for sentence, found in zip(sentences, results, strict=True):
            formatted = json_line(sentence, found) if options.json else table(sentence, found)
            print(formatted, flush=True)
            if options.page:
                moments = tuple(_page_moment(moment, pictures) for moment in found)
                searches.append(Searched(sentence, moments))
    if options.page:
        _write_page(options, searches, pictures)


def _sentences(options: argparse.Namespace) -> Iterator[str]:
    yield from options.sentences
    if not options.file:
        return
    empty = not options.sentences
    try:
        with contextlib.ExitStack() as stack:
            lines: Iterable[str] = sys.stdin
            if options.file != STDIN:
                lines = stack.enter_context(open_text(user_path(options.file)))
            for sentence in filter(None, (without_marks(line).strip() for line in lines)):
                empty = False
                yield sentence
    except UnicodeDecodeError as error:
        raise InputError(f"--file=- is not UTF-8 ({error}): convert it") from error
    if empty:
        raise InputError(f"--file={options.file} has no sentences: write one on each line")


def _batches(sentences: Iterable[str]) -> Iterator[list[str]]:
    sentences = iter(sentences)
    while batch := [*itertools.islice(sentences, BATCH)]:
        yield batch


def _page_moment(found: FoundMoment, pictures: Pictures | None) -> PageMoment:
    return PageMoment(**vars(found), frames=pictures.of(found) if pictures else ())


def _write_page(
    options: argparse.Namespace, searches: Sequence[Searched], pictures: Pictures | None
) -> None:
    durations = pictures.durations if pictures else {}
    text = page(searches, title="Found in " + options.index.name, durations=durations)
    with writing_to(f"--page={options.page}", "name another file"):
        options.page.write_text(text, encoding="utf-8")
    print(f"written to {options.page}", file=sys.stderr)


if __name__ == "__main__":
    main()
