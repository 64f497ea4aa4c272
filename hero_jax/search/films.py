"""The part of the command about films, which needs packages that the rest of it does not."""

import argparse
import contextlib
import math
import shutil
import warnings
from collections.abc import Sequence
from pathlib import Path

from data.command import ends_with_a_sentence
from data.errors import InputError
from data.report import Report
from data.sources.subtitle_text import check_encoding
from data.video.films import NO_NAME
from data.video.speech import speech_model
from hero_jax.extract.networks import chosen, with_weights
from hero_jax.extract.subtitles import choice_of
from hero_jax.extractors.base import Extractor
from hero_jax.extractors.registry import NETWORKS, load
from hero_jax.index import exists, open_index, open_writer
from hero_jax.inference.model import Model
from hero_jax.search.adding import AS_BEFORE, LEFT_OUT, TAKEN, Added, add_films, find
from hero_jax.search.engine import create_index
from hero_jax.search.loading import load as load_model
from hero_jax.search.reading import Reading

STOPPED = "stopped: films that are in the index stay there; `add` does the rest"
# Megabytes of pictures of all films, unless the command says otherwise.
THUMBNAILS = 2000


def add(options: argparse.Namespace, *, is_new: bool) -> None:
    """Runs `index` or `add` with films.

    Args:
      options: of the command line.
      is_new: whether the index must not exist; otherwise it is made only if there is none.

    Raises:
      InputError: the arguments do not fit together, or some films are not in the index in the end.
    """
    with ends_with_a_sentence(STOPPED):
        # What takes no time to find out comes first.
        find(options.videos, "", Report())
        model = load_model(options.model)
        reading = reading_of(model, options)
        is_made = is_new or not exists(options.index)
        if is_made:
            kind = (options.dtype, options.store) if is_new else ()
            create_index(model, options.index, *kind)
        try:
            drop = not is_new and bool(options.drop_removed)
            done = add_films(model, options.videos, options.index, reading, drop_removed=drop)
        finally:
            if is_made:
                _remove_empty(options.index)
        _tell(done, options)


def _remove_empty(path: Path) -> None:
    """Removes an index without clips: it would be in the way of the next attempt."""
    # Another program may write to it by now.
    with contextlib.suppress(InputError), open_writer(path):
        if not len(open_index(path)):
            shutil.rmtree(path, ignore_errors=True)


def reading_of(model: Model, options: argparse.Namespace) -> Reading:
    """Returns how films are read by a command's options.

    Raises:
      InputError: they do not go together or with the model, or weights are missing.
    """
    networks, is_even = _networks(model, options)
    megabytes = THUMBNAILS if options.thumbnails is None else options.thumbnails
    if not 0 <= megabytes < math.inf:
        raise InputError(f"--thumbnails={megabytes:g} is impossible: give 0 or a number above 0")
    if options.subtitle_encoding:
        check_encoding(options.subtitle_encoding)
    choice = choice_of(options)
    if choice.speech:
        # A film whose speech cannot be read would be without subtitles from now on.
        speech_model(choice.speech, choice.language)
    return Reading(
        networks,
        is_even,
        thumbnail_bytes=round(megabytes * 1e6),
        subtitles=choice,
        encoding=options.subtitle_encoding,
    )


def _networks(model: Model, options: argparse.Namespace) -> tuple[Sequence[Extractor], bool]:
    """Returns the networks of the model's features, and whether its clips are sampled evenly.

    Raises:
      InputError: they are not known and not named, or they are others, or have other weights.
    """
    widths = model.features.widths
    known = model.features.networks or (None,) * len(widths)
    given = chosen(options.networks) if options.networks else ()
    if None in known and not given:
        raise InputError(
            f"{options.model} does not say which networks its features of widths "
            f"{', '.join(map(str, widths))} are of: name them with --networks"
        )
    names = given or tuple(one.network for one in known if one)
    if others := [name for name in names if name not in NETWORKS]:
        raise InputError(
            f"{options.model} reads features of {' and '.join(others)}, which are not among the "
            "networks of this program: make a dataset of features of the films, and add that"
        )
    found = tuple(NETWORKS[name].width for name in names)
    if found != widths:
        raise InputError(
            f"--networks={','.join(names)} gives features of widths {', '.join(map(str, found))}, "
            f"and the model reads {', '.join(map(str, widths))}: name the networks that it was "
            "trained with, in order"
        )
    for name, one in zip(names, known, strict=True):
        if one and one.network != name:
            raise InputError(
                f"--networks={','.join(names)} names {name} where the model was trained with "
                f"{one.network}: leave --networks out"
            )
    if None in known:
        warnings.warn(
            f"{options.model} does not say which networks its features are of: if they are not of "
            f"{', '.join(names)}, it finds nothing",
            stacklevel=2,
        )
    extractors = [load(name, file) for name, file in with_weights(names, options.weights or ())]
    for extractor, one in zip(extractors, known, strict=True):
        for sentence in extractor.warnings:
            warnings.warn(f"{extractor.name}: {sentence}", stacklevel=2)
        if one and one.weights != extractor.weights:
            raise InputError(
                f"the weights of {extractor.name} are not those that made the features of "
                f"{options.model} ({extractor.weights[:12]}, not {one.weights[:12]}): give that "
                "file with --weights"
            )
    return extractors, any(one and one.even_sampling for one in known)


def _tell(done: Added, options: argparse.Namespace) -> None:
    """Prints what became of the films; raises InputError if some of them could not be added."""
    done.report.tell("note")
    print(
        f"{options.index}: {done.added} films added, {done.replaced} replaced, {done.renamed} "
        f"renamed, {done.unchanged} unchanged, {done.dropped} dropped"
    )
    failed = sum(done.report.counts[reason] for reason in (LEFT_OUT, AS_BEFORE, TAKEN, NO_NAME))
    if failed:
        raise InputError(
            f"{failed} films are not in the index as they are now, for the reasons above: fix or "
            "remove them and add the folder again"
        )
