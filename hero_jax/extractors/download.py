"""Downloads files of weights that are known by name, once, to a cache, and checks their hashes."""

import contextlib
import fcntl
import hashlib
import http.client
import math
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from data import hub
from data.arguments import choice
from data.errors import InputError
from data.files import writing_to
from data.progress import progress
from hero_jax.cache import CACHE, cache_folder
from hero_jax.extractors.known import FILES, KnownFile

# The environment's variable of a URL under which the files lie by name.
MIRROR = "HERO_JAX_MIRROR"
_SCHEMES = ("http://", "https://", "file://")

_CHUNK = 1 << 20
_SECONDS_WITHOUT_DATA = 60
_BY_HAND = "download the file by hand and give its path"


class Unavailable(InputError):
    """A file that its source does not give at the moment, or no longer has."""


class _NoSuchRange(Exception):
    """Raised if a server does not send the rest of a file that was asked for."""


class _Cut(Exception):
    """Raised if a connection ends before the file does; `str` is the reason."""


def fetch(network: str) -> Path:
    """Returns the file of a network's weights, which is downloaded unless the cache has it.

    A download that was cut is continued if the server can do so. Another process that downloads the
    same file is waited for. Licences and hashes are printed to standard error.

    Raises:
      InputError: there is no known file for the network, it cannot be downloaded or written, or it
        is not the published one.
    """
    choice(network, "the network to download weights for", FILES)
    *others, last = FILES[network]
    for file in others:
        try:
            return _from(file)
        except Unavailable as error:
            _tell(str(error))
    return _from(last)


def _from(file: KnownFile) -> Path:
    return _from_hub(file) if file.is_on_hub else _from_url(file)


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _from_hub(file: KnownFile) -> Path:
    """Returns a file of the hub's own cache, which it is downloaded to."""
    _tell(f"{file}: {file.licence}")
    try:
        (path,) = hub.fetch(file.source, [file.name], _BY_HAND)
    except InputError as error:
        raise Unavailable(str(error)) from error
    return path


def _from_url(file: KnownFile) -> Path:
    folder = cache_folder()
    path, part = folder / file.name, folder / f".{file.name}.part"
    recorded = folder / f".{file.name}.sha256"
    with writing_to(folder, f"make room, or set {CACHE} to another folder"):
        folder.mkdir(parents=True, exist_ok=True)
        with _alone(folder / f".{file.name}.lock", file.name):
            if path.is_file():
                expected = file.sha256 or (recorded.read_text() if recorded.exists() else "")
                if _sha256(path).startswith(expected):
                    return path
                _tell(f"{path} was changed after it was downloaded: it is downloaded again")
            _tell(f"{file}: {file.licence}")
            url = _url(file)
            _download(url, file.name, part)
            digest = _sha256(part)
            if not digest.startswith(file.sha256):
                part.unlink()
                raise InputError(
                    f"{url} gave a file with the SHA-256 {digest}, which should begin with "
                    f"{file.sha256}: nothing was kept; try again, or {_BY_HAND}"
                )
            recorded.write_text(digest)
            part.replace(path)
            verified = "as published" if file.sha256 else "no hash was published to compare with"
            _tell(f"{path}: SHA-256 {digest} ({verified})")
    return path


def _url(file: KnownFile) -> str:
    """Returns where to download a file from."""
    mirror = os.environ.get(MIRROR, "")
    if mirror and not mirror.startswith(_SCHEMES):
        raise InputError(f"{MIRROR} is {mirror!r}: give a URL that starts with https://")
    return f"{mirror.rstrip('/')}/{file.name}" if mirror else file.source


@contextlib.contextmanager
def _alone(lock: Path, name: str) -> Iterator[None]:
    """Holds a lock, once no other process does; the system releases it when a process ends."""
    with lock.open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _tell(f"Waiting for another process that downloads {name}")
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError as error:
            raise InputError(
                f"{lock} cannot be locked ({error.strerror}): set {CACHE} to a folder on a disk of "
                "this machine"
            ) from error
        yield


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _download(url: str, name: str, part: Path) -> None:
    """Downloads to `part`, from where an earlier download of the same file ended.

    Raises:
      Unavailable: the server cannot be reached, does not have the file, or cuts the connection
        before it has sent anything new. What was sent stays.
    """
    while True:
        before = part.stat().st_size if part.exists() else 0
        try:
            _transfer(url, name, part)
            return
        except _Cut as error:
            after = part.stat().st_size if part.exists() else 0
            if after <= before:
                raise Unavailable(
                    f"{url} could not be downloaded ({error}): check the connection and try again, "
                    f"or {_BY_HAND}"
                ) from error
            _tell(f"{name}: the connection was cut ({error}); resuming the download")


def _transfer(url: str, name: str, part: Path) -> None:
    """Downloads until the end of the file or of the connection, which raises _Cut."""
    # How the server names this state of the file, so that no other's end follows a beginning.
    state = part.with_name(f"{part.name}.state")
    done = part.stat().st_size if part.exists() and state.exists() else 0
    headers = {"User-Agent": "hero_jax"}
    if done:
        headers |= {"Range": f"bytes={done}-", "If-Range": state.read_text()}
    try:
        response = _opened(urllib.request.Request(url, headers=headers))
    except _NoSuchRange:
        # All of it was sent before, or another file.
        part.unlink()
        return _transfer(url, name, part)
    with response:
        if response.headers.get_content_type() == "text/html":
            raise Unavailable(f"{url} answers with a web page: {_BY_HAND}")
        if not done or response.status != http.HTTPStatus.PARTIAL_CONTENT:
            done = 0
            part.unlink(missing_ok=True)
            _keep_state(state, response)
        length = response.headers.get("Content-Length", "")
        total = done + int(length) if length.isdecimal() else None
        with part.open("ab") as out:
            _copy(response, out, name, done, total)
    if total is not None and part.stat().st_size != total:
        raise _Cut(f"{part.stat().st_size} of {total} bytes were sent")
    state.unlink(missing_ok=True)


def _opened(request: urllib.request.Request) -> http.client.HTTPResponse:
    """Returns the answer to a request, whose body begins where it has to."""
    url, headers = request.full_url, request.headers
    try:
        response = urllib.request.urlopen(request, timeout=_SECONDS_WITHOUT_DATA)
    except urllib.error.HTTPError as error:
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and "Range" in headers:
            raise _NoSuchRange from error
        raise Unavailable(f"{url} answers {error.code} ({error.reason}): {_BY_HAND}") from error
    except urllib.error.URLError as error:
        raise _Cut(str(error.reason)) from error
    except (OSError, http.client.HTTPException) as error:
        raise _Cut(str(error) or type(error).__name__) from error
    if response.status == http.HTTPStatus.PARTIAL_CONTENT:
        begin = headers.get("Range", "").removeprefix("bytes=")
        if begin and not response.headers.get("Content-Range", "").startswith(f"bytes {begin}"):
            response.close()
            raise _NoSuchRange
    return response


def _keep_state(state: Path, response: http.client.HTTPResponse) -> None:
    """Writes down how the server names the file's state, if it does."""
    name = response.headers.get("ETag", "")
    if not name or name.startswith("W/"):
        name = response.headers.get("Last-Modified", "")
    state.unlink(missing_ok=True)
    if name:
        state.write_text(name)


def _copy(
    response: http.client.HTTPResponse, out: BinaryIO, name: str, done: int, total: int | None
) -> None:
    """Writes what a server sends, and reports progress in megabytes."""

    def chunks() -> Iterator[bytes]:
        while True:
            try:
                chunk = response.read(_CHUNK)
            except (OSError, http.client.HTTPException) as error:
                raise _Cut(str(error) or type(error).__name__) from error
            if not chunk:
                return
            yield chunk

    count = None if total is None else math.ceil((total - done) / _CHUNK)
    for chunk in progress(chunks(), f"Downloading {name}, MB", count):
        out.write(chunk)
