"""Long videos are cut into clips of equal length; subtitles and moments are re-timed.

Clip `N` of a video is called `VIDEO.N`, as in the original's databases of HowTo100M, and lasts from
`N` to `N + 1` times the clips' length; the last may be shorter.
"""

import math
from collections.abc import Sequence

from data.errors import InputError
from data.report import Report
from data.schema import RawClip, RawSubtitle

# A clip's frames are a whole number of features, up to the rounding of its seconds.
_ROUNDING = 1e-6
# Of the clips that HowTo100M, and the annotations about it, are published for.
PUBLISHED_CLIP_SECONDS = 60.0


def clip_name(video_id: str, number: int) -> str:
    """The id of clip `number` of a video."""
    return f"{video_id}.{number}"


def video_of(clip_id: str) -> str:
    """The id of the video that `clip_name` was given."""
    return clip_id.rpartition(".")[0]


def frames_per_clip(clip_seconds: float, seconds_per_feature: float) -> int:
    """How many features a clip has; InputError if that is no whole number."""
    frames = clip_seconds / seconds_per_feature
    if round(frames) < 1 or abs(frames - round(frames)) > _ROUNDING * frames:
        nearest = max(round(frames), 1) * seconds_per_feature
        raise InputError(
            f"--clip_seconds={clip_seconds:g} is {frames:g} features of {seconds_per_feature:g} s: "
            f"cut after whole features, as --clip_seconds={nearest!r} does"
        )
    return round(frames)


def cut_video(
    video: RawClip, clip_seconds: float, seconds_per_feature: float, report: Report
) -> list[RawClip]:
    """The clips of a video. A subtitle that crosses a cut is in both clips, its times cut there.

    What the source says of the time after the last frame stays with the last clip.
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
    """The subtitles that are on between two seconds, in time from the first of them.

    One without length belongs where it begins. What begins before 0 belongs to the first clip.
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
    """The clip that holds most of a moment, the first of such, and the part of the moment in it.

    Args:
      moment: first and last second, in time of the video.
      num_clips: of the video; what comes after the last belongs to it.
    """
    start, end = moment
    first = min(max(int(start // clip_seconds), 0), num_clips - 1)
    last = min(max(int(end // clip_seconds), 0), num_clips - 1)

    def part(number: int) -> tuple[float, float]:
        begins = number * clip_seconds
        stops = math.inf if number == num_clips - 1 else begins + clip_seconds
        return max(start, begins) - begins, min(end, stops) - begins

    number = max(range(first, last + 1), key=lambda n: part(n)[1] - part(n)[0])
    return number, part(number)
