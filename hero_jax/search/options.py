"""Options of the search command: what is put into an index, and what is asked of it."""

import argparse

from data.command import path_argument
from data.errors import InputError
from data.schema import SPLITS
from hero_jax.index import DTYPES, STORES

FLAGS_OF_FILMS = (
    *("weights", "networks", "subtitle_language", "subtitle_encoding", "subtitles"),
    *("whisper_model", "thumbnails", "drop_removed"),
)
# In place of a file of sentences.
STDIN = "-"


def _file(text: str) -> str:
    """Returns the path of a file of sentences, `-` as it is."""
    return text if text == STDIN else str(path_argument(text).absolute())


def add_model_flag(parser: argparse.ArgumentParser) -> None:
    """Adds the flag of the model."""
    parser.add_argument(
        "--model", type=path_argument, required=True, help="export, or the workdir of a run"
    )


def add_film_flags(films: argparse._ArgumentGroup) -> None:
    """Adds the flags of how films are found and read, without defaults: a wrong one is noticed."""
    films.add_argument("--videos", type=path_argument, help="folder of films")
    films.add_argument(
        "--weights",
        action="append",
        metavar="NETWORK=FILE",
        help="weights of a network of the model's features, or auto to download what is missing; "
        "may be given again",
    )
    films.add_argument(
        "--networks", help="networks of the model's features, for a model that does not know them"
    )
    films.add_argument(
        "--subtitle_language",
        metavar="LANGUAGE",
        help="of films with subtitles in several, as en (default: the first)",
    )
    films.add_argument(
        "--subtitle_encoding",
        metavar="ENCODING",
        help="of files of subtitles that are not UTF-8 (default: it is detected)",
    )
    films.add_argument(
        "--subtitles",
        choices=("whisper",),
        help="write down what is said in films without subtitles, with faster-whisper",
    )
    films.add_argument("--whisper_model", help="name or folder of its model (default: base)")
    films.add_argument(
        "--thumbnails",
        type=float,
        metavar="MB",
        help="room for pictures of all films in the index's folder (default: 2000; 0 for none)",
    )


def add_clip_flags(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of what is put into an index, without defaults: a wrong one is noticed."""
    add_model_flag(parser)
    films = parser.add_argument_group("films")
    add_film_flags(films)
    dataset = parser.add_argument_group("a dataset")
    dataset.add_argument("--data", type=path_argument, help="dataset made by `data.build`")
    dataset.add_argument("--split", choices=SPLITS, help="split of the dataset (default: all)")
    dataset.add_argument(
        "--on_corrupt",
        choices=("error", "skip"),
        help="what to do with damaged records (default: error)",
    )


def add_store_flags(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of how a new index keeps what is put into it."""
    parser.add_argument(
        "--dtype", choices=DTYPES, help="precision of what is stored (default: half precision)"
    )
    parser.add_argument(
        "--store",
        choices=STORES,
        default=STORES[0],
        help="files, or a table of Lance for large archives (default: %(default)s)",
    )


def of_films(options: argparse.Namespace) -> bool:
    """Returns whether films are put into an index, not a dataset; raises InputError if unclear."""
    if bool(options.videos) == bool(options.data):
        both = (
            "both --videos and --data are" if options.videos else "neither --videos nor --data is"
        )
        raise InputError(f"{both} given: name a folder of films or a dataset, one of the two")
    for name in ("split", "on_corrupt") if options.videos else FLAGS_OF_FILMS:
        if getattr(options, name, None) is not None:
            of = "a dataset" if options.videos else "films"
            raise InputError(f"--{name} is for {of}: leave it out")
    return bool(options.videos)


def add_query_flags(query: argparse.ArgumentParser) -> None:
    """Adds the flags of a search, and of how what it finds is shown."""
    add_model_flag(query)
    query.add_argument("sentences", nargs="*", help="sentences to find")
    query.add_argument(
        "--file", type=_file, help="file of sentences to find, one per line; - for stdin"
    )
    query.add_argument("--top", type=int, default=10, help="number of moments for each sentence")
    query.add_argument(
        "--said",
        type=float,
        default=0.0,
        help="weight of subtitles that have the words, from 0 (the model alone) to 1 (they alone)",
    )
    query.add_argument(
        "--video", action="append", help="id of a video to search; may be given again"
    )
    query.add_argument("--folder", help="folder of the films to search, as their ids begin")
    query.add_argument(
        "--exact", action="store_true", help="score all clips, also where the store proposes some"
    )
    query.add_argument("--json", action="store_true", help="print a JSON object per sentence")
    query.add_argument("--page", type=path_argument, help="HTML file to write the moments to")
    query.add_argument(
        "--data",
        type=path_argument,
        help="dataset of the clips, for pictures of frames on the page (default: those of films)",
    )


def add_server_flags(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of the server."""
    add_model_flag(parser)
    films = parser.add_argument_group(
        "films, which are played, and read for --allow_add and questions"
    )
    add_film_flags(films)
    films.add_argument(
        "--allow_add", action="store_true", help="let those who see the page add films"
    )
    parser.add_argument(
        "--data",
        type=path_argument,
        help="dataset of the clips, for pictures, questions, statements and captions",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8000, help="default: %(default)s; 0 for any")
    bounds = parser.add_argument_group("bounds")
    for name, kind, default, text in (
        ("most_at_once", int, 16, "requests that are computed together"),
        ("most_waiting", int, 256, "requests that wait; others are told to try again"),
        ("gather", float, 3.0, "milliseconds for which a batch waits for more requests"),
        ("deadline", float, 30.0, "seconds after which a request is given up"),
    ):
        bounds.add_argument(
            f"--{name}", type=kind, default=default, help=f"{text} (default: {default})"
        )
