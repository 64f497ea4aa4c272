"""A clip as text and as a picture."""

import dataclasses
import io
import itertools

import matplotlib
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from data.errors import InputError
from data.records.reader import Split
from data.schema import RawQuery, RawSubtitle
from data.show.__main__ import main
from data.show.describe import describe
from data.show.picture import Bar, Picture, draw
from data.show.shown import find, runs
from tests.data.clip_samples import build
from tests.data.raw_samples import raw_clip

STEP = 1.5
COLOURS = [(250, 20, 20), (20, 250, 20), (20, 20, 250), (250, 250, 20), (250, 20, 250)]


def png(colour: tuple[int, int, int]) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (32, 24), colour).save(file, "PNG")
    return file.getvalue()


def subtitles(*items: tuple[str, float, float]) -> tuple[RawSubtitle, ...]:
    return tuple(RawSubtitle(*item) for item in items)


SAID = subtitles(
    ("It costs $5\nand $6", 0.0, 3.0),
    ("\x1b[31mred $\\frac{ too", 3.9, 6.0),
    ("late", 12.0, 13.0),
    ("too late", 40.0, 41.0),
)
CLIPS = {
    "train": [
        raw_clip(0, num_frames=12, subtitles=SAID, video_id="s01", video_start=91.3),
        raw_clip(1, subtitles=(), clip_id="film/1 $x$"),
        raw_clip(2, num_frames=5, frame_images=tuple(map(png, COLOURS))),
    ],
    "validation": [raw_clip(3)],
}
QUESTIONS = {
    "train": [
        RawQuery("q0", "clip0", "How much?", ((1.0, 4.0),), "vt", ("$5", "nothing"), 1, "all"),
        RawQuery(
            "q1", "clip0", "Which colour?", ((4, 8), (3, 9), (2.5, 9.5)), answers=("red", "blue")
        ),
        RawQuery("q2", "clip0", "", ()),
        RawQuery("q3", "clip2", "What else?"),
    ]
}
STATEMENTS = {
    "train": [
        RawQuery("s0", "clip0", "it is red", label=1),
        RawQuery("s1", "clip0", "it is blue", label=0),
        RawQuery("s2", "clip0", "it is green"),
    ]
}


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    folder = tmp_path_factory.mktemp("questions") / "films"
    build(folder, CLIPS, QUESTIONS, query_type="question")
    return folder


@pytest.fixture(scope="module")
def statements(tmp_path_factory):
    folder = tmp_path_factory.mktemp("statements") / "films"
    build(folder, {"train": [raw_clip(0)]}, STATEMENTS, query_type="statement")
    return folder


def lines_after(text: str, heading: str) -> list[str]:
    """The lines below a heading, to the next empty one, with single spaces."""
    lines = text.splitlines()
    below = lines[lines.index(heading) + 1 :]
    return [" ".join(line.split()) for line in itertools.takewhile(bool, below)]


# The text


def test_describes_the_clip(films):
    shown = find(films, "clip0")
    number = shown.number
    assert Split(films, "train").read(number).clip_id == "clip0"
    assert describe(shown).splitlines()[:4] == [
        f"clip    clip0 (train, record {number} of 3)",
        "video   s01 from 1:31.3",
        "lasts   0:18.0 (18 s)",
        "frames  12 × 5 (3 + 2), one every 1.5 s; 0 images",
    ]
    lines = describe(find(films, "clip2")).splitlines()
    assert lines[1] == "video   a whole video"
    assert lines[3] == "frames  5 × 5 (3 + 2), one every 1.5 s; 5 images"


def test_the_time_line(films):
    assert lines_after(describe(find(films, "clip0")), "subtitles: 4") == [
        "0:00.0–0:03.0 [frames 0–1] It costs $5 and $6",
        # The silence up to 3.9 s is shorter than a frame.
        "0:03.9–0:06.0 [frames 2–3] [31mred $\\frac{ too",
        "0:06.0–0:12.0 [frames 4–7] (no subtitle)",
        "0:12.0–0:13.0 [frame 8] late",
        "0:13.0–0:18.0 [frames 9–11] (no subtitle)",
        "0:40.0–0:41.0 [no frames] too late",
    ]


def test_the_time_line_of_a_clip_without_subtitles(films):
    text = describe(find(films, "film/1 $x$"))
    assert lines_after(text, "subtitles: 0") == ["0:00.0–0:12.0 [frames 0–7] (no subtitle)"]
    assert text.endswith("\n\nqueries: 0")


def test_overlapping_subtitles_with_runs_of_frames(films):
    shown = find(films, "clip3")
    # The second is over before the first, which also has a frame after it.
    clip = dataclasses.replace(
        shown.clip,
        subtitle_starts=np.array([0.0, 1.0], np.float32),
        subtitle_ends=np.array([9.5, 2.0], np.float32),
        frame_subtitle=np.array([0, 1, 0, 0, -1, 0, -1, -1], np.int32),
    )
    assert lines_after(describe(dataclasses.replace(shown, clip=clip)), "subtitles: 2") == [
        "0:00.0–0:09.5 [frames 0, 2–3, 5] the red square 3",
        "0:01.0–0:02.0 [frame 1] the blue circle",
        "0:09.5–0:12.0 [frames 6–7] (no subtitle)",
    ]


def test_questions_with_moments_and_answers(films):
    lines = lines_after(describe(find(films, "clip0")), "queries: 3")
    blocks = {
        line.split()[0].rstrip(":"): index for index, line in enumerate(lines) if line[0] == "q"
    }
    assert lines[blocks["q0"] :][:4] == [
        "q0 (vt) of group all: How much?",
        "0:01.0–0:04.0 [frames 0–2]",
        "$5",
        "* nothing",
    ]
    assert lines[blocks["q1"] :][:7] == [
        "q1: Which colour?",
        # This one overlaps the others most.
        "0:03.0–0:09.0 [frames 2–5]",
        "0:04.0–0:08.0 [frames 2–5] (another annotator)",
        "0:02.5–0:09.5 [frames 1–6] (another annotator)",
        "red",
        "blue",
        "(which answer is right is not known)",
    ]
    assert lines[blocks["q2"] :][:2] == ["q2: (no text)", "no moment: the whole clip"]


def test_statements_with_their_labels(statements):
    lines = lines_after(describe(find(statements, "clip0")), "queries: 3")
    truth = {line: lines[index + 2] for index, line in enumerate(lines) if line.startswith("s")}
    assert truth == {
        "s0: it is red": "true",
        "s1: it is blue": "false",
        "s2: it is green": "not known whether true",
    }


@given(st.sets(st.integers(0, 60)))
def test_runs(frames):
    found = runs(sorted(frames))
    assert [n for first, last in found for n in range(first, last + 1)] == sorted(frames)
    assert all(first - last > 1 for (_, last), (first, _) in itertools.pairwise(found))


# Finding the clip


def test_names_clips_with_similar_ids(films):
    with pytest.raises(
        InputError, match=r"no clip clip9 in train, validation: did you mean clip\d"
    ):
        find(films, "clip9")
    with pytest.raises(InputError, match=r"no clip Casablanca in .*: no id is similar"):
        find(films, "Casablanca")


def test_searches_the_given_split(films):
    assert find(films, "clip3", "validation").split == find(films, "clip3").split == "validation"
    with pytest.raises(InputError, match=r"no clip clip0 in validation: did you mean clip3\?"):
        find(films, "clip0", "validation")
    with pytest.raises(InputError, match="no clips in a split 'val'"):
        find(films, "clip0", "val")


# The picture


def pixels_of(path) -> np.ndarray:
    with Image.open(path) as image:
        assert image.format == "PNG"
        return np.asarray(image.convert("RGB")).astype(int)


def test_frames_stand_at_their_times(films, tmp_path):
    draw(find(films, "clip2"), tmp_path / "clip.png")
    pixels = pixels_of(tmp_path / "clip.png")
    middles = []
    for colour in COLOURS:
        rows, columns = np.nonzero((pixels == colour).all(2))
        assert len(rows) > 1000
        height, width = np.ptp(rows) + 1, np.ptp(columns) + 1
        assert width / height == pytest.approx(32 / 24, rel=0.05)
        middles.append(columns.mean())
    # At equal distances.
    assert np.ptp(np.diff(middles)) < 2 < np.diff(middles).min()


@pytest.mark.parametrize("clip_id", ["clip0", "film/1 $x$", "clip3"])
def test_features_are_drawn_if_there_are_no_images(films, tmp_path, clip_id):
    shown = find(films, clip_id)
    draw(shown, tmp_path / "clip.png")
    pixels = pixels_of(tmp_path / "clip.png")
    check_heat_map(pixels)


def check_heat_map(pixels):
    """Checks for red and blue, the colours above and below the average."""
    pixels = pixels[50:280]  # Bars, which are coloured too, begin below.
    red, blue = pixels[..., 0] - pixels[..., 2], pixels[..., 2] - pixels[..., 0]
    assert (red > 60).sum() > 10_000
    assert (blue > 60).sum() > 10_000


def test_statements_are_drawn(statements, tmp_path):
    shown = find(statements, "clip0")
    draw(shown, tmp_path / "with.png")
    draw(dataclasses.replace(shown, queries=()), tmp_path / "without.png")
    assert len(pixels_of(tmp_path / "with.png")) > len(pixels_of(tmp_path / "without.png")) + 60


@pytest.mark.parametrize("value", [0.5, np.nan])
def test_features_without_any_change_are_drawn(films, tmp_path, value):
    shown = find(films, "clip3")
    features = np.full_like(shown.clip.frame_features, value)
    clip = dataclasses.replace(shown.clip, frame_features=features)
    draw(dataclasses.replace(shown, clip=clip), tmp_path / "clip.png")
    assert np.ptp(pixels_of(tmp_path / "clip.png")) == 255


def test_a_frame_of_nan_leaves_the_others(films, tmp_path):
    shown = find(films, "clip3")
    features = shown.clip.frame_features.copy()
    features[0] = np.nan
    clip = dataclasses.replace(shown.clip, frame_features=features)
    draw(dataclasses.replace(shown, clip=clip), tmp_path / "clip.png")
    check_heat_map(pixels_of(tmp_path / "clip.png"))


def texts_of(axis) -> list:
    """(left, right, bottom, top) of each text, in pixels."""
    renderer = axis.figure.canvas.get_renderer()
    return [text.get_window_extent(renderer).extents[[0, 2, 1, 3]] for text in axis.texts]


SECONDS = st.floats(0, 12)
BARS = st.lists(
    st.builds(
        lambda text, start, length: Bar(text, start, start + length),
        st.text(st.sampled_from("aW $\\_^{}ß"), min_size=1, max_size=70),
        SECONDS,
        st.floats(0, 6),
    ),
    max_size=12,
)


@settings(deadline=None, max_examples=12)
@given(BARS)
@example([Bar("W" * 70, 11.9, 12.0), Bar("W" * 70, 0.0, 12.0), Bar("W", 11.0, 11.5)])
def test_no_text_overlaps_another_or_leaves_the_picture(films, tmp_path_factory, bars):
    with matplotlib.rc_context({"text.parse_math": False}):
        drawn = Picture(Split(films, "validation").read(0), STEP)
        drawn.add_bars("subtitles", bars)
        drawn.save(tmp_path_factory.mktemp("bars") / "clip.png", "title")
    (axis,) = drawn.figure.axes
    boxes = texts_of(axis)
    assert [text.get_text() for text in axis.texts] == (
        [bar.text for bar in sorted(bars, key=lambda bar: bar.start)] or ["none"]
    )
    frame = axis.get_window_extent()
    for left, right, bottom, top in boxes:
        assert frame.x0 <= left
        assert right <= frame.x1
        assert frame.y0 <= bottom
        assert top <= frame.y1
    for (left, right, bottom, top), other in itertools.combinations(boxes, 2):
        assert right <= other[0] or other[1] <= left or top <= other[2] or other[3] <= bottom


def test_texts_are_not_markup_whatever_the_users_settings(films, tmp_path):
    shown = find(films, "clip0")
    # Between two dollar signs would be mathematics.
    with matplotlib.rc_context({"text.usetex": False, "text.parse_math": False}):
        draw(shown, tmp_path / "plain.png")
    with matplotlib.rc_context({"text.usetex": True, "text.parse_math": True}):
        draw(shown, tmp_path / "set.png")
    np.testing.assert_array_equal(
        pixels_of(tmp_path / "plain.png"), pixels_of(tmp_path / "set.png")
    )


# The command


def test_the_command_prints_and_draws(films, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    main([str(films), "--clip=film/1 $x$"])
    output = capsys.readouterr().out
    assert output.startswith("clip    film/1 $x$ (train, record ")
    assert output.endswith("\n\ndrawn to film_1__x_.png\n")
    assert [path.name for path in tmp_path.iterdir()] == ["film_1__x_.png"]
    assert pixels_of("film_1__x_.png").min() == 0
    main([str(films), "--clip=clip3", "--split=validation", "--out=other.picture"])
    assert capsys.readouterr().out.endswith("drawn to other.picture\n")
    pixels_of("other.picture")


def error_of(*arguments) -> str:
    with pytest.raises(SystemExit) as exit_:
        main([str(argument) for argument in arguments])
    return exit_.value.code


def test_errors_that_the_user_can_fix_are_one_sentence(films, tmp_path):
    absent = tmp_path / "absent"
    assert error_of(absent, "--clip=a").startswith(f"error: dataset {absent} does not exist")
    assert "no clip a in train, validation" in error_of(films, "--clip=a")
    out = absent / "clip.png"
    error = error_of(films, "--clip=clip0", f"--out={out}")
    assert error.startswith(f"error: {out} could not be written to")


def test_names_an_image_that_cannot_be_read(films, tmp_path):
    shown = find(films, "clip2")
    images = (*shown.clip.frame_images[:3], b"no image", shown.clip.frame_images[4])
    clip = dataclasses.replace(shown.clip, frame_images=images)
    with pytest.raises(InputError, match="image 3 of clip clip2 cannot be read"):
        draw(dataclasses.replace(shown, clip=clip), tmp_path / "clip.png")
