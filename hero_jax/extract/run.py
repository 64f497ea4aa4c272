"""Extraction from many films, which several processes and machines can share."""

import functools
import hashlib
import pickle
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from data.building.workers import showing_progress
from data.files import replacing, writing_to
from data.progress import progress
from hero_jax.extract.films import FoundFilm
from hero_jax.extract.progress import FilmProgress
from hero_jax.extract.work import (
    BUSY,
    NO_ROOM_ADVICE,
    Outcome,
    Setup,
    extract,
    look,
)

SECONDS_BETWEEN_LOOKS = 1.0


def extract_all(
    setup: Setup, films: Sequence[FoundFilm], beam: Sequence[str] = ()
) -> list[Outcome]:
    """Extracts from all films of which something is missing; returns when all are done.

    Other processes may do the same at the same time: each film is done by one of them.

    Args:
      setup: what is extracted.
      films: films with different ids.
      beam: options of an Apache Beam pipeline that does the work.

    Returns:
      What became of each film, in order.

    Raises:
      InputError: a network cannot be loaded, or results cannot be written.
    """
    setup.extractors()
    found = ((film, look(setup, film)) for film in films)
    looked = progress(found, "films looked at", len(films))
    outcomes = {film.video_id: outcome for film, outcome in looked if outcome}
    todo = [film for film in films if film.video_id not in outcomes]
    if todo and beam:
        of_workers = _on_beam(setup, todo, beam)
        outcomes |= {o.film.video_id: o for o in of_workers if o.state != BUSY}
        todo = [film for film in films if film.video_id not in outcomes]
    outcomes |= _here(setup, todo)
    return [outcomes[film.video_id] for film in films]


def _here(setup: Setup, films: Sequence[FoundFilm]) -> dict[str, Outcome]:
    """Extracts in this process, and waits for films that others are at work on."""
    outcomes: dict[str, Outcome] = {}
    told: set[str] = set()
    with FilmProgress(films) as shown:
        while films:
            busy = []
            for film in films:
                outcome = extract(setup, film, functools.partial(shown.within, film))
                if outcome.state == BUSY:
                    busy.append(outcome)
                else:
                    outcomes[film.video_id] = outcome
                    shown.after(film, outcome.seconds)
            films = [outcome.film for outcome in busy]
            for sentence in {outcome.reason for outcome in busy} - told:
                told.add(sentence)
                print(sentence, file=sys.stderr, flush=True)
            if busy:
                time.sleep(SECONDS_BETWEEN_LOOKS)
    return outcomes


def _on_beam(setup: Setup, films: Sequence[FoundFilm], options: Sequence[str]) -> list[Outcome]:
    # Beam takes seconds to import.
    from data.building import beam

    with (
        writing_to(setup.out, NO_ROOM_ADVICE),
        tempfile.TemporaryDirectory(prefix=".beam-", dir=setup.out) as name,
    ):
        folder = Path(name)
        tasks = {f"{number:08d}": (setup, film) for number, film in enumerate(films)}
        results = {_result(folder, film): 1 for film in films}
        with showing_progress(results, "films"):
            beam.do_tasks(folder, _on_worker, tasks, options)
        return [pickle.loads(path.read_bytes()) for path in results]


def _on_worker(folder: Path, task: tuple[Setup, FoundFilm]) -> None:
    """Extracts from a film, and leaves what became of it in a folder."""
    setup, film = task
    outcome = extract(setup, film)
    with replacing(_result(folder, film)) as temporary:
        temporary.write_bytes(pickle.dumps(outcome))


def _result(folder: Path, film: FoundFilm) -> Path:
    return folder / hashlib.sha256(film.video_id.encode()).hexdigest()
