"""The options of the command that serves, and what is opened for them."""

import argparse
import ipaddress
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from data.errors import InputError
from hero_jax.inference.model import Model
from hero_jax.search import parts
from hero_jax.search.loading import load
from hero_jax.search.pictures import Pictures
from hero_jax.search.server.app import make_app
from hero_jax.search.server.archive import Archive
from hero_jax.search.server.batching import Batcher, Bounds
from hero_jax.search.server.contents import Contents, of_dataset
from hero_jax.search.server.endpoints import Service
from hero_jax.search.server.intake import Intake
from hero_jax.search.server.media import FilmStills
from hero_jax.search.server.metrics import Metrics
from hero_jax.search.server.running import Server, listen

if TYPE_CHECKING:
    # It needs the packages that decode films.
    from hero_jax.search.reading import Reading

LOCAL_NAMES = frozenset(("localhost", "127.0.0.1", "[::1]"))


def run(options: argparse.Namespace) -> None:
    """Serves until the process is told to stop.

    Raises:
      InputError: the options do not go together, or something cannot be opened.
    """
    bounds = bounds_of(options)
    listener = listen(options.host, options.port)
    name, port = listener.getsockname()[:2]
    server = open_server(options, bounds, local=ipaddress.ip_address(name).is_loopback)
    # From now on, whoever connects waits until the server takes it.
    listener.listen(server.config.backlog)
    shown = f"[{name}]" if ":" in name else name
    print(f"serving {options.index} at http://{shown}:{port}", file=sys.stderr, flush=True)
    try:
        server.run(sockets=[listener])
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)


def bounds_of(options: argparse.Namespace) -> Bounds:
    """Returns the bounds of waiting; raises InputError for impossible ones."""
    for name in ("most_at_once", "most_waiting"):
        if getattr(options, name) < 1:
            raise InputError(f"--{name}={getattr(options, name)} is too small: give 1 or more")
    if not 0 < options.deadline < math.inf:
        raise InputError(f"--deadline={options.deadline:g} is impossible: give seconds above 0")
    if not 0 <= options.gather < math.inf:
        raise InputError(f"--gather={options.gather:g} is impossible: give 0 or more milliseconds")
    return Bounds(
        options.most_at_once, options.most_waiting, options.gather / 1000, options.deadline
    )


def open_server(options: argparse.Namespace, bounds: Bounds, *, local: bool) -> Server:
    """Opens the model, the index and the films, and returns what serves them.

    Args:
      local: whether only programs of this machine can connect.

    Raises:
      InputError: something cannot be opened.
    """
    model, videos = load(options.model), _folder(options.videos)
    return compose(
        model,
        options.index,
        videos=videos,
        pictures=Pictures(options.data) if options.data else None,
        reading=_reading(model, options, videos),
        allow_add=options.allow_add,
        bounds=bounds,
        local=local,
    )


def compose(
    model: Model,
    index: Path,
    *,
    videos: Path | None,
    pictures: Pictures | None,
    reading: "Reading | None",
    allow_add: bool,
    bounds: Bounds,
    local: bool,
) -> Server:
    """Returns a server of an index.

    Args:
      videos: folder of the films without symbolic links, None to play none.
      pictures: of a dataset, which has the features of the clips too; None for those of films.
      reading: how films are read, None to read none.
      allow_add: whether films can be added, which needs `videos` and `reading`.
      local: see `open_server`.

    Raises:
      InputError: the index cannot be opened.
    """
    metrics = Metrics()
    archive = Archive(model, index, videos, metrics, dataset_pictures=bool(pictures))
    archive.warm_up(bounds.most_at_once)
    contents = Contents(model, of_dataset(pictures)) if pictures else None
    intake = None
    if reading and videos:
        from hero_jax.search.server import decoding

        contents = contents or Contents(model, decoding.of_films(model, videos, reading))
        add = decoding.to_index(model, videos, index, reading)
        intake = Intake(videos, add) if allow_add else None
    batcher, thumbnails = Batcher(archive.run, bounds, metrics), FilmStills(archive, pictures)
    service = Service(archive, batcher, metrics, thumbnails, contents, intake)
    return Server(make_app(service, metrics, LOCAL_NAMES if local else frozenset()), service)


def _reading(model: Model, options: argparse.Namespace, videos: Path | None) -> "Reading | None":
    """Returns how films are read, None if they are only played.

    Raises:
      InputError: films are to be added without a folder or without packages, or see `reading_of`.
    """
    if not options.allow_add and not options.weights:
        return None
    if not videos:
        raise InputError("--allow_add and --weights are for films: name their folder with --videos")
    return parts.films().reading_of(model, options)


def _folder(path: Path | None) -> Path | None:
    """Returns a folder without symbolic links; raises InputError for what is none."""
    if path and not path.is_dir():
        raise InputError(f"--videos={path} is no folder: name the folder of the films")
    return path.resolve() if path else None
