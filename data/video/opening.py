"""Opens files as films, and refuses in a sentence what is none."""

import math
from fractions import Fraction
from pathlib import Path

import av

from data.errors import InputError

# Pixels of a frame up to which films are decoded unless the caller says otherwise; 8K has 33 to 36
# millions. A frame takes 1.5 to 8 bytes a pixel, and a decoder keeps up to twenty.
MAX_PIXELS = 40_000_000
# Forms that name other files or addresses instead of holding a film.
_LISTS = frozenset(("concat", "dash", "hls", "imf", "sdp", "rtsp"))


def open_container(path: Path, max_pixels: int = MAX_PIXELS) -> av.container.InputContainer:
    """Opens a file; nothing but this file is ever read.

    Raises:
      InputError: it is missing, no file, or of a form that is not known.
    """
    if not path.exists():
        raise InputError(f"{path} does not exist: check its name")
    if not path.is_file():
        raise InputError(f"{path} is {'a folder' if path.is_dir() else 'no file'}: give a film")
    if not path.stat().st_size:
        raise InputError(f"{path} is empty: copy it again")
    try:
        container = av.open(
            f"file:{path}",
            # Decoders that look into streams obey the limit too. Missing times are guessed by the
            # decoder, which knows the order of frames, not by the container.
            options={
                "max_pixels": str(max_pixels),
                "protocol_whitelist": "file",
                "fflags": "-genpts",
            },
            metadata_errors="replace",
        )
    except (av.error.FFmpegError, MemoryError) as error:
        reason = getattr(error, "strerror", None) or "no memory"
        raise InputError(
            f"{path} cannot be opened as a film ({reason}): it is incomplete, damaged or no film"
        ) from error
    if _LISTS & {*container.format.name.split(",")}:
        container.close()
        raise InputError(f"{path} is a list of other files: give the films themselves")
    return container


def video_stream(
    container: av.container.InputContainer, path: Path, max_pixels: int
) -> av.VideoStream:
    """Returns the first video stream that is no attached picture, ready to be decoded.

    Raises:
      InputError: there is none that can be decoded, or its frames are too large.
    """
    cover = av.stream.Disposition.attached_pic
    streams = [stream for stream in container.streams.video if not stream.disposition & cover]
    if not streams:
        kinds = sorted({stream.type for stream in container.streams if stream.type})
        what = "a cover picture but no film" if container.streams.video else "no video stream"
        held = f" (only {', '.join(kinds)})" if kinds and not container.streams.video else ""
        raise InputError(f"{path} has {what}{held}: give a file with a picture")
    stream = streams[0]
    context = stream.codec_context
    if context is None:
        raise InputError(f"{path} has a codec that is not known: convert it to H.264 or VP9")
    if any(name.lower() == "enc_key_id" for name in stream.metadata):  # As WebM says it.
        raise InputError(f"{path} is encrypted: give a copy without protection")
    # FFmpeg takes back sizes over the limit.
    if not 0 < context.width * context.height <= max_pixels:
        raise InputError(
            f"{path}: its frames are damaged, or have more than {max_pixels:,} pixels, the limit: "
            "make it smaller, or raise the limit"
        )
    context.options = {"max_pixels": str(max_pixels)}
    context.thread_type = "AUTO"
    return stream


def start_of(container: av.container.InputContainer, time_base: Fraction) -> int:
    """Returns when a film starts: what FFmpeg's command line subtracts from every time.

    Args:
      time_base: seconds of a unit of the result.
    """
    start = Fraction(container.start_time or 0, av.time_base)
    return math.floor(start / time_base + Fraction(1, 2))
