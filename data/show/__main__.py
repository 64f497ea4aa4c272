"""Shows a clip of a dataset: `python -m data.show datasets/tv --clip=ID`.

Prints what is said when and what is asked about it, and draws the same below the clip's frames.
"""

import argparse
import dataclasses
import difflib
import os
import re
import signal
from collections.abc import Iterator, Sequence

import numpy as np

from data.command import ends_with_a_sentence
from data.errors import InputError
from data.pipeline.segments import moment_span
from data.progress import progress
from data.records.reader import QuerySplit, Split
from data.schema import Clip, DatasetMetadata, Query
from data.show.picture import Bar, draw, runs
from data.times import clock

_LETTERS = 70  # of a text in the picture


@dataclasses.dataclass(frozen=True)
class Shown:
    """A clip and the queries about it; it is record `number` of the `size` clips of `split`."""

    clip: Clip
    split: str
    number: int
    size: int
    queries: tuple[Query, ...]
    metadata: DatasetMetadata

    def frames_of(self, subtitle: int) -> list[int]:
        """The frames that belong to a subtitle, or with -1 to none."""
        return np.flatnonzero(self.clip.frame_subtitle == subtitle).tolist()


def find(dataset_dir: str | os.PathLike, clip_id: str, split: str = "") -> Shown:
    """Looks up a clip, in one split or in all, and the queries of its split that are about it.

    Raises:
      InputError: no such dataset, split or clip; the message names clips that are called alike.
    """
    metadata = DatasetMetadata.load(dataset_dir)
    splits = [split] if split else list(metadata.clips)
    ids = []
    for name in splits:
        clips = Split(dataset_dir, name, on_corrupt="skip")
        for number in progress(range(len(clips)), f"clips of {name}", len(clips)):
            clip = clips.read(number)
            if clip is not None and clip.clip_id == clip_id:
                queries = tuple(_queries_about(dataset_dir, metadata, clip_id, name))
                return Shown(clip, name, number, len(clips), queries, metadata)
            if clip is not None:
                ids.append(clip.clip_id)
    alike = difflib.get_close_matches(clip_id, ids)
    hint = f"did you mean {' or '.join(alike)}?" if alike else "none is called like it"
    raise InputError(f"dataset {dataset_dir} has no clip {clip_id} in {', '.join(splits)}: {hint}")


def _queries_about(
    dataset_dir: str | os.PathLike, metadata: DatasetMetadata, clip_id: str, split: str
) -> Iterator[Query]:
    if split not in metadata.queries:
        return
    queries = QuerySplit(dataset_dir, split, on_corrupt="skip")
    for number in progress(range(len(queries)), f"queries of {split}", len(queries)):
        query = queries.read(number)
        if query is not None and query.clip_id == clip_id:
            yield query


def describe(shown: Shown) -> str:
    """The clip as text: what it is, its time line, and the queries about it."""
    clip, metadata = shown.clip, shown.metadata
    video = "a whole video"
    if clip.video_id:
        video = f"{_plain(clip.video_id)} from {clock(clip.video_start, tenths=True)}"
    frames, width = clip.frame_features.shape
    parts = " + ".join(map(str, metadata.feature_widths))
    return "\n".join(
        [
            f"clip    {_plain(clip.clip_id)} ({shown.split}, record {shown.number} of "
            f"{shown.size})",
            f"video   {video}",
            f"lasts   {clock(clip.duration, tenths=True)} ({clip.duration:g} s)",
            f"frames  {frames} × {width} ({parts}), one every {metadata.seconds_per_feature:g} s; "
            f"{len(clip.frame_images)} images",
            "",
            f"subtitles: {len(clip.subtitle_texts)}",
            *_time_line(shown),
            "",
            f"queries: {len(shown.queries)}",
            *(line for query in shown.queries for line in _describe_query(shown, query)),
        ]
    )


def _time_line(shown: Shown) -> Iterator[str]:
    """A line for every subtitle, and for every silence of a frame or longer."""
    clip, step = shown.clip, shown.metadata.seconds_per_feature
    free = shown.frames_of(-1)

    def silence(start, end):
        if end - start >= step:
            frames = [i for i in free if start <= (i + 0.5) * step < end]
            yield f"  {_times(start, end)}  {_frames(frames):<16} (no subtitle)"

    said_until = 0.0
    times = zip(clip.subtitle_starts.tolist(), clip.subtitle_ends.tolist(), strict=True)
    for index, (start, end) in enumerate(times):
        yield from silence(said_until, min(start, clip.duration))
        text = _plain(clip.subtitle_texts[index])
        yield f"  {_times(start, end)}  {_frames(shown.frames_of(index)):<16} {text}"
        said_until = max(said_until, end)
    yield from silence(said_until, clip.duration)


def _describe_query(shown: Shown, query: Query) -> Iterator[str]:
    kind = f" ({_plain(query.kind)})" if query.kind else ""
    group = f" of group {_plain(query.group)}" if query.group else ""
    yield f"  {_plain(query.query_id)}{kind}{group}: {_plain(query.text) or '(no text)'}"
    if query.moment is None:
        yield "      no moment: the whole clip"
    # The moment that training aims at comes first.
    for moment in sorted(map(tuple, query.moments.tolist()), key=lambda m: m != query.moment):
        first, last = moment_span(
            moment, shown.metadata.seconds_per_feature, len(shown.clip.frame_features)
        )
        other = "" if moment == query.moment else "  (another annotator)"
        yield f"      {_times(*moment)}  {_frames(range(first, last + 1))}{other}"
    for index, answer in enumerate(query.answers):
        yield f"    {'* '[index != query.label]} {_plain(answer)}"
    if query.answers and query.label < 0:
        yield "      (which answer is right is not known)"
    if shown.metadata.query_type == "statement":
        yield f"      {_truth(query)}"


def _truth(query: Query) -> str:
    return {1: "true", 0: "false"}.get(query.label, "not known whether true")


def _plain(text: str) -> str:
    """On one line, and without what would steer a terminal."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def _times(start: float, end: float) -> str:
    return f"{clock(start, tenths=True)}–{clock(end, tenths=True)}"


def _frames(frames: Sequence[int]) -> str:
    if not len(frames):
        return "[no frames]"
    numbers = ", ".join(f"{a}" if a == b else f"{a}–{b}" for a, b in runs(frames))
    return f"[frame{'s' if len(frames) > 1 else ''} {numbers}]"


def picture(shown: Shown, path: str | os.PathLike) -> None:
    """Draws the clip to a PNG: its frames, and below them subtitles and queries as bars.

    Raises:
      InputError: an image of the clip is none, or the PNG cannot be written.
    """
    bars = {"subtitles": list(_subtitle_bars(shown))}
    if shown.queries:
        bars["queries"] = list(_query_bars(shown))
    title = (
        f"{_plain(shown.clip.clip_id)} ({shown.split}), {clock(shown.clip.duration, tenths=True)}"
    )
    draw(path, shown.clip, shown.metadata, title, bars)


def _subtitle_bars(shown: Shown) -> Iterator[Bar]:
    clip = shown.clip
    for index, text in enumerate(clip.subtitle_texts):
        start, end = clip.subtitle_starts[index].item(), clip.subtitle_ends[index].item()
        yield Bar(_short(text), start, end, frames=shown.frames_of(index), number=index)


def _query_bars(shown: Shown) -> Iterator[Bar]:
    for query in shown.queries:
        text = _short(f"{query.query_id}: {query.text}")
        if 0 <= query.label < len(query.answers):
            text += f" → {_short(query.answers[query.label])}"
        if shown.metadata.query_type == "statement":
            text = f"({_truth(query)}) {text}"
        start, end = query.moment or (0.0, shown.clip.duration)
        yield Bar(text, start, end, spans=query.moments.tolist())


def _short(text: str) -> str:
    text = _plain(text)
    return text if len(text) <= _LETTERS else f"{text[: _LETTERS - 1].rstrip()}…"


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the clip and draws it."""
    parser = argparse.ArgumentParser(prog="python -m data.show", description=__doc__)
    parser.add_argument("dataset", help="its folder")
    parser.add_argument("--clip", required=True, help="id of the clip")
    parser.add_argument("--split", default="", help="where it is; by default all are searched")
    parser.add_argument("--out", help="PNG file to write; by default the clip's id with .png")
    args = parser.parse_args(arguments)
    # A leading dot or dash, and what separates folders somewhere, make no good file names.
    out = args.out or re.sub(r"^[.-]|[^\w.-]", "_", args.clip)[:200] + ".png"
    with ends_with_a_sentence():
        shown = find(args.dataset, args.clip, args.split)
        print(describe(shown))
        picture(shown, out)
    print(f"\ndrawn to {out}")


if __name__ == "__main__":
    # Whoever reads the output may have seen enough.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    main()
