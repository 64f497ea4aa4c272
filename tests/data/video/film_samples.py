"""Writes small films of any kind for tests."""

from fractions import Fraction
from typing import NamedTuple

import av
import numpy as np

SIZE = (32, 24)
# Options of codecs: every frame by itself, or as quick as can be.
_ENCODERS = {"ffv1": {"g": "1"}, "libx264": {"qp": "0", "preset": "ultrafast"}}
# What encoders of subtitles are opened with.
_FIELDS = "Name, Fontname, Fontsize, PrimaryColour, Bold, Italic, Underline, Alignment"
_STYLES = f"""[Script Info]
ScriptType: v4.00+

[V4+ Styles]
Format: {_FIELDS}
Style: Default,Arial,16,&Hffffff,0,0,0,2

[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
""".encode()


class Words(NamedTuple):
    """A track of subtitles: cues are (start, end, text) in seconds, sorted."""

    codec: str
    cues: tuple
    language: str = ""
    is_default: bool = False
    is_forced: bool = False


def grey_frames(num_frames, size=SIZE):
    """Returns frames of one grey each, uint8 `[frames, h, w, 3]`, which `grey_numbers` reads."""
    assert num_frames <= 256
    levels = np.arange(num_frames, dtype=np.uint8)[:, None, None, None]
    return np.broadcast_to(levels, (num_frames, size[1], size[0], 3))


def grey_numbers(rows):
    """Returns the numbers of the frames of `grey_frames` that rows show, whatever their shape."""
    assert (rows.min((-3, -2, -1)) == rows.max((-3, -2, -1))).all()
    return rows[..., 0, 0, 0]


def quarters(size=SIZE):
    """Returns a frame whose quarters are red, green (above), blue and white (below)."""
    frame = np.zeros((size[1], size[0], 3), np.uint8)
    y, x = size[1] // 2, size[0] // 2
    frame[:y, :x, 0] = frame[:y, x:, 1] = frame[y:, :x, 2] = 255
    frame[y:, x:] = 255
    return frame


def write_film(
    path,
    frames,
    rate=25,
    codec="ffv1",
    pixels="bgr0",
    times=None,
    rotation=0,
    sound=0.0,
    words=(),
    cover=False,
    container=None,
    options=None,
    tags=None,
    encoder=None,
):
    """Writes a film; the defaults keep every pixel in a .mkv file.

    Args:
      frames: uint8 `[frames, h, w, 3]`.
      rate: frames a second, a whole number or a Fraction.
      times: milliseconds of each frame, None for the times of `rate`.
      rotation: degrees, 90, 180 or 270; in a .mp4 file.
      sound: seconds of silence.
      words: tracks of subtitles.
      cover: whether a picture is attached before the film.
      container: its format, None for the one of the path's name.
      options: those of the container.
      tags: what the film's stream states.
      encoder: options of the codec.
    """
    with av.open(str(path), "w", format=container, options=options or {}) as film:
        attached = _stream(film, "png", 1, quarters((100, 80)), "rgb24") if cover else None
        if cover:
            attached.disposition = av.stream.Disposition.attached_pic
        stream = _stream(film, codec, rate, frames[0], pixels)
        stream.metadata.update(tags or {})
        if rotation:
            stream.set_display_rotation(rotation)
        stream.options = encoder or _ENCODERS.get(codec, {})
        audio = film.add_stream("pcm_s16le" if sound else "aac", rate=8000) if sound else None
        tracks = [_track(film, track) for track in words]
        unit = Fraction(1, 1000) if times else 1 / Fraction(rate)
        if cover:
            _encode(film, attached, quarters((100, 80)), 0, Fraction(1))
        packets = [p for t, s in zip(words, tracks, strict=True) for p in _packets(t, s)]
        for number, frame in enumerate(frames):
            _encode(film, stream, frame, times[number] if times else number, unit)
        film.mux(stream.encode(None))
        if audio:
            _silence(film, audio, sound)
        for packet in packets:
            film.mux(packet)
    return path


def _stream(film, codec, rate, frame, pixels):
    stream = film.add_stream(codec, rate=rate)
    stream.height, stream.width = frame.shape[:2]
    stream.pix_fmt = pixels
    return stream


def _encode(film, stream, pixels, time, unit):
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
    frame.pts, frame.time_base = time, unit
    film.mux(stream.encode(frame))


def _silence(film, stream, seconds):
    frame = av.AudioFrame.from_ndarray(
        np.zeros((1, round(8000 * seconds)), np.int16), layout="mono"
    )
    frame.sample_rate, frame.pts = 8000, 0
    film.mux(stream.encode(frame))
    film.mux(stream.encode(None))


def _track(film, track):
    stream = film.add_stream(track.codec)
    stream.codec_context.subtitle_header = _STYLES
    if track.language:
        stream.metadata["language"] = track.language
    kinds = av.stream.Disposition
    stream.disposition = (kinds.default if track.is_default else kinds(0)) | (
        kinds.forced if track.is_forced else kinds(0)
    )
    return stream


def _packets(track, stream):
    for number, (start, end, text) in enumerate(track.cues):
        content = text.encode()
        if track.codec == "mov_text":
            content = len(content).to_bytes(2, "big") + content
        elif track.codec == "ass":
            content = f"{number},0,Default,,0,0,0,,{text}".encode()
        packet = av.Packet(content)
        packet.stream, packet.time_base = stream, Fraction(1, 1000)
        packet.pts = packet.dts = round(1000 * start)
        packet.duration = round(1000 * (end - start))
        yield packet
