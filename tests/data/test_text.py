"""Text is the same with and without byte order marks, NULs at the end, and in wide encodings."""

import codecs

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from data.errors import InputError
from data.text import decode, open_text, read_text, without_marks

# Line breaks of other systems, and separators that end no line.
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\ufeff"))
MARKED = {
    "utf-8": codecs.BOM_UTF8,
    "utf-16-le": codecs.BOM_UTF16_LE,
    "utf-16-be": codecs.BOM_UTF16_BE,
    "utf-32-le": codecs.BOM_UTF32_LE,
    "utf-32-be": codecs.BOM_UTF32_BE,
}


@given(text=TEXT, encoding=st.sampled_from([*MARKED]), nuls=st.integers(0, 9))
def test_a_mark_names_the_encoding_and_is_no_text(text, encoding, nuls):
    assume(text or not nuls)  # UTF-16's mark and a NUL are the mark of UTF-32.
    assert decode(MARKED[encoding] + (text + "\0" * nuls).encode(encoding)) == text


@given(text=TEXT)
def test_text_without_a_mark_is_utf8_or_what_is_said(text):
    assert decode(text.encode()) == text
    assert decode(text.encode("utf-16-le"), "utf-16-le") == text


@given(
    lines=st.lists(TEXT.filter(lambda text: not {*"\r\n"} & {*text}), min_size=1),
    line_break=st.sampled_from(["\n", "\r\n", "\r"]),
    data=st.data(),
)
def test_lines_of_joined_files_have_no_marks(lines, line_break, data):
    marks = st.integers(0, 2).map(lambda count: "\ufeff" * count)
    marked = [data.draw(marks) + line for line in lines]
    assert without_marks(line_break.join(marked)) == line_break.join(lines)


def test_nuls_within_a_text_stay():
    assert without_marks("a\0b\n\0\0\n \0") == "a\0b\n"


def test_opens_a_text_with_the_line_breaks_that_are_asked_for(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(codecs.BOM_UTF16_LE + "a\r\nb\rc\n".encode("utf-16-le"))
    with open_text(path) as lines:
        assert [*lines] == ["a\n", "b\n", "c\n"]
    with open_text(path, newline="") as lines:
        assert lines.read() == "a\r\nb\rc\n"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"caf\xe9", r"a\.txt is not UTF-8 \(.*: convert it"),
        (codecs.BOM_UTF16_LE + b"a", r"a\.txt is not utf-16-le? \(.*truncated data\): convert it"),
        (None, r"a\.txt cannot be read \(No such file or directory\): correct its name"),
    ],
)
def test_says_what_cannot_be_read(tmp_path, content, said):
    path = tmp_path / "a.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=said):
        read_text(path)
