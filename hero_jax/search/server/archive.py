"""The model and the index as it is now, and the searches, which one thread runs in batches."""

import dataclasses
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from data.errors import InputError
from data.records.assembly import make_query
from data.schema import Clip, RawQuery
from hero_jax.index import Snapshot, among, open_index
from hero_jax.inference.model import Model
from hero_jax.search import book
from hero_jax.search.engine import check_model, search_encoded
from hero_jax.search.found import FoundMoment
from hero_jax.search.server.api import (
    FilmReply,
    Filters,
    FoundFilmReply,
    LineReply,
    MomentReply,
    SearchReply,
)
from hero_jax.search.server.catalog import Catalog, ListedFilm, is_inside
from hero_jax.search.server.metrics import Metrics
from hero_jax.search.server.scores import film_scores

# Sentences of it are searched for when the server starts, so that no request waits for a compiler.
_WORD = "a"


class Unknown(InputError):
    """There is no such film, clip or picture; the message is a sentence."""


@dataclasses.dataclass(frozen=True)
class Sought:
    """The goal of a search: its vector is computed from it, and its results are described with it.

    filters, said: see `api.SearchRequest`.
    """

    filters: Filters
    said: float = 0.0


@dataclasses.dataclass(frozen=True)
class Moment:
    """A moment of a clip, in seconds of its video."""

    clip_id: str
    start: float
    end: float


@dataclasses.dataclass(frozen=True)
class Opened:
    """The index when it was opened, and its films."""

    index: Snapshot
    catalog: Catalog


class Archive:
    """The searches of an index that may change at any time.

    Attributes:
      model: it searches with this.
      path: of the index.
      videos: folder of the films without symbolic links, None for none.
      now: the index as it was for the last request.
      problem: why the changed index could not be opened; '' if it was.
    """

    def __init__(
        self,
        model: Model,
        path: Path,
        videos: Path | None,
        metrics: Metrics,
        *,
        dataset_pictures: bool = False,
    ):
        """Opens the index and verifies its files.

        Raises:
          InputError: it is damaged, or of another model.
        """
        self.model, self.path, self.videos = model, path, videos
        self._metrics, self._has_pictures = metrics, dataset_pictures
        self.problem = ""
        self._book = book.state_of(path)
        self.now = self._open()
        self.now.index.check()

    def _open(self) -> Opened:
        index = open_index(self.path)
        check_model(self.model, index)
        opened = Opened(index, Catalog(index, self.videos))
        self._metrics.opened(len(index))
        return opened

    def is_stale(self) -> bool:
        """Returns whether the index was changed since it was opened."""
        is_current = self.now.index.is_current() and book.state_of(self.path) == self._book
        return bool(self.problem) or not is_current

    def refresh(self) -> None:
        """Opens the index again if it was changed; one that cannot be opened is tried again."""
        if not self.is_stale():
            return
        state = book.state_of(self.path)
        try:
            self.now, self.problem = self._open(), ""
            self._book = state
        except InputError as error:
            self.problem = str(error)
            self._metrics.not_opened()

    def warm_up(self, most: int) -> None:
        """Searches for every number of short and of long sentences that a batch may have."""
        if not len(self.now.index):
            return
        long = " ".join([_WORD] * (self.model.exported.batch()["max_query_tokens"] // 2))
        count = 1
        while True:
            self.model.encode_queries([long] * min(count, most))
            self.run(Sought(Filters()), [(_WORD, 1)] * min(count, most))
            if count >= most:
                return
            count *= 2

    def film(self, video_id: str) -> ListedFilm:
        """Returns a film; raises Unknown if there is none."""
        film = self.now.catalog.film(video_id)
        if film is None:
            raise Unknown(f"the index has no film {video_id!r}")
        return film

    def file(self, film: ListedFilm) -> Path:
        """Returns the file of a film; raises Unknown without one in the folder of films."""
        if self._plays(film) and film.file:
            return film.file
        raise Unknown(f"there is no file of film {film.video_id!r}")

    def _plays(self, film: ListedFilm) -> bool:
        file = film.file
        return bool(self.videos and file and is_inside(self.videos, file) and file.is_file())

    def describe(self, film: ListedFilm) -> FilmReply:
        """Returns a film for a reply."""
        pictures = bool(film.sha256) or self._has_pictures
        return FilmReply(
            film.video_id, film.start, film.duration, film.day, self._plays(film), pictures
        )

    def check_query(self, text: str) -> None:
        """Raises InputError for a sentence that the model cannot read, or not all of."""
        if not text.strip():
            raise InputError("the query is empty: write what to find")
        most = self.model.exported.batch()["max_query_tokens"]
        tokens = len(make_query(RawQuery("", "", text), "query", self.model.tokenizer).token_ids)
        if tokens > most:
            raise InputError(f"the query has {tokens} tokens, more than {most}: shorten it")

    # What the thread of the device does

    def run(self, kind: Any, items: Sequence[Any]) -> Sequence[Any]:
        """Computes a batch: of searches, or of calls of the model.

        Args:
          kind: a `Sought`, whose items are (sentence or `Moment`, most moments); or a function,
            which is called with each item.
        """
        if isinstance(kind, Sought):
            self.refresh()
            return self._search(kind, items)
        return [kind(self, item) for item in items]

    def _search(self, sought: Sought, items: Sequence[tuple[Any, int]]) -> list[SearchReply]:
        texts = [what for what, _ in items if isinstance(what, str)]
        encoded = iter(self.model.encode_queries(texts))
        vectors = np.stack(
            [next(encoded) if isinstance(what, str) else self._mean(what) for what, _ in items]
        )
        # The best moments are the first of more; one more stands in for a moment itself.
        top = max(most for _, most in items) + 1
        kept = self._kept(sought.filters)
        if kept is not None and not kept.any():
            return [SearchReply([], []) for _ in items]
        sentences = [what if isinstance(what, str) else "" for what, _ in items]
        results = search_encoded(
            self.model, self.now.index, sentences, vectors, top, sought.said, kept
        )
        replies = []
        for (what, most), vector, found in zip(items, vectors, results, strict=True):
            if isinstance(what, Moment):
                found = [one for one in found if not _is_of(one, what)]
            replies.append(self._reply(found[:most], vector))
        return replies

    def _kept(self, filters: Filters) -> np.ndarray | None:
        """Returns which clips may be found; raises InputError for films that are not there."""
        videos: list[str] | None = [*filters.videos] or None
        if filters.since or filters.until:
            first, last = filters.since or date.min, filters.until or date.max
            days = ((name, self.now.catalog.day(name)) for name in videos or self.now.catalog.names)
            videos = [name for name, day in days if day and first <= day <= last]
        return among(self.now.index, videos=videos, folder=filters.folder or None)

    def _mean(self, moment: Moment) -> np.ndarray:
        """Returns the mean of a moment's frames, `[H]`; raises InputError without frames."""
        index, number = self.now.index, self.now.catalog.numbers.get(moment.clip_id)
        if number is None:
            raise Unknown(f"the index has no clip {moment.clip_id!r}")
        clip, step = index.describe(number), index.seconds_per_feature
        first = max(int((moment.start - clip.start) / step + 0.5), 0)
        last = min(int((moment.end - clip.start) / step + 0.5), clip.num_frames)
        if first >= last:
            raise InputError(
                f"clip {moment.clip_id!r} has no frame from {moment.start:g} to {moment.end:g} s: "
                "give a moment that was found"
            )
        return np.asarray(index.block(number, 1)[0, first:last], np.float32).mean(axis=0)

    def _reply(self, found: Sequence[FoundMoment], vector: np.ndarray) -> SearchReply:
        now, temperature = self.now, self.model.exported.ranking.temperature
        films = {one.video_id: self.film(one.video_id) for one in found}
        scores = {name: film_scores(now.index, film, vector) for name, film in films.items()}
        moments = [
            MomentReply(
                one.video_id,
                one.clip_id,
                one.start,
                one.end,
                one.score,
                one.score / found[0].score if found[0].score > 0 else 1.0,
                scores[one.video_id].share(one.start, one.end, temperature),
                [LineReply(line.start, line.end, line.text) for line in one.lines],
            )
            for one in found
        ]
        described = [
            FoundFilmReply(self.describe(film), *scores[name].curve())
            for name, film in films.items()
        ]
        return SearchReply(moments, described)


def _is_of(found: FoundMoment, moment: Moment) -> bool:
    """Checks whether a moment was found by itself, or by another that it overlaps."""
    is_same = found.clip_id == moment.clip_id
    return is_same and found.start < moment.end and found.end > moment.start


# Functions for `Archive.run`
Call = Callable[[Archive, Any], Any]


def refresh(archive: Archive, item: None) -> None:
    """Opens a changed index."""
    archive.refresh()


def best_clip_id(archive: Archive, item: tuple[ListedFilm, str]) -> str:
    """Returns the id of the clip of a film that fits a sentence best."""
    film, text = item
    (vector,) = archive.model.encode_queries([text])
    scores = film_scores(archive.now.index, film, vector)
    second = film.start + (int(np.argmax(scores.cosines)) + 0.5) * scores.step
    return archive.now.catalog.window_at(film, second).clip_id


def answer(archive: Archive, item: tuple[Clip, str, Sequence[str]]) -> Any:
    """Answers a question about a clip."""
    return archive.model.answer(*item)


def judge(archive: Archive, item: tuple[Clip, str]) -> float:
    """Judges a statement about a clip."""
    return archive.model.entails(*item)


def caption(archive: Archive, item: tuple[Clip, tuple[float, float]]) -> str:
    """Describes a moment of a clip."""
    return archive.model.caption(*item)
