"""The sample corpus: same seed, same films; pictures, features and subtitles all tell the story."""

import dataclasses
import io
import math
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from data import build
from data.errors import InputError
from data.schema import DatasetMetadata
from data.shapes.__main__ import main
from data.shapes.features import appearance, inks, motion
from data.shapes.narration import narrate
from data.shapes.plot import ACTIONS, tell
from data.shapes.render import render
from data.shapes.source import SECONDS_PER_FEATURE, film, split_of
from data.shapes.stage import BODY_INK, CAST_COLOURS, EYE_COLOURS, palettes
from data.shapes.story import (
    COLOURS,
    FORMS,
    NAMES,
    PLACES,
    Actor,
    Event,
    Story,
    from_json,
    to_json,
)
from data.tokenizer import Tokenizer

RED, BLUE = COLOURS.index("red"), COLOURS.index("blue")
SEEDS = st.integers(0, 10**6)


@pytest.fixture(scope="module")
def corpus():
    return [film(0, index) for index in range(100)]


def _same(one, other):
    arrays = zip(one.features, other.features, strict=True)
    return all(np.array_equal(a, b) for a, b in arrays) and (
        dataclasses.replace(one, features=()) == dataclasses.replace(other, features=())
    )


def test_a_film_depends_on_seed_and_index_alone(corpus):
    assert all(_same(film(0, index), corpus[index]) for index in range(3))
    assert _same(film(0, 2), corpus[2])
    others = [film(1, 0), corpus[0], corpus[1]]
    assert len({clip.story for clip in others}) == 3
    assert len({clip.clip_id for clip in others}) == 3


def test_splits_are_80_10_10_whatever_the_number_of_films():
    names = [split_of(index, 1500) for index in range(1500)]
    assert [names.count(split) for split in ("train", "validation", "test")] == [1200, 150, 150]
    assert names[:40] == [split_of(index, 40) for index in range(40)]
    for outside in (-1, 40):
        with pytest.raises(InputError, match="choose 0 to 39"):
            split_of(outside, 40)


def test_every_frame_has_features_and_a_picture(corpus):
    for clip in corpus:
        frames = math.ceil(clip.duration / SECONDS_PER_FEATURE)
        assert 50 <= clip.duration <= 70
        assert [part.shape for part in clip.features] == [(frames, 128), (frames, 80)]
        assert all(part.dtype == np.float16 for part in clip.features)
        assert len(clip.frame_images) == frames
    for part in range(2):
        values = np.concatenate([clip.features[part] for clip in corpus]).astype(np.float64)
        assert np.isfinite(values).all()
        assert np.abs(values.mean(0)).max() < 0.5
        assert values.std(0).min() > 0.4
        assert values.std(0).max() < 2


def test_pictures_show_the_story_in_the_middle_of_each_feature(corpus):
    for clip in corpus[:5]:
        story, _ = from_json(clip.story)
        times = (np.arange(len(clip.frame_images)) + 0.5) * SECONDS_PER_FEATURE
        pictures = [np.asarray(Image.open(io.BytesIO(data))) for data in clip.frame_images]
        np.testing.assert_array_equal(np.stack(pictures), render(story, times))


@given(SEEDS)
def test_stories_survive_json(seed):
    rng = random.Random(seed)
    story = tell(rng)
    _, narration = narrate(story, rng)
    assert from_json(to_json(story, narration)) == (story, narration)


def test_a_story_of_another_version_is_refused(corpus):
    with pytest.raises(InputError, match="version 0"):
        from_json(corpus[0].story.replace('"version":1', '"version":0'))


@given(SEEDS)
def test_stories_make_sense(seed):
    story = tell(random.Random(seed))
    assert len({actor.colour for actor in story.cast}) == len(story.cast)
    assert {event.what for event in story.events} <= set(ACTIONS)
    starts = [event.start for event in story.events]
    assert starts == sorted(starts)
    busy_until = [0.0] * len(story.cast)
    for event, cast in zip(story.events, story.looks(), strict=True):
        assert 0 <= event.start < event.end <= story.duration
        assert (cast[event.who].x is None) == (event.what == "enter")
        assert (event.x is None) == (event.what == "leave")
        actor = cast[event.who]
        if event.what in ("grow", "shrink"):
            assert actor.size == {"grow": "small", "shrink": "big"}[event.what]
        if event.what in ("grow", "shrink", "jump", "spin", "shake", "turn", "circle"):
            assert (event.x, event.y) == (actor.x, actor.y)
        if event.colour:
            assert event.colour not in {other.colour for other in cast}
        for who in {event.who, event.whom} - {None}:
            assert busy_until[who] <= event.start
            busy_until[who] = event.end
        if event.whom is not None:
            assert event.whom != event.who
            assert cast[event.whom].x is not None
        if event.side in ("left", "right") and event.what in ("move", "jump_over", "follow"):
            assert (event.x < cast[event.who].x) == (event.side == "left")


@given(SEEDS)
def test_subtitles_follow_the_story(seed):
    rng = random.Random(seed)
    story = tell(rng)
    subtitles, narration = narrate(story, rng)
    assert len(subtitles) == len(narration)
    looks = list(story.looks())
    given_names = set()
    free_from = 0.0
    for subtitle, entry in zip(subtitles, narration, strict=True):
        assert free_from <= subtitle.start < subtitle.end <= story.duration
        free_from = subtitle.end
        words = set(subtitle.text.split())
        if entry["kind"] == "name":
            given_names.add(story.cast[entry["who"]].name)
        assert words & set(NAMES) <= given_names
        if entry["kind"] == "event":
            event, cast = story.events[entry["event"]], looks[entry["event"]]
            assert min(subtitle.end, event.end) - max(subtitle.start, event.start) > 0.5
            worn = {actor.colour for actor in cast if actor.x is not None}
            worn |= {cast[event.who].colour, event.colour}
            assert words & set(COLOURS) <= worn
            named = cast[event.who].name in words
            assert named or cast[event.who].form in words


def test_subtitles_tell_a_part(corpus):
    spoken = [clip for clip in corpus if clip.subtitles]
    assert 0.02 < 1 - len(spoken) / len(corpus) < 0.16
    assert 13 < np.mean([len(clip.subtitles) for clip in spoken]) < 20
    covered = [sum(s.end - s.start for s in clip.subtitles) / clip.duration for clip in spoken]
    assert 0.6 < np.mean(covered) < 0.75
    stories = [from_json(clip.story) for clip in spoken]
    kinds = [entry["kind"] for _, narration in stories for entry in narration]
    assert set(kinds) == {"event", "name", "feeling", "speech", "plan"}
    num_events = sum(len(story.events) for story, _ in stories)
    assert 0.3 < kinds.count("event") / num_events < 0.7
    words = {word for clip in spoken for s in clip.subtitles for word in s.text.split()}
    assert len(words) < 160


def _scene(*events, second=False):
    """A big red cross near the middle, perhaps a blue ring to its right, and what they do."""
    cast = (Actor("Ada", "red", "cross", "big", 16.0, 36.0),)
    if second:
        cast += (Actor("Bo", "blue", "ring", "small", 34.0, 36.0),)
    return Story(6.0, "snow", (0.1, 0.6), 7, cast, events)


def _measure(story, steps=4):
    """Ink pixels [frame, colour], and appearance and motion as {quantity: [frame, colour]}."""
    frames = render(story, np.arange(4 * steps + 1) * (SECONDS_PER_FEATURE / steps))
    found = inks(frames)
    pixels = np.stack(
        [np.isin(found, (1 + colour, 9 + colour)).sum((1, 2)) for colour in range(len(COLOURS))], -1
    )
    names = ("dx", "dy", "abs_dx", "abs_dy", "growth", "turned", "near", "came")
    per_colour = motion(frames, steps)[:, : len(names) * len(COLOURS)]
    return pixels, dict(zip(names, np.split(per_colour, len(names), axis=1), strict=True))


def test_enter_and_leave_change_the_pixels():
    away = Actor("Ada", "red", "cross", "big")
    enter = Event("enter", 0, 1.5, 3.0, x=20.0, y=36.0, side="left")
    pixels, moved = _measure(dataclasses.replace(_scene(enter), cast=(away,)))
    assert pixels[:4, RED].max() == 0
    assert pixels[9:, RED].min() > 40
    assert moved["came"][1, RED] == 1
    assert moved["dx"][1, RED] > 0
    pixels, moved = _measure(_scene(Event("leave", 0, 1.5, 3.0, side="sky")))
    assert pixels[:4, RED].min() > 40
    assert pixels[9:, RED].max() == 0
    assert moved["came"][1, RED] == -1
    assert moved["dy"][1, RED] < 0


@pytest.mark.parametrize(
    ("what", "fields", "shows", "still"),
    [
        ("move", {"x": 36.0, "side": "right"}, {"dx": 1}, ("dy", "growth", "turned")),
        ("move", {"x": 8.0, "side": "left"}, {"dx": -1}, ("dy", "growth", "turned")),
        ("rise", {"y": 14.0}, {"dy": -1}, ("dx", "growth", "turned")),
        ("jump", {}, {"abs_dy": 1}, ("dx", "growth", "turned")),
        ("shake", {}, {"abs_dx": 1}, ("dy", "growth", "turned")),
        ("spin", {}, {"turned": 1}, ("growth",)),
        ("shrink", {}, {"growth": -1}, ("dx", "dy", "turned")),
    ],
)
def test_each_movement_can_be_read_from_the_motion(what, fields, shows, still):
    event = Event(what, 0, 1.5, 4.5, **{"x": 16.0, "y": 36.0, **fields})
    _, moved = _measure(_scene(event))
    for quantity, sign in shows.items():
        assert (moved[quantity][1:3, RED] * sign).mean() > 0.2, quantity
    for quantity in still:
        assert np.abs(moved[quantity][1:3, RED].mean()) < 0.2, quantity
    for quantity, values in moved.items():
        if quantity != "near":
            np.testing.assert_allclose(values[[0, 3]], 0, atol=1e-9, err_msg=quantity)


def test_turning_changes_the_colour():
    pixels, moved = _measure(_scene(Event("turn", 0, 1.5, 4.5, x=16.0, y=36.0, colour="blue")))
    assert (pixels[0, RED], pixels[0, BLUE]) == (pixels[-1, BLUE], pixels[-1, RED])
    assert moved["came"][:, RED].sum() == -1
    assert moved["came"][:, BLUE].sum() == 1


def test_actors_who_meet_come_close():
    fields = {"x": 19.0, "y": 36.0, "whom": 1, "whom_x": 31.0, "whom_y": 36.0}
    _, moved = _measure(_scene(Event("meet", 0, 1.5, 4.5, **fields), second=True))
    assert moved["near"][3, RED] > 1.3 * moved["near"][0, RED]
    assert moved["dx"][1:3, RED].min() > 0 > moved["dx"][1:3, BLUE].max()


@given(SEEDS, st.sampled_from(PLACES), st.floats(0, 0.35), st.floats(0.45, 0.65))
@settings(max_examples=30)
def test_the_empty_stage_has_no_colour_of_an_actor(decor, place, begin, length):
    story = Story(60.0, place, (begin, begin + length), decor, (), ())
    times = np.linspace(0, 60, 25)
    assert inks(render(story, times)).max() == 0
    pale = palettes(story, times)[:, :BODY_INK, None, :3].astype(float)
    cast = np.concatenate([CAST_COLOURS, EYE_COLOURS])
    assert np.linalg.norm(pale - cast, axis=-1).min() > 25


def test_forms_are_told_apart_at_every_size_and_angle():
    hits = []
    for form in FORMS:
        for size in ("small", "big"):
            actor = Actor("Ada", "green", form, size, 24.0, 30.0)
            spin = Event("spin", 0, 0.0, 6.0, x=24.0, y=30.0)
            story = Story(6.0, "city", (0.0, 0.5), 3, (actor,), (spin,))
            found = appearance(render(story, np.linspace(0, 6, 40)))
            likeness = found[:, 24:80].reshape(40, len(COLOURS), len(FORMS))
            green = likeness[:, COLOURS.index("green")]
            assert green[:, FORMS.index(form)].mean() > 0.9, (form, size)
            hits.append(green.argmax(-1) == FORMS.index(form))
            np.testing.assert_array_equal(likeness[:, RED], 0)
    assert np.mean(hits) > 0.95
    assert np.mean(hits, axis=1).min() > 0.8


def _subjects(clips):
    """Frame features under each subtitle that tells an event, its subject's looks, the action."""
    for clip in clips:
        story, narration = from_json(clip.story)
        looks = list(story.looks())
        values = np.concatenate([*clip.features, np.ones((len(clip.frame_images), 1))], axis=1)
        for subtitle, entry in zip(clip.subtitles, narration, strict=True):
            if entry["kind"] == "event":
                event = story.events[entry["event"]]
                first, last = (int(t / SECONDS_PER_FEATURE) for t in (subtitle.start, subtitle.end))
                yield values[first : last + 1].mean(0), looks[entry["event"]][event.who], event.what


def _probe(clips, word, known, words, known_words):
    """Accuracy of ridge regression from frames to a word, given another word of the sentence."""
    inputs, targets = [], []
    for values, actor, what in _subjects(clips):
        table = np.zeros((len(known_words), len(values)))
        table[known_words.index(known(actor))] = values
        inputs.append(table.ravel())
        targets.append(words.index(word(actor, what)))
    inputs, targets = np.array(inputs), np.array(targets)
    cut = len(inputs) * 4 // 5
    train = inputs[:cut]
    duals = np.linalg.solve(train @ train.T + 10 * np.eye(cut), np.eye(len(words))[targets[:cut]])
    guesses = (inputs[cut:] @ (train.T @ duals)).argmax(1)
    commonest = np.bincount(targets[cut:]).max() / len(guesses)
    return (guesses == targets[cut:]).mean(), commonest


def test_frames_show_what_their_subtitles_say(corpus):
    """A linear probe on 80 films is far above always guessing the commonest word."""
    colour, common = _probe(corpus, lambda a, _: a.colour, lambda a: a.form, COLOURS, FORMS)
    assert colour > common + 0.5
    form, common = _probe(corpus, lambda a, _: a.form, lambda a: a.colour, FORMS, COLOURS)
    assert form > common + 0.4
    actions = list(ACTIONS)
    action, common = _probe(corpus, lambda _, what: what, lambda a: a.colour, actions, COLOURS)
    assert action > common + 0.2


def test_neighbouring_frames_are_alike_and_films_are_not(corpus):
    """The mean of the frames around it finds a frame among those of 24 films."""
    wanted, guesses = [], []
    for clip in corpus[:24]:
        values = np.concatenate(clip.features, axis=1).astype(np.float64)
        wanted.append(values[5:-1:7])
        guesses.append((values[4:-2:7] + values[6::7][: len(wanted[-1])]) / 2)
    wanted, guesses = np.concatenate(wanted), np.concatenate(guesses)
    nearest = ((guesses[:, None] - wanted) ** 2).sum(-1).argmin(1)
    assert (nearest == np.arange(len(wanted))).mean() > 0.5


def test_the_hour_tells_frames_apart(corpus):
    """First and last frames of a film, without anybody on stage, differ more than neighbours."""
    for clip in corpus[:10]:
        story, _ = from_json(clip.story)
        empty = dataclasses.replace(story, cast=(), events=())
        frames = render(empty, np.linspace(0, story.duration, 30)).astype(float)
        steps = np.abs(np.diff(frames, axis=0)).mean((1, 2, 3))
        assert steps.min() > 0.05
        assert np.abs(frames[-1] - frames[0]).mean() > 3 * steps.mean()


def test_a_film_can_be_looked_at(tmp_path, corpus, capsys):
    out = tmp_path / "film.png"
    main(["--clip=3", "--seed=0", f"--out={out}"])
    shown = capsys.readouterr().out
    assert Image.open(out).size[0] > 500
    clip = corpus[3]
    assert clip.clip_id in shown
    assert all(subtitle.text in shown for subtitle in clip.subtitles)


def test_a_corpus_with_the_tokenizer_of_another(tmp_path):
    other = Tokenizer.train(["the red circle jumps"] * 3, 290)
    other.save(tmp_path / "tokenizer.json")
    command = ["shapes", "--num_clips=10", "--workers=1", f"--out={tmp_path / 'films'}"]
    build.main([*command, f"--tokenizer={tmp_path}"])
    assert DatasetMetadata.load(tmp_path / "films").tokenizer == other.identity
    assert Tokenizer.load(tmp_path / "films").identity == other.identity
