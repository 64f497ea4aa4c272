"""Film files by HTTP ranges, thumbnails, and subtitles as a player reads them."""

import functools
import html
import io
import mimetypes
import os
import re
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

import anyio.to_thread
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from data.files import file_state
from data.text import plain
from hero_jax.index import Line
from hero_jax.search import thumbnails
from hero_jax.search.pictures import Pictures
from hero_jax.search.server.archive import Archive, Unknown
from hero_jax.search.server.catalog import ListedFilm

CHUNK = 1 << 18
_RANGE = re.compile(r"bytes=\s*([0-9]{0,18})\s*-\s*([0-9]{0,18})\s*", re.IGNORECASE)
_SIGNATURES = {"image/png": b"\x89PNG\r\n\x1a\n", "image/jpeg": b"\xff\xd8\xff"}
# Films whose lists of thumbnails are kept.
_FILMS_KEPT = 256
# A browser asks again for what may have changed, and is told if it has not.
_ASK_AGAIN = {"cache-control": "no-cache"}


class Unsatisfiable(Exception):
    """A range begins behind the end of a file."""


def byte_range(header: str | None, size: int) -> tuple[int, int] | None:
    """Returns first byte and number of bytes that a Range header asks for, None for all.

    What is no single range of bytes is ignored, as RFC 9110 (14.2) has it.

    Raises:
      Unsatisfiable: the range has no byte of a file of this size.
    """
    found = _RANGE.fullmatch(header or "")
    if not found or not any(found.groups()):
        return None
    first, last = (int(one) if one else None for one in found.groups())
    if first is None:
        count = min(last or 0, size)
        if not count:
            raise Unsatisfiable
        return size - count, count
    if last is not None and last < first:
        return None
    if first >= size:
        raise Unsatisfiable
    return first, min(size - 1 if last is None else last, size - 1) - first + 1


async def film_response(request: Request, path: Path) -> Response:
    """Returns a film, or the range of it that is asked for.

    Raises:
      Unknown: the file cannot be opened.
    """
    try:
        file = await anyio.to_thread.run_sync(io.FileIO, path)
        status = os.fstat(file.fileno())
    except OSError as error:
        raise Unknown(f"{path.name} cannot be opened ({error.strerror})") from error
    tag = f'"{status.st_size:x}-{status.st_mtime_ns:x}-{status.st_ino:x}"'
    headers = {"accept-ranges": "bytes", "etag": tag, **_ASK_AGAIN}
    if tag in request.headers.get("if-none-match", ""):
        file.close()
        return Response(status_code=304, headers=headers)
    # Another version than the one that a client has a part of is sent whole.
    is_same = request.headers.get("if-range", tag) == tag
    asked = request.headers.get("range") if is_same else None
    try:
        part = byte_range(asked, status.st_size)
    except Unsatisfiable:
        file.close()
        headers["content-range"] = f"bytes */{status.st_size}"
        return Response(status_code=416, headers=headers)
    first, count = part or (0, status.st_size)
    if part:
        headers["content-range"] = f"bytes {first}-{first + count - 1}/{status.st_size}"
    headers["content-length"] = str(count)
    kind = mimetypes.guess_type(path.name)[0] or ""
    return StreamingResponse(
        _content(file, first, 0 if request.method == "HEAD" else count),
        206 if part else 200,
        headers,
        kind if kind.startswith(("video/", "audio/")) else "application/octet-stream",
    )


async def _content(file: io.FileIO, first: int, count: int) -> AsyncIterator[bytes]:
    """Yields bytes of a file, and closes it."""

    def read() -> bytes:
        return file.read(min(count, CHUNK))

    try:
        file.seek(first)
        while count and (chunk := await anyio.to_thread.run_sync(read)):
            count -= len(chunk)
            yield chunk
    finally:
        file.close()


def picture_response(request: Request, picture: bytes, tag: str) -> Response:
    """Returns a PNG or JPEG file; raises Unknown if the picture is neither."""
    for kind, signature in _SIGNATURES.items():
        if picture.startswith(signature):
            headers = {"etag": tag, **_ASK_AGAIN}
            if tag in request.headers.get("if-none-match", ""):
                return Response(status_code=304, headers=headers)
            return Response(picture, 200, headers, kind)
    raise Unknown("the picture is neither PNG nor JPEG")


class FilmStills:
    """Small pictures of the films of an index, or of the clips of a dataset."""

    def __init__(self, archive: Archive, pictures: Pictures | None):
        """Takes the pictures of a dataset, None for those of films."""
        self._archive, self._pictures = archive, pictures
        self._times = functools.lru_cache(_FILMS_KEPT)(_times)

    def at(self, film: ListedFilm, second: float) -> tuple[bytes, str]:
        """Returns the picture of a film that is nearest to a second, and its tag.

        Raises:
          Unknown: there is none.
        """
        if self._pictures:
            clip_id = self._archive.now.catalog.window_at(film, second).clip_id
            picture = self._pictures.at(clip_id, second)
            if picture:
                return picture, f'"{len(picture):x}-{hash(picture) & 0xFFFFFFFFFFFF:x}"'
        elif film.sha256:
            path = thumbnails.path_of(self._archive.path, film.sha256)
            times = self._times(path, file_state(path))
            if times:
                nearest = min(times, key=lambda time: abs(time - 1000 * second))
                for _, picture in thumbnails.read(path, [nearest]):
                    return picture, f'"{film.sha256[:16]}-{nearest}"'
        raise Unknown(f"there is no picture of film {film.video_id!r} at {second:g} s")


def _times(path: Path, state: object) -> list[int]:
    """Returns the times of pictures, which are those of one state of their file."""
    return thumbnails.times_of(path) if state else []


def subtitles(lines: Iterable[Line]) -> str:
    """Returns subtitles in the form of WebVTT."""
    cues = [
        f"{_time(line.start)} --> {_time(max(line.end, line.start + 0.001))}\n"
        f"{html.escape(plain(line.text), quote=False)}\n"
        for line in lines
    ]
    return "\n".join(["WEBVTT\n", *cues])


def _time(seconds: float) -> str:
    milliseconds = round(1000 * max(seconds, 0))
    minutes, rest = divmod(milliseconds, 60_000)
    return f"{minutes // 60:02}:{minutes % 60:02}:{rest // 1000:02}.{rest % 1000:03}"
