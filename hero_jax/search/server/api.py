"""Requests and replies of the JSON API. Field names are those of the JSON."""

import datetime
from typing import Annotated

from msgspec import Meta, Struct

LONGEST_QUERY = 1000
MOST_MOMENTS = 100
_Text = Annotated[str, Meta(min_length=1, max_length=LONGEST_QUERY)]
_Id = Annotated[str, Meta(min_length=1, max_length=4096)]
_Second = Annotated[float, Meta(ge=0, le=1e7)]
_Top = Annotated[int, Meta(ge=1, le=MOST_MOMENTS)]


class Request(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A request; a field that it does not have is refused."""


class Nothing(Request, frozen=True):
    """Takes nothing."""


class Filters(Request, frozen=True):
    """Films to search.

    videos: ids of films; none for all.
    folder: a folder of films, with the folders in it.
    since, until: days on which their files were changed last.
    """

    videos: Annotated[tuple[_Id, ...], Meta(max_length=100)] = ()
    folder: Annotated[str, Meta(max_length=4096)] = ""
    since: datetime.date | None = None
    until: datetime.date | None = None


class SearchRequest(Request, frozen=True):
    """A sentence to find.

    top: most moments.
    said: from 0, by what is seen alone, to 1, by what is said alone.
    """

    query: _Text
    top: _Top = 20
    said: Annotated[float, Meta(ge=0, le=1)] = 0.0
    filters: Filters = Filters()


class SimilarRequest(Request, frozen=True):
    """A moment to find others like it: its clip, and seconds of its film."""

    clip_id: _Id
    start: _Second
    end: _Second
    top: _Top = 20
    filters: Filters = Filters()


class QuestionRequest(Request, frozen=True):
    """A question about a film, and answers to choose from.

    clip_id: the clip of the film to look at; '' for the one that fits the question best.
    """

    video_id: _Id
    question: _Text
    answers: Annotated[tuple[_Text, ...], Meta(min_length=2, max_length=10)]
    clip_id: Annotated[str, Meta(max_length=4096)] = ""


class StatementRequest(Request, frozen=True):
    """A statement about a film; clip_id is as in a question."""

    video_id: _Id
    statement: _Text
    clip_id: Annotated[str, Meta(max_length=4096)] = ""


class CaptionRequest(Request, frozen=True):
    """A moment of a film to describe, in seconds of the film."""

    video_id: _Id
    start: _Second
    end: _Second


class FilmsRequest(Request, frozen=True):
    """A page of the list of films: those after an id whose ids contain a text."""

    after: Annotated[str, Meta(max_length=4096)] = ""
    containing: Annotated[str, Meta(max_length=LONGEST_QUERY)] = ""
    limit: Annotated[int, Meta(ge=1, le=1000)] = 100


class FilmRequest(Request, frozen=True):
    """A film."""

    id: _Id


class ThumbnailRequest(Request, frozen=True):
    """A second of a film."""

    id: _Id
    second: _Second


class AddRequest(Request, frozen=True):
    """A film or folder in the folder of films, by its path there; '' for all of it."""

    path: Annotated[str, Meta(max_length=4096)] = ""


class UploadRequest(Request, frozen=True):
    """The name of a file to write."""

    name: Annotated[str, Meta(min_length=1, max_length=255)]


class EventsRequest(Request, frozen=True):
    """An addition, by the number that its start replied."""

    number: Annotated[int, Meta(ge=1, le=1 << 53)]


class LineReply(Struct, frozen=True):
    """A subtitle."""

    start: float
    end: float
    text: str


class MomentReply(Struct, frozen=True):
    """A moment that was found.

    score: as the library has it, comparable within a search.
    of_best: share of the best moment's score.
    of_film: share of what the film shows of the query; see `scores.FilmScores.share`.
    """

    video_id: str
    clip_id: str
    start: float
    end: float
    score: float
    of_best: float
    of_film: float
    lines: list[LineReply]


class FilmReply(Struct, frozen=True):
    """A film.

    start, duration: seconds at which its first clip begins, and at which it ends.
    day: on which its file was changed last.
    plays: whether its file is there.
    pictures: whether there may be thumbnails.
    """

    video_id: str
    start: float
    duration: float
    day: datetime.date | None
    plays: bool
    pictures: bool


class FoundFilmReply(Struct, frozen=True):
    """A film of the moments found, and its curve.

    step: seconds from one point of the curve to the next.
    curve: the cosine of the query with each frame, or with the best of several; null for none.
    """

    film: FilmReply
    step: float
    curve: list[float | None]


class SearchReply(Struct, frozen=True):
    """Moments that were found, the best first, and their films in that order."""

    moments: list[MomentReply]
    films: list[FoundFilmReply]


class AnswerReply(Struct, frozen=True):
    """The answer to a question.

    best: number of the likeliest answer.
    clip_id, start, end: where it is shown, in seconds of the film.
    """

    probabilities: list[float]
    best: int
    clip_id: str
    start: float
    end: float


class StatementReply(Struct, frozen=True):
    """The probability that a statement is true of a clip."""

    probability: float
    clip_id: str


class CaptionReply(Struct, frozen=True):
    """A sentence about a moment."""

    caption: str


class FilmsReply(Struct, frozen=True):
    """A page of the list of films; `more` says whether others follow."""

    films: list[FilmReply]
    more: bool


class AboutReply(Struct, frozen=True):
    """A description of what is served.

    tasks: what the model does besides searching: answer, judge, caption.
    folders: of films.
    adds: whether films can be added.
    """

    clips: int
    films: int
    tasks: list[str]
    folders: list[str]
    adds: bool


class HealthReply(Struct, frozen=True):
    """Whether requests are answered from the index as it is now."""

    status: str
    clips: int
    waiting: int


class AdditionReply(Struct, frozen=True):
    """The number of an addition, whose events tell its progress."""

    number: int


class UploadReply(Struct, frozen=True):
    """The path in the folder of films that an upload was written to."""

    path: str


class ErrorReply(Struct, frozen=True):
    """Why a request was not answered, in a sentence."""

    error: str
