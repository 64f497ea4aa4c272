"""A clip as text: what is said when, and the queries about it."""

from collections.abc import Iterator, Sequence

from data.networks import in_words
from data.pipeline.segments import moment_span
from data.schema import Query
from data.show.shown import Shown, runs, truth
from data.text import plain
from data.times import clock


def describe(shown: Shown) -> str:
    """Returns a clip as text: its metadata, its time line and the queries about it."""
    clip, metadata = shown.clip, shown.metadata
    video = "a whole video"
    if clip.video_id:
        video = f"{plain(clip.video_id)} from {clock(clip.video_start, tenths=True)}"
    frames, width = clip.frame_features.shape
    parts = " + ".join(map(str, metadata.feature_widths))
    return "\n".join(
        [
            f"clip    {plain(clip.clip_id)} ({shown.split}, record {shown.number} of {shown.size})",
            f"video   {video}",
            f"lasts   {clock(clip.duration, tenths=True)} ({clip.duration:g} s)",
            f"frames  {frames} × {width} ({parts}), one every {metadata.seconds_per_feature:g} s; "
            f"{len(clip.frame_images)} images",
            f"made by {in_words(metadata.features)}",
            "",
            f"subtitles: {len(clip.subtitle_texts)}",
            *_time_line(shown),
            "",
            f"queries: {len(shown.queries)}",
            *(line for query in shown.queries for line in _describe_query(shown, query)),
        ]
    )


def _time_line(shown: Shown) -> Iterator[str]:
    """Yields a line for every subtitle, and for every silence of a frame or longer."""
    clip, step = shown.clip, shown.metadata.seconds_per_feature
    free = shown.frames_of(-1)

    def silence(start: float, end: float) -> Iterator[str]:
        if end - start >= step:
            frames = [i for i in free if start <= (i + 0.5) * step < end]
            yield f"  {_times(start, end)}  {_frames(frames):<16} (no subtitle)"

    said_until = 0.0
    times = zip(clip.subtitle_starts.tolist(), clip.subtitle_ends.tolist(), strict=True)
    for index, (start, end) in enumerate(times):
        yield from silence(said_until, min(start, clip.duration))
        text = plain(clip.subtitle_texts[index])
        yield f"  {_times(start, end)}  {_frames(shown.frames_of(index)):<16} {text}"
        said_until = max(said_until, end)
    yield from silence(said_until, clip.duration)


def _describe_query(shown: Shown, query: Query) -> Iterator[str]:
    kind = f" ({plain(query.kind)})" if query.kind else ""
    group = f" of group {plain(query.group)}" if query.group else ""
    yield f"  {plain(query.query_id)}{kind}{group}: {plain(query.text) or '(no text)'}"
    if query.moment is None:
        yield "      no moment: the whole clip"
    # The moment that is used in training comes first.
    for moment in sorted(map(tuple, query.moments.tolist()), key=lambda m: m != query.moment):
        first, last = moment_span(
            moment, shown.metadata.seconds_per_feature, len(shown.clip.frame_features)
        )
        other = "" if moment == query.moment else "  (another annotator)"
        yield f"      {_times(*moment)}  {_frames(range(first, last + 1))}{other}"
    for index, answer in enumerate(query.answers):
        yield f"    {'* '[index != query.label]} {plain(answer)}"
    if query.answers and query.label < 0:
        yield "      (which answer is right is not known)"
    if shown.metadata.query_type == "statement":
        yield f"      {truth(query)}"


def _times(start: float, end: float) -> str:
    return f"{clock(start, tenths=True)}–{clock(end, tenths=True)}"


def _frames(frames: Sequence[int]) -> str:
    if not len(frames):
        return "[no frames]"
    numbers = ", ".join(f"{a}" if a == b else f"{a}–{b}" for a, b in runs(frames))
    return f"[frame{'s' if len(frames) > 1 else ''} {numbers}]"
