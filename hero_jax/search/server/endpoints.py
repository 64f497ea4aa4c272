"""The routes of a server, and what each does."""

import asyncio
import contextlib
from typing import Any

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from data.errors import InputError
from hero_jax.search.server import api, archive
from hero_jax.search.server.archive import Archive, Moment, Sought, Unknown
from hero_jax.search.server.batching import Batcher, Busy, Late
from hero_jax.search.server.catalog import ListedFilm
from hero_jax.search.server.contents import Contents
from hero_jax.search.server.intake import Intake
from hero_jax.search.server.media import (
    FilmStills,
    film_response,
    picture_response,
    subtitles,
)
from hero_jax.search.server.metrics import Metrics
from hero_jax.search.server.routes import BYTES, Endpoint, JsonResponse

# Kinds of tasks, and the names that the page has for them.
TASKS = {"question_answering": "answer", "inference": "judge", "captioning": "caption"}


# Seconds between two looks at whether the index was changed.
WATCH = 1.0


class Service:
    """The routes of a server.

    Attributes:
      batcher: computes what they ask for.
      closing: set when the server is about to stop.
    """

    def __init__(
        self,
        searched: Archive,
        batcher: Batcher,
        metrics: Metrics,
        thumbnails: FilmStills,
        contents: Contents | None,
        intake: Intake | None,
    ):
        """Takes what the routes use.

        Args:
          contents: without, the model's tasks are not offered.
          intake: without, films cannot be added.
        """
        self.batcher, self.closing = batcher, asyncio.Event()
        self._archive, self._metrics = searched, metrics
        self._thumbnails, self._contents, self._intake = thumbnails, contents, intake
        self._watcher: asyncio.Task | None = None
        kinds = {task.kind for task in searched.model.tasks.values()} if contents else set()
        self._tasks = [name for kind, name in TASKS.items() if kind in kinds]

    def endpoints(self) -> list[Endpoint]:
        """Returns the routes."""
        busy = (503, 504)
        routes = [
            Endpoint(
                "/api/about", "GET", api.Nothing, api.AboutReply, self._about, "What is served."
            ),
            Endpoint(
                *("/api/search", "POST", api.SearchRequest, api.SearchReply, self._search),
                "Finds the moments that a sentence describes.",
                busy,
            ),
            Endpoint(
                *("/api/similar", "POST", api.SimilarRequest, api.SearchReply, self._similar),
                "Finds the moments that resemble one.",
                (404, *busy),
            ),
            Endpoint(
                *("/api/films", "GET", api.FilmsRequest, api.FilmsReply, self._films),
                "Lists the films by their ids.",
            ),
            Endpoint(
                *("/film", "GET", api.FilmRequest, "video/*", self._film),
                "Returns the file of a film, or a range of its bytes.",
                (206, 304, 404, 416),
            ),
            Endpoint(
                *("/thumbnail", "GET", api.ThumbnailRequest, "image/*", self._thumbnail),
                "Returns the picture of a film that is nearest to a second.",
                (304, 404),
            ),
            Endpoint(
                *("/subtitles", "GET", api.FilmRequest, "text/vtt", self._subtitles),
                "Returns the subtitles of a film.",
                (404,),
            ),
            Endpoint(
                *("/api/health", "GET", api.Nothing, api.HealthReply, self._health),
                "Says whether the index is served as it is now.",
                (503,),
            ),
            Endpoint(
                *("/metrics", "GET", api.Nothing, "text/plain", self._text),
                "Returns counts for Prometheus.",
            ),
        ]
        return routes + self._task_endpoints((404, *busy)) + self._intake_endpoints()

    def _task_endpoints(self, errors: tuple[int, ...]) -> list[Endpoint]:
        """Returns the routes of the model's tasks."""
        routes = {
            "answer": Endpoint(
                *("/api/answer", "POST", api.QuestionRequest, api.AnswerReply, self._answer),
                "Chooses the answer to a question about a film.",
                errors,
            ),
            "judge": Endpoint(
                *("/api/judge", "POST", api.StatementRequest, api.StatementReply, self._judge),
                "Says how probable a statement about a film is.",
                errors,
            ),
            "caption": Endpoint(
                *("/api/caption", "POST", api.CaptionRequest, api.CaptionReply, self._caption),
                "Describes a moment of a film in a sentence.",
                errors,
            ),
        }
        return [routes[name] for name in self._tasks]

    def _intake_endpoints(self) -> list[Endpoint]:
        """Returns the routes by which films are added."""
        if not self._intake:
            return []
        return [
            Endpoint(
                *("/api/upload", "POST", api.UploadRequest, api.UploadReply, self._upload),
                "Writes a film or a file of subtitles, which is the body, to the folder of films.",
                content_type=BYTES,
            ),
            Endpoint(
                *("/api/add", "POST", api.AddRequest, api.AdditionReply, self._add),
                "Adds a film or folder of the folder of films to the index.",
                (404,),
            ),
            Endpoint(
                *("/api/events", "GET", api.EventsRequest, "text/event-stream", self._events),
                "Tells the progress of an addition, and what became of it.",
                (404,),
            ),
        ]

    # Starting and stopping

    async def start(self) -> None:
        """Begins to take requests, and to look for changes of the index."""
        self.batcher.start()
        self._watcher = asyncio.get_running_loop().create_task(self._watch())

    async def stop(self) -> None:
        """Ends what is going on."""
        if self._watcher:
            self._watcher.cancel()
        await self.batcher.close()
        if self._intake:
            await asyncio.to_thread(self._intake.close)

    async def _watch(self) -> None:
        """Opens the index again when it was changed, also if nobody searches."""
        while True:
            await asyncio.sleep(WATCH)
            if self._archive.is_stale():
                # Requests that wait open it themselves.
                with contextlib.suppress(Busy, Late):
                    await self.batcher.submit(archive.refresh, None)

    # Searching

    async def _search(self, request: Request, given: api.SearchRequest) -> Any:
        self._archive.check_query(given.query)
        sought = Sought(given.filters, given.said)
        return await self.batcher.submit(sought, (given.query, given.top))

    async def _similar(self, request: Request, given: api.SimilarRequest) -> Any:
        moment = Moment(given.clip_id, given.start, given.end)
        return await self.batcher.submit(Sought(given.filters), (moment, given.top))

    # Tasks

    async def _clip(self, film: ListedFilm, clip_id: str, text: str) -> tuple[Any, str, float]:
        """Returns a clip of a film by its id, or the one that fits a text; its id and start."""
        if not clip_id:
            self._archive.check_query(text)
            clip_id = await self.batcher.submit(archive.best_clip_id, (film, text))
        elif self._archive.now.catalog.numbers.get(clip_id) not in film.numbers:
            raise Unknown(f"film {film.video_id!r} has no clip {clip_id!r}")
        assert self._contents
        try:
            async with asyncio.timeout(self.batcher.bounds.deadline):
                clip, start = await self._contents.window(film, clip_id)
        except TimeoutError as error:
            raise Late from error
        return clip, clip_id, start

    async def _answer(self, request: Request, given: api.QuestionRequest) -> Any:
        film = self._archive.film(given.video_id)
        clip, clip_id, start = await self._clip(film, given.clip_id, given.question)
        item = (clip, given.question, given.answers)
        found = await self.batcher.submit(archive.answer, item)
        first, last = found.moment
        probabilities = [float(one) for one in found.probabilities]
        return api.AnswerReply(probabilities, found.best, clip_id, start + first, start + last)

    async def _judge(self, request: Request, given: api.StatementRequest) -> Any:
        film = self._archive.film(given.video_id)
        clip, clip_id, _ = await self._clip(film, given.clip_id, given.statement)
        probability = await self.batcher.submit(archive.judge, (clip, given.statement))
        return api.StatementReply(float(probability), clip_id)

    async def _caption(self, request: Request, given: api.CaptionRequest) -> Any:
        film, middle = self._archive.film(given.video_id), (given.start + given.end) / 2
        clip_id = self._archive.now.catalog.window_at(film, middle).clip_id
        clip, _, start = await self._clip(film, clip_id, "")
        seconds = len(clip.frame_features) * self._archive.model.features.seconds_per_feature
        moment = max(given.start - start, 0.0), min(given.end - start, seconds)
        if not moment[0] < moment[1]:
            raise InputError(f"film {film.video_id!r} has no such moment: name seconds of it")
        return api.CaptionReply(await self.batcher.submit(archive.caption, (clip, moment)))

    # Films

    async def _films(self, request: Request, given: api.FilmsRequest) -> Any:
        films: list[api.FilmReply] = []
        for film in self._archive.now.catalog.after(given.after, given.containing):
            if len(films) == given.limit:
                return api.FilmsReply(films, more=True)
            films.append(self._archive.describe(film))
        return api.FilmsReply(films, more=False)

    async def _film(self, request: Request, given: api.FilmRequest) -> Response:
        return await film_response(request, self._archive.file(self._archive.film(given.id)))

    async def _thumbnail(self, request: Request, given: api.ThumbnailRequest) -> Response:
        film = self._archive.film(given.id)
        picture, tag = await asyncio.to_thread(self._thumbnails.at, film, given.second)
        return picture_response(request, picture, tag)

    async def _subtitles(self, request: Request, given: api.FilmRequest) -> Response:
        lines = self._archive.now.catalog.lines(self._archive.film(given.id))
        return Response(subtitles(lines), media_type="text/vtt")

    # Adding

    async def _upload(self, request: Request, given: api.UploadRequest) -> Any:
        assert self._intake
        return api.UploadReply(await self._intake.upload(given.name, request.stream()))

    async def _add(self, request: Request, given: api.AddRequest) -> Any:
        assert self._intake
        return api.AdditionReply(self._intake.start(given.path))

    async def _events(self, request: Request, given: api.EventsRequest) -> Response:
        assert self._intake
        events = self._intake.events(given.number, self.closing)
        return StreamingResponse(events, media_type="text/event-stream")

    # The server

    async def _about(self, request: Request, given: api.Nothing) -> Any:
        now = self._archive.now
        return api.AboutReply(
            len(now.index),
            len(now.catalog.names),
            self._tasks,
            now.catalog.folders,
            self._intake is not None,
        )

    async def _health(self, request: Request, given: api.Nothing) -> Any:
        if self._archive.problem:
            return JsonResponse(api.ErrorReply(self._archive.problem), 503)
        return api.HealthReply("ok", len(self._archive.now.index), len(self.batcher.waiting))

    async def _text(self, request: Request, given: api.Nothing) -> Response:
        return Response(self._metrics.text(len(self.batcher.waiting)), media_type="text/plain")
