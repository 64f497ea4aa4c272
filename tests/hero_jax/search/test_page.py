"""The page of found moments: text stays text, boxes are in place, nothing is loaded."""

import base64
import dataclasses
import html.parser
import types
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.times import clock
from hero_jax.search.page import PageMoment, Searched, page

PNG, JPEG, GIF = b"\x89PNG\r\n\x1a\nrest", b"\xff\xd8\xff\xe0rest", b"GIF89a"
VOID = ("meta", "img")
NUMBER = 0.025  # of a track: what is left free for a number on either side of its middle

HARMFUL = (
    *("<script>alert(1)</script>", "--><img src=x onerror=alert(1)>", "&lt;b&amp;#60;", "]]>"),
    *("</title></style></bdi><h1>", '" onload="alert(1)', "https://example.org/x.png"),
)
# Whatever is a character of Python, and often what means something to HTML, to UTF-8 or to a line.
TEXTS = st.one_of(
    st.text(st.characters(codec=None), max_size=12),
    st.text(
        st.sampled_from("<>&\"'/=!-; \n\r\t\x00\x1b\x85\ud800\udfff\u202e\u2069a"), max_size=12
    ),
    st.sampled_from(HARMFUL),
)


class Page(html.parser.HTMLParser):
    """Elements of a page in order: tag, attributes, and all text that is in them."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.open = [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        assert len(dict(attrs)) == len(attrs)
        element = types.SimpleNamespace(tag=tag, attributes=dict(attrs), text="", parts=[])
        for outer in self.open:
            outer.parts.append(element)
        self.elements.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop().tag == tag

    def handle_data(self, data):
        for outer in self.open:
            outer.text += data

    def handle_comment(self, data):
        pytest.fail(f"a comment: {data}")

    unknown_decl = handle_pi = handle_comment


def within(elements, tag, kind=None):
    """Elements by tag, or by tag and class."""
    elements = [one for one in elements if one.tag == tag]
    if kind is None:
        return elements
    return [one for one in elements if kind in one.attributes.get("class", "").split()]


def make_found(start=0.0, end=5.0, score=1.0, video_id="v", clip_id="c", said=(), frames=()):
    lines = tuple(types.SimpleNamespace(start=start, end=end, text=text) for text in said)
    return PageMoment(video_id, clip_id, start, end, score, lines, tuple(frames))


def read(*searches, title="t", durations=types.MappingProxyType({})):
    text = page(searches, title=title, durations=durations)
    assert text.startswith("<!DOCTYPE html>")
    return Page(text.encode("utf-8").decode("utf-8")).elements


def shown(text):
    """Shows a text as the page's documentation says."""
    characters = []
    for character in text:
        category = unicodedata.category(character)
        if category == "Cc":
            characters.append(" " if character.isspace() else "\ufffd")
        else:
            characters.append("\ufffd" if category == "Cs" else character)
    return "".join(characters)


@dataclasses.dataclass
class Texts:
    """All texts of two searches; videos and clips may be called the same."""

    title: str
    queries: list[str]
    videos: list[str]
    clips: list[str]
    said: list[str]

    def read(self):
        """The page of three moments of the first query and none of the second."""
        named = zip(self.videos, self.clips, self.said, strict=True)
        found = tuple(
            make_found(3 * n, 3 * n + 9, 1 / (1 + n), video, clip, [text], [(3 * n, PNG)])
            for n, (video, clip, text) in enumerate(named)
        )
        searches = Searched(self.queries[0], found), Searched(self.queries[1], ())
        return read(*searches, title=self.title, durations={self.videos[0]: 60})

    def harmless(self):
        """The same with other texts for these: equal ones stay equal."""
        names = {}

        def name(text):
            return names.setdefault(text, f"x{len(names)}")

        fields = [[name(text) for text in texts] for texts in list(vars(self).values())[1:]]
        return Texts(name(self.title), *fields)


THREE = st.lists(TEXTS, min_size=3, max_size=3)
ALL_TEXTS = st.builds(
    Texts, TEXTS, st.lists(TEXTS, min_size=2, max_size=2), videos=THREE, clips=THREE, said=THREE
)


@settings(max_examples=150, deadline=None)
@given(ALL_TEXTS)
def test_texts_come_back_and_make_no_element_and_no_attribute(texts):
    elements = texts.read()
    # Pages are alike but for texts, so nothing in an attribute is from data either.
    harmless = texts.harmless().read()
    assert [(e.tag, e.attributes) for e in elements] == [(e.tag, e.attributes) for e in harmless]

    assert [e.text for e in within(elements, "h1")] == [shown(texts.title)]
    assert next(e.text for e in within(elements, "title")) == shown(texts.title)
    assert [e.text for e in within(elements, "h2")] == [shown(text) for text in texts.queries]
    assert [e.text for e in within(elements, "span", "video")] == [
        shown(text) for text in texts.videos
    ]
    tracks = [within(track.parts, "bdi")[0].text for track in within(elements, "div", "track")]
    assert tracks == [shown(text) for text in dict.fromkeys(texts.videos)]
    (contents,) = within(elements, "nav")
    assert [a.text for a in within(contents.parts, "a")] == [shown(text) for text in texts.queries]

    for number, (video, clip, said) in enumerate(
        zip(texts.videos, texts.clips, texts.said, strict=True), 1
    ):
        (moment,) = (e for e in elements if e.attributes.get("id") == f"q1m{number}")
        clips = [clip] * (clip != video)
        assert [e.text for e in within(moment.parts, "bdi")] == [
            shown(text) for text in (video, *clips, said)
        ]


@settings(max_examples=30, deadline=None)
@given(ALL_TEXTS)
def test_nothing_runs_and_nothing_is_loaded(texts):
    elements = texts.read()
    tags = {e.tag for e in elements}
    assert not tags & {"script", "link", "iframe", "object", "base", "form", "use", "foreignobject"}
    ids = {e.attributes["id"] for e in elements if "id" in e.attributes}
    for element in elements:
        for name, value in element.attributes.items():
            assert not name.startswith("on")
            assert "://" not in value
            if name == "href":
                assert value.startswith("#")
                assert value[1:] in ids
            if name == "src":
                assert value.startswith("data:image/png;base64,")
    (style,) = within(elements, "style")
    assert "url(" not in style.text
    assert "@import" not in style.text
    (policy,) = (e for e in elements if "http-equiv" in e.attributes)
    assert policy.attributes == {
        "http-equiv": "Content-Security-Policy",
        "content": "default-src 'none'; style-src 'unsafe-inline'; img-src data:",
    }


def test_characters_that_a_page_cannot_hold_are_replaced():
    found = make_found(said=["a\x00b\ud800c\td\x85e\u202ef\U0001f600 &amp; <b>"])
    (said,) = within(read(Searched("q", (found,))), "ul", "said")
    (text,) = within(said.parts, "bdi")
    assert text.text == "a\ufffdb\ufffdc d e\u202ef\U0001f600 &amp; <b>"


def test_a_text_that_closes_its_isolation_is_in_a_block():
    (style,) = within(read(), "style")
    assert "bdi { display: inline-block;" in style.text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        *((0, "0:00"), (7, "0:07"), (59.9, "0:59"), (60, "1:00"), (754, "12:34")),
        *((3599.9, "59:59"), (3600, "1:00:00"), (3661, "1:01:01"), (36000, "10:00:00")),
    ],
)
def test_clock(seconds, text):
    assert clock(seconds) == text


@settings(deadline=None)
@given(st.floats(0, 1e6))
def test_clock_is_the_whole_seconds(seconds):
    total = 0
    for part in clock(seconds).split(":"):
        total = 60 * total + int(part)
    assert total <= seconds < total + 1


def share(element, name):
    value = element.attributes[name]
    assert value.endswith("%")
    return float(value[:-1]) / 100


def boxes_of(track):
    """By rank: left and right as shares, top, opacity and the middle of the number."""
    boxes = {}
    for anchor in within(track.parts, "a"):
        (rect,), (number,) = within(anchor.parts, "rect"), within(anchor.parts, "text")
        left = share(rect, "x")
        assert anchor.attributes["href"] == f"#q1m{number.text}"
        boxes[int(number.text)] = types.SimpleNamespace(
            left=left,
            right=left + share(rect, "width"),
            top=float(rect.attributes["y"]),
            bottom=float(rect.attributes["y"]) + float(rect.attributes["height"]),
            opacity=float(rect.attributes["opacity"]),
            number=share(number, "x"),
            number_top=float(number.attributes["y"]),
        )
    return boxes


SPANS = st.lists(
    st.tuples(st.sampled_from("abc"), st.floats(0, 90), st.floats(0, 30)), min_size=1, max_size=12
)


@settings(max_examples=60, deadline=None)
@given(SPANS)
def test_boxes_are_in_place_and_cover_no_other(spans):
    durations = {"a": 150.0, "b": 60.0}
    found = [make_found(start, start + more, video_id=video) for video, start, more in spans]
    elements = read(Searched("q", tuple(found)), durations=durations)
    videos = list(dict.fromkeys(one.video_id for one in found))
    tracks = within(elements, "div", "track")
    assert [within(track.parts, "bdi")[0].text for track in tracks] == videos
    opacities = {}
    for video, track in zip(videos, tracks, strict=True):
        there = {rank: one for rank, one in enumerate(found, 1) if one.video_id == video}
        length = durations[video] if video in durations else max(m.end for m in there.values())
        ends = within(track.parts, "p", "ends")[0].parts
        assert [e.text for e in ends] == ["0:00", clock(length)]
        boxes = boxes_of(track)
        assert list(boxes) == list(there)
        for rank, one in there.items():
            box = boxes[rank]
            for side, second in ((box.left, one.start), (box.right, one.end)):
                # To three digits of a percent, and on the track where the video ends before.
                at = min(second / length, 1) if length else 0
                assert side == pytest.approx(at, abs=2.1e-5)
            opacities[rank] = box.opacity
        check_apart(list(boxes.values()))
        (svg,) = within(track.parts, "svg")
        assert all(box.bottom <= float(svg.attributes["height"]) for box in boxes.values())
    # The better, the darker.
    by_rank = [opacities[rank] for rank in range(1, len(found) + 1)]
    assert len(set(by_rank)) == len(by_rank)
    assert by_rank == sorted(by_rank, reverse=True)
    assert by_rank[0] == 1
    assert by_rank[-1] > 0.2


def check_apart(boxes):
    """Boxes in one lane, numbers included, cover none of each other; lanes do not touch."""
    for n, box in enumerate(boxes):
        assert NUMBER <= box.number <= 1 - NUMBER
        assert box.number_top < box.top
        for other in boxes[:n]:
            if box.top == other.top:
                first, second = sorted((box, other), key=lambda one: one.number)
                right = max(first.right, first.number + NUMBER)
                left = min(second.left, second.number - NUMBER)
                assert right <= left + 2.1e-5
            else:
                assert abs(box.top - other.top) > box.bottom - box.top


def test_a_moment_is_shown_with_rank_times_score_and_subtitles():
    said = ["one", "two"]
    best = make_found(59.9, 3600, 4.0, said=said)
    elements = read(Searched("q", (best, make_found(score=1.0), make_found(score=-1.0))))
    first, second, third = (e for e in elements if e.attributes.get("id", "").startswith("q1m"))
    assert [within(e.parts, "span", "rank")[0].text for e in (first, second, third)] == [*"123"]
    assert within(first.parts, "span", "when")[0].text == "0:59 – 1:00:00"
    assert within(first.parts, "span", "score")[0].text == "score 4"
    bars = [share(within(e.parts, "rect", "bar")[0], "width") for e in (first, second, third)]
    assert bars == [1, 0.25, 0]
    (subtitles,) = within(first.parts, "ul", "said")
    assert [e.text for e in within(subtitles.parts, "li")] == [
        f"0:59 – 1:00:00 {text}" for text in said
    ]
    assert within(second.parts, "ul") == []


def test_the_type_of_a_picture_comes_from_its_bytes():
    frames = [(7.0, PNG), (8.5, JPEG), (9.0, GIF), (10.0, b""), (11.0, b"<svg onload='x'/>")]
    elements = read(Searched("q", (make_found(frames=frames),)))
    pictures = [e.attributes["src"].partition(";base64,") for e in within(elements, "img")]
    assert [(kind, base64.b64decode(code)) for kind, _, code in pictures] == [
        ("data:image/png", PNG),
        ("data:image/jpeg", JPEG),
    ]
    assert [e.text for e in within(elements, "figcaption")] == ["0:07", "0:08"]
    without = read(Searched("q", (make_found(frames=[(9.0, GIF)]),)))
    assert within(without, "div", "frames") == []


def test_a_query_without_moments_and_a_page_without_contents():
    elements = read(Searched("q", ()))
    assert [e.text for e in within(elements, "p", "nothing")] == ["Nothing was found."]
    assert within(elements, "nav") == []
    assert within(elements, "svg") == []
    elements = read(Searched("q", (make_found(),)), Searched("r", ()))
    (contents,) = within(elements, "nav")
    assert [a.attributes["href"] for a in within(contents.parts, "a")] == ["#q1", "#q2"]
    assert [e.attributes["id"] for e in within(elements, "section")] == ["q1", "q2"]


def test_a_video_without_a_length_has_a_time_line():
    (track,) = within(read(Searched("q", (make_found(0, 0),)), durations={"v": 0}), "div", "track")
    box = boxes_of(track)[1]
    assert (box.left, box.right) == (0, 0)
