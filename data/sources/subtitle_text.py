"""The text of files of subtitles, which are in many encodings and seldom say in which."""

from charset_normalizer import from_bytes

from data.errors import InputError
from data.text import decode, marked_encoding

# What programs have written subtitles in. Others are so like these that short texts are mistaken.
_USUAL = [
    *("cp1252", "cp1250", "cp1251", "cp1253", "cp1254", "cp1255", "cp1256", "koi8_r"),
    *("gb18030", "big5", "cp932", "euc_jp", "cp949"),
]
# How much likelier than the next encoding the detected one has to be.
_CLEARLY = 0.03
# Bytes that detection looks at.
_SAMPLE = 1 << 16


def check_encoding(name: str) -> None:
    """Checks that there is an encoding of this name.

    Raises:
      InputError: there is none.
    """
    try:
        "a".encode(name)
    except (LookupError, UnicodeError) as error:
        raise InputError(
            f"{name!r} is no encoding of text ({error}): name one, as cp1252 or gb18030"
        ) from error


def decode_subtitles(content: bytes, encoding: str | None) -> tuple[str, str]:
    """Returns the text of a file, and the name of its encoding if that was detected, else ''.

    A byte order mark names the encoding. Without one, what can be UTF-8 is UTF-8, and everything
    else is in `encoding` or, if that is None, in the encoding that it seems to have.

    Raises:
      UnicodeDecodeError: the file is not in its encoding.
      InputError: no encoding is likelier than the others.
    """
    if marked_encoding(content):
        return decode(content), ""
    bare = content.rstrip(b"\0")
    wide = _unmarked_utf16(bare)
    # Plain ASCII may be an encoding of seven bits, and a NUL one of sixteen.
    if encoding is not None and (wide or bare.isascii()):
        return decode(content, encoding), ""
    if wide:
        return decode(bare + b"\0" * (len(bare) % 2), wide), wide
    try:
        return decode(content), ""
    except UnicodeDecodeError as error:
        if encoding is not None:
            return decode(content, encoding), ""
        if _is_damaged_utf8(bare):
            raise
        detected = _detect(bare, error)
        return decode(bare, detected), detected


def _unmarked_utf16(content: bytes) -> str:
    """Returns the name of UTF-16 if its line breaks and digits are all over a text, else ''."""
    even, odd = content[::2].count(0), content[1::2].count(0)
    few, many = len(content) // 100, len(content) // 10
    if odd > many and even <= few:
        return "utf-16-le"
    return "utf-16-be" if even > many and odd <= few else ""


def _is_damaged_utf8(content: bytes) -> bool:
    """Returns whether most of what is not ASCII is UTF-8, which no other encoding looks like."""
    read = content.decode("utf-8", "replace")
    wrong = read.count("\ufffd")
    return sum(not character.isascii() for character in read) > 2 * wrong


def _detect(content: bytes, error: UnicodeDecodeError) -> str:
    # Times and plain letters are the same in all of these encodings.
    telling = b"\n".join(line for line in content.split(b"\n") if not line.isascii())[:_SAMPLE]
    found = from_bytes(telling, cp_isolation=_USUAL)
    matches = sorted((match.chaos - match.coherence, match) for match in found)
    if not matches:
        raise InputError(f"it is not UTF-8 ({error}), and its encoding is unknown: name it")
    lowest, best = matches[0]
    for score, other in matches[1:]:
        if score - lowest < _CLEARLY and str(other) != str(best):
            raise InputError(
                f"it is not UTF-8 ({error}), and may be {best.encoding} or {other.encoding}: name "
                "the encoding"
            )
    return best.encoding
