"""Times on a clock, as `00:01:02,500`, and the lines of SubRip and WebVTT that have two of them."""

import re

from data.sources.json_files import Mistake

_SEPARATOR = r"\s*[:.,]\s*|\s(?=\d{3}\b)"
_CLOCK = rf"-?\d+(?:(?:{_SEPARATOR})\d+)*"
# One or more dashes of any kind, or the sign for an arrow; `&gt;` if the file was HTML once.
_ARROW = r"(?:(?<![-–—−=])[-–—−=]+\s*(?:>|&gt;)|→)"
ARROW = re.compile(_ARROW)
_TIMES = re.compile(rf"\s*({_CLOCK})\s*{_ARROW}\s*({_CLOCK})(?!\d)(.*)", re.DOTALL)
# What may follow the times: WebVTT's `align:start`, SubRip's `X1:40`.
_SETTINGS = re.compile(r"(?:\s+\w+:\S*)*\s*")
# As SubRip and WebVTT write it, with milliseconds.
_EXACT = re.compile(r"(?:\d+:)?\d{1,2}:\d{1,2}[.,]\d{1,3}")
# What is no part of a sentence: a time with hours or milliseconds, perhaps with misread digits.
_BEGINS_WITH_A_TIME = re.compile(r"\s*\S{0,4}\d:\d+(?::\d|[.,]\d{3})")


def seconds(clock: str) -> float:
    """Returns the seconds of a time on a clock.

    It has hours (or none), minutes, seconds and a fraction (or none). Colons, points and commas may
    separate them, as long as this leaves one meaning.

    Raises:
      Mistake: it is no such time, or may mean several.
    """
    text = clock.strip()
    sign = -1.0 if text.startswith("-") else 1.0
    separators = [found.strip() for found in re.findall(_SEPARATOR, text)]
    fields = re.split(_SEPARATOR, text.removeprefix("-"))
    if not all(field.isdecimal() and len(field) < 20 for field in fields):
        raise Mistake(f"{clock!r} is no time")
    # Whole seconds have two digits at most, so three are a fraction whatever is before them.
    is_fraction = len(fields[-1]) == 3 or (separators[-1:] != [":"] and separators[:1] == [":"])
    has_fraction = len(fields) == 4 or (len(fields) == 3 and is_fraction)
    if has_fraction and not is_fraction:
        raise Mistake(f"{clock!r} may end with frames or with a fraction of a second")
    whole = fields[:-1] if has_fraction else fields
    if not 2 <= len(whole) <= 3 or (not has_fraction and set(separators) != {":"}):
        raise Mistake(f"{clock!r} is no time")
    hours, minutes, secs = (int(field) for field in ["0", *whole][-3:])
    if secs > 59 or (minutes > 59 and len(whole) == 3):
        raise Mistake(f"{clock!r} has more than 59 seconds or minutes")
    fraction = float(f"0.{fields[-1]}") if has_fraction else 0.0
    return sign * (3600 * hours + 60 * minutes + secs + fraction)


def times(line: str, begins: bool) -> tuple[float, float] | Mistake | None:
    """Returns the start and the end that a line names, the Mistake in them, None for other lines.

    Args:
      begins: whether a subtitle may begin here: the line before is empty or a number. Within the
        text of a subtitle, only what cannot be a sentence is taken for times.
    """
    arrow = ARROW.search(line)
    if arrow is None:
        return None
    wrong = Mistake(f"its times are {line.strip()!r}")
    found = _TIMES.match(line)
    exact = found is not None and all(map(_EXACT.fullmatch, found.group(1, 2)))
    if found and (exact or (_SETTINGS.fullmatch(found[3]) and (begins or _has_hours(found)))):
        try:
            return seconds(found[1]), seconds(found[2])
        except Mistake:
            return wrong
    before, after = line[: arrow.start()].strip(), line[arrow.end() :].strip()
    is_nothing_else = not re.search(r"[^\W\d]", before) and (before or not after)
    return wrong if (begins and is_nothing_else) or _BEGINS_WITH_A_TIME.match(before) else None


def _has_hours(found: re.Match[str]) -> bool:
    return all(len(re.findall(_SEPARATOR, clock)) > 1 for clock in found.group(1, 2))
