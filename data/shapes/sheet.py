"""Contact sheet and outline of a film of the sample corpus, for people to look at."""

import io
import textwrap

from PIL import Image, ImageDraw, ImageFont

from data.schema import RawClip
from data.shapes.narration import describe, sentence
from data.shapes.story import from_json

_ENLARGED = 3
_COLUMNS = 7
_GAP = 10
_LINES = 5
_INK, _PALE, _PAPER = (34, 34, 40), (128, 128, 136), (252, 251, 248)


def contact_sheet(clip: RawClip, seconds_per_feature: float) -> Image.Image:
    """Draws the clip's frames, enlarged, each with its time and the subtitles that begin in it."""
    pictures = [Image.open(io.BytesIO(data)) for data in clip.frame_images]
    width, height = (side * _ENLARGED for side in pictures[0].size)
    font, small = ImageFont.load_default(12), ImageFont.load_default(10)
    cell_width, cell_height = width + _GAP, height + 18 + 14 * _LINES
    rows = -(-len(pictures) // _COLUMNS)
    page = (_GAP + cell_width * _COLUMNS, 40 + cell_height * rows)
    sheet = Image.new("RGB", page, _PAPER)
    draw = ImageDraw.Draw(sheet)
    title = f"{clip.clip_id}   {clip.duration:.1f} s   {len(clip.subtitles)} subtitles"
    draw.text((_GAP, 12), title, _INK, ImageFont.load_default(16))
    for index, picture in enumerate(pictures):
        row, column = divmod(index, _COLUMNS)
        left, top = _GAP + column * cell_width, 40 + row * cell_height
        sheet.paste(picture.resize((width, height), Image.Resampling.NEAREST), (left, top))
        begin = index * seconds_per_feature
        draw.text((left, top + height + 2), f"{begin:.1f} s", _PALE, small)
        lines = []
        for subtitle in clip.subtitles:
            if begin <= subtitle.start < begin + seconds_per_feature:
                said = f"{subtitle.text} ({subtitle.end - subtitle.start:.1f} s)"
                lines += textwrap.wrap(said, 25)
        text = "\n".join(lines[:_LINES])
        draw.multiline_text((left, top + height + 15), text, _INK, font, spacing=2)
    return sheet


def outline(clip: RawClip) -> str:
    """Returns the clip's story as text: cast, then events, marked '*' if a subtitle tells them."""
    story, narration = from_json(clip.story)
    told = {entry["event"] for entry in narration if entry["kind"] == "event"}
    lines = [f"{clip.clip_id}: {story.duration} s, {story.place}, hours {story.day}"]
    for actor in story.cast:
        where = "" if actor.x is None else f", on stage at {actor.x}, {actor.y}"
        lines.append(f"  {actor.name}: {describe(actor)[4:]}{where}")
    for index, (event, cast) in enumerate(zip(story.events, story.looks(), strict=True)):
        whom = "" if event.whom is None else describe(cast[event.whom])
        text = sentence(event, describe(cast[event.who]), whom)
        lines.append(f"{event.start:6.2f} - {event.end:5.2f} {'* '[index not in told]} {text}")
    lines += [f"{s.start:6.2f} - {s.end:5.2f}   “{s.text}”" for s in clip.subtitles]
    return "\n".join(lines)
