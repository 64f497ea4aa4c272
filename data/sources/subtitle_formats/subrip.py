"""Writes subtitles as SubRip, so that their reader gives them back."""

import html
import re
from collections.abc import Iterable

from data.schema import RawSubtitle

# What the reader, and players, would take for a tag, the time of a word, or the times of the next
# subtitle.
_MISREAD = re.compile(
    r"<(?=/?[A-Za-z][^<>]*>|[\d:.]+>)|(?<=\{)\\|((?<=[-–—−=])|(?<=[-–—−=] ))(>|&gt;)|→"
)


def to_subrip(subtitles: Iterable[RawSubtitle]) -> str:
    """Returns the text of a SubRip file.

    Times are rounded to milliseconds, and those before 0 are 0. A text becomes one line; signs that
    SubRip has another use for become character references. Subtitles without text are left out.
    """
    texts = [(subtitle, _line(subtitle.text)) for subtitle in subtitles]
    blocks = (
        f"{number}\n{_clock(subtitle.start)} --> {_clock(subtitle.end)}\n{text}\n"
        for number, (subtitle, text) in enumerate((pair for pair in texts if pair[1]), 1)
    )
    return "\n".join(blocks)


def _line(text: str) -> str:
    def reference(found: re.Match[str]) -> str:
        return f"&#{ord(html.unescape(found[0]))};"

    return _MISREAD.sub(reference, " ".join(text.split()))


def _clock(seconds: float) -> str:
    """Returns a time as `00:01:02,500`."""
    minutes, thousandths = divmod(max(round(seconds * 1000), 0), 60_000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{thousandths // 1000:02},{thousandths % 1000:03}"
