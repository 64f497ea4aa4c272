"""Cuts long videos into clips of equal length, with the subtitles and moments of each clip.

Clip `N` of a video is named `VIDEO.N`, as in the original's databases of HowTo100M. It lasts from
`N` to `N + 1` times the clip length; the last clip may be shorter.
"""

import math
from collections.abc import Sequence

from data.errors import InputError
from data.report import Report
from data.schema import RawClip, RawSubtitle

# Relative tolerance when a clip's seconds are divided by the seconds per feature.
_ROUNDING = 1e-6
# Length of the clips for which HowTo100M and the annotations about it are published.
PUBLISHED_CLIP_SECONDS = 60.0


def clip_name(video_id: str, number: int) -> str:
    """Returns the id of clip `number` of a video."""
    return f"{video_id}.{number}"


def video_of(clip_id: str) -> str:
    """Returns the id of the video that a clip named by `clip_name` is part of."""
    return clip_id.rpartition(".")[0]


def frames_per_clip(clip_seconds: float, seconds_per_feature: float) -> int:
    """Returns the number of frame features in a clip.

    Raises:
      InputError: it is not a whole number.
    """
    frames = clip_seconds / seconds_per_feature
    if round(frames) < 1 or abs(frames - round(frames)) > _ROUNDING * frames:
        nearest = max(round(frames), 1) * seconds_per_feature
        raise InputError(
            f"clip_seconds={clip_seconds:g} is {frames:g} features of {seconds_per_feature:g} s: "
            f"cut after whole features, as clip_seconds={nearest!r} does"
        )
    return round(frames)


def cut_video(
    video: RawClip, clip_seconds: float, seconds_per_feature: float, report: Report
) -> list[RawClip]:
    """Cuts a video into clips.

    A subtitle that crosses a cut is in both clips, with its times cut there; these are counted in
    `report`. Subtitles after the last frame belong to the last clip.

    Raises:
      InputError: a clip would not have a whole number of features.
    """
    step = frames_per_clip(clip_seconds, seconds_per_feature)
    num_frames = len(video.features[0])
    firsts = range(0, num_frames, step)
    clips = []
    for number, first in enumerate(firsts):
        start = number * clip_seconds
        end = math.inf if first == firsts[-1] else start + clip_seconds
        subtitles = _cut_subtitles(video.subtitles, start, end)
        clips.append(
            RawClip(
                clip_id=clip_name(video.clip_id, number),
                features=tuple(part[first : first + step] for part in video.features),
                subtitles=subtitles,
                video_id=video.clip_id,
                video_start=start,
            )
        )
    crossing = sum(len(clip.subtitles) for clip in clips) - len(video.subtitles)
    report.add("subtitles across a cut: in both clips", count=crossing)
    return clips


def _cut_subtitles(
    subtitles: Sequence[RawSubtitle], start: float, end: float
) -> tuple[RawSubtitle, ...]:
    """Returns the subtitles of a clip from `start` to `end`, in seconds from its start.

    A subtitle without length belongs to the clip in which it starts. A subtitle that starts before
    0 belongs to the first clip.
    """
    return tuple(
        RawSubtitle(
            subtitle.text,
            max(subtitle.start, start) - start if start else subtitle.start,
            min(subtitle.end, end) - start,
            subtitle.token_ids,
        )
        for subtitle in subtitles
        if subtitle.start < end
        and (subtitle.end > start or subtitle.start >= start or (not start and subtitle.end <= 0))
    )


def clip_of_moment(
    moment: tuple[float, float], clip_seconds: float, num_clips: int
) -> tuple[int, tuple[float, float]]:
    """Returns the clip that holds most of a moment, and the part of the moment in it.

    Args:
      moment: start and end in seconds from the start of the video.
      num_clips: number of the video's clips; time after the last clip belongs to it.

    Returns:
      The clip's number, which is the first of those that hold equally much, and start and end in
      seconds from the start of the clip.
    """
    start, end = moment
    first = min(max(int(start // clip_seconds), 0), num_clips - 1)
    last = min(max(int(end // clip_seconds), 0), num_clips - 1)

    def part(number: int) -> tuple[float, float]:
        clip_start = number * clip_seconds
        clip_end = math.inf if number == num_clips - 1 else clip_start + clip_seconds
        return max(start, clip_start) - clip_start, min(end, clip_end) - clip_start

    number = max(range(first, last + 1), key=lambda n: part(n)[1] - part(n)[0])
    return number, part(number)
