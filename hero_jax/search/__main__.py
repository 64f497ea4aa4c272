"""Searches videos: `python -m hero_jax.search index|add|delete|compact|migrate|query|serve --help`.

python -m hero_jax.search add --model=EXPORT --videos=films --index=indexes/films
python -m hero_jax.search index --model=EXPORT --data=datasets/mine --index=indexes/films
python -m hero_jax.search query "a red circle" --model=EXPORT --index=indexes/films --page=out.html
"""

import argparse
import contextlib
import itertools
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence

from data.arguments import user_path
from data.command import Parser, ends_with_a_sentence, path_argument, terminable
from data.errors import InputError
from data.files import replacing, writing_to
from data.progress import progress
from data.schema import Clip, DatasetMetadata
from data.text import open_text, without_marks
from hero_jax.cache import keep_compiled
from hero_jax.index import STORES, migrate, open_index, open_writer
from hero_jax.inference.model import Model
from hero_jax.inference.windows import clip_of_window
from hero_jax.search import book, parts, thumbnails
from hero_jax.search.engine import add_clips, build_index, search
from hero_jax.search.found import FoundMoment
from hero_jax.search.loading import load
from hero_jax.search.options import (
    STDIN,
    add_clip_flags,
    add_query_flags,
    add_server_flags,
    add_store_flags,
    of_films,
)
from hero_jax.search.output import json_line, table
from hero_jax.search.page import PageMoment, Searched, page
from hero_jax.search.pictures import Pictures
from hero_jax.search.thumbnails import FilmPictures

# Sentences of a file that are searched for together.
BATCH = 256


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line; an input error ends it with a sentence and status 1."""
    options = _parser().parse_args(arguments)
    warnings.showwarning = lambda message, *_: print(f"warning: {message}", file=sys.stderr)
    with ends_with_a_sentence(), terminable():
        keep_compiled()
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

    index = command("index", _index, "Make an index of films, or of the clips of a dataset.")
    add_clip_flags(index)
    add_store_flags(index)
    add = command(
        "add",
        _add,
        "Bring an index up to date with a folder of films, and make it if there is none; or add "
        "the clips of a dataset, in place of those of the same ids.",
    )
    add_clip_flags(add)
    add.add_argument(
        "--drop_removed",
        action="store_true",
        default=None,
        help="remove films from the index that are no longer in the folder",
    )
    delete = command("delete", _delete, "Delete clips from an index.")
    delete.add_argument("clips", nargs="+", help="ids of the clips")
    other = command("migrate", _migrate, "Copy an index into a new one of another store.")
    other.add_argument("--out", type=path_argument, required=True, help="folder of the new index")
    other.add_argument("--store", choices=STORES, required=True, help="its store")
    command("compact", _compact, "Free the room on disk of deleted clips.")
    query = command("query", _query, "Find the moments that a sentence describes.")
    add_query_flags(query)
    serve = command("serve", parts.serve, "Serve a page that searches, and an API for programs.")
    add_server_flags(serve)
    return parser


def _add_films(options: argparse.Namespace, *, is_new: bool) -> None:
    parts.films().add(options, is_new=is_new)


def _clips(model: Model, options: argparse.Namespace) -> Iterator[Clip]:
    metadata = DatasetMetadata.load(options.data)
    splits = [options.split] if options.split else [*metadata.clips]
    clips = itertools.chain.from_iterable(
        model.records(options.data, split, options.on_corrupt or "error") for split in splits
    )
    return progress(clips, "clips encoded")


def _index(options: argparse.Namespace) -> None:
    if of_films(options):
        _add_films(options, is_new=True)
        return
    model = load(options.model)
    index = build_index(model, _clips(model, options), options.index, options.dtype, options.store)
    print(f"{len(index)} clips and windows are in {options.index}")


def _add(options: argparse.Namespace) -> None:
    if of_films(options):
        _add_films(options, is_new=False)
        return
    model = load(options.model)
    added, replaced = add_clips(model, _clips(model, options), options.index)
    print(f"{added} clips and windows added to {options.index}, {replaced} replaced")


def _delete(options: argparse.Namespace) -> None:
    requested = set(options.clips)
    # The index holds a long clip as its windows.
    deleted = [
        clip_id
        for _, clip_id in open_index(options.index).clip_ids()
        if clip_of_window(clip_id) in requested
    ]
    missing = requested - {*deleted, *map(clip_of_window, deleted)}
    with open_writer(options.index) as writer:
        writer.delete([*deleted, *missing])
        if book.exists(options.index):
            with book.Book(options.index, to_change=True) as films:
                films.remove(requested)
                thumbnails.remove_strays(options.index, films)
    print(f"{len(deleted)} clips and windows deleted from {options.index}")


def _compact(options: argparse.Namespace) -> None:
    with open_writer(options.index) as writer:
        writer.compact()
        if book.exists(options.index):
            with book.Book(options.index, to_change=True) as films:
                thumbnails.remove_strays(options.index, films)
    print(f"{len(open_index(options.index))} clips and windows are in {options.index}")


def _migrate(options: argparse.Namespace) -> None:
    count = migrate(options.index, options.out, options.store)
    if book.exists(options.index):
        with book.Book(options.index) as films, book.Book(options.out, to_change=True) as copied:
            copied.put(films)
        thumbnails.copy(options.index, options.out)
    print(f"{count} clips and windows are in {options.out}")


def _query(options: argparse.Namespace) -> None:
    if not options.sentences and not options.file:
        raise InputError("there is nothing to find: give a sentence, or --file with some")
    if options.page and not (folder := options.page.absolute().parent).is_dir():
        raise InputError(
            f"--page={options.page} cannot be written, there is no folder {folder}: make it, or "
            "name another file"
        )
    if options.page and options.page.is_dir():
        raise InputError(f"--page={options.page} is a folder: name a file in it, as found.html")
    pictures: Pictures | FilmPictures | None = None
    if options.page:
        pictures = Pictures(options.data) if options.data else FilmPictures(options.index)
    model, index = load(options.model), open_index(options.index)
    if not index.checks_reads:
        # Searching reads all of it too.
        index.check()
    searches = []
    for sentences in _batches(_sentences(options)):
        results = search(
            model,
            index,
            sentences,
            top=options.top,
            said=options.said,
            videos=options.video,
            folder=options.folder,
            exact=options.exact,
        )
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


def _page_moment(found: FoundMoment, pictures: Pictures | FilmPictures | None) -> PageMoment:
    return PageMoment(**vars(found), frames=pictures.of(found) if pictures else ())


def _write_page(
    options: argparse.Namespace,
    searches: Sequence[Searched],
    pictures: Pictures | FilmPictures | None,
) -> None:
    durations = pictures.durations if pictures else {}
    text = page(searches, title="Found in " + options.index.name, durations=durations)
    # A page that is there stays until the new one is complete.
    with (
        writing_to(f"--page={options.page}", "name another file"),
        replacing(options.page) as temporary,
    ):
        temporary.write_text(text, encoding="utf-8")
    print(f"written to {options.page}", file=sys.stderr)


if __name__ == "__main__":
    main()
