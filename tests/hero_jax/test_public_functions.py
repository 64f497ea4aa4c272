"""Public functions of inference, search and index refuse, in a sentence, what cannot be meant."""

import dataclasses
import functools
import inspect
import math
import numbers
import operator
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from data.errors import InputError
from data.schema import RawQuery
from hero_jax import index, inference, search
from hero_jax.index import Entry, Index, Line, Writer
from tests.hero_jax.index import index_samples
from tests.hero_jax.inference.export_samples import WIDTHS, clips, model, source

# Public names that take no arguments of users, or that are values.
EXEMPT = {"Answer", "FoundMoment", "IndexedClip", "Line", "DTYPES", "FORMAT_VERSION", "Model.run"}
# What every store has is tried with that of files. What searches pass to it is no user's.
EXEMPT |= {"STORES", "Snapshot", "StoreWriter", "Index.candidates"}


def _never(value):
    return False


def _is_text(value):
    try:
        return isinstance(value, str) and bool(value.encode() or True)
    except UnicodeEncodeError:
        return False


def _is_number(value):
    if isinstance(value, np.ndarray | np.generic) and np.ndim(value) == 0:
        value = value.item()
    try:
        return isinstance(value, numbers.Real) and math.isfinite(value)
    except OverflowError:
        return False


def _is_whole(value, least=-math.inf):
    try:
        return operator.index(value) >= least
    except TypeError:
        return False


def _items(value):
    """The items of a list of anything, None for what is no list."""
    try:
        return None if isinstance(value, str | bytes) else list(value)
    except TypeError:
        return None


def _are(check):
    """Returns the check of a list of things that pass a check."""
    return lambda value: (items := _items(value)) is not None and all(map(check, items))


def _is_array(value, shape, kinds):
    """Checks for an array of a shape, in which None is any number but 0, and finite in float16."""
    try:
        array = np.asarray(value)
    except ValueError:
        return False
    if array.ndim != len(shape) or array.dtype.kind not in kinds:
        return False
    with np.errstate(over="ignore"):
        finite = bool(np.isfinite(array.astype(np.float16)).all())
    return finite and all(n == m if m else n for n, m in zip(array.shape, shape, strict=True))


def _is_nothing(value):
    """Checks for None, or a list of none."""
    return value is None or _items(value) == []


def _is_mask(value):
    return isinstance(value, np.ndarray) and (value.shape, value.dtype) == ((1,), bool)


def _is_line(value):
    items = _items(value)
    return items is not None and len(items) == 3 and _is_text(items[2])


def _is_features(value):
    one = value[0] if isinstance(value, list | tuple) and len(value) == 1 else value
    return _is_array(one, (None, sum(WIDTHS)), "f")


def _is_moment(value):
    items = _items(value)
    return value is None or (items is not None and len(items) == 2 and all(map(_is_number, items)))


@functools.cache
def _index():
    """An index of clips, which no test changes."""
    return search.build_index(model(), clips()[:1], Path(tempfile.mkdtemp()) / "index")


@dataclasses.dataclass(frozen=True)
class Case:
    """A function: how it is called, right arguments, and what each of them may be instead.

    call: takes a new folder and the arguments by name.
    right: by argument, a value, or a function that makes it.
    could_mean: by argument, a check of whether a value can be meant.
    """

    call: Callable[..., Any]
    right: dict[str, Any]
    could_mean: dict[str, Callable[[Any], bool]]


def _among(_, /, **given):
    return index.among(given.pop("index"), **given)


def _case(call, /, **arguments):
    right = {name: value for name, (value, _) in arguments.items()}
    return Case(call, right, {name: check for name, (_, check) in arguments.items()})


def _of_model(method, /, **arguments):
    return _case(lambda folder, **given: getattr(model(), method)(**given), **arguments)


def _of_index(method, /, **arguments):
    return _case(lambda folder, **given: getattr(_index(), method)(**given), **arguments)


def _of_writer(method, /, **arguments):
    def call(folder, **given):
        with Writer(index_samples.make(folder / "index")) as writer:
            getattr(writer, method)(**given)

    return _case(call, **arguments)


def _new(folder, path):
    return folder / path if isinstance(path, str) and path == "new" else path


def _add_entry(folder, **fields):
    with Writer(index_samples.make(folder / "index")) as writer:
        writer.add([Entry(**fields)])


def _add_line(folder, **fields):
    _add_entry(folder, clip_id="c", video_id="", start=0, frames=FRAMES, lines=[Line(**fields)])


FRAMES = np.zeros((2, index_samples.WIDTH), np.float32)
FEATURES = np.zeros((3, sum(WIDTHS)), np.float32)
# A path that is a string may be any, so others are tried in tests/data/test_arguments.py.
PATH = _is_text
CLIP, CLIPS = (lambda: clips()[0], _never), (lambda: clips()[:1], _are(_never))
CASES = {
    "load": _case(lambda folder, **given: inference.load(**given), path=("none", PATH)),
    "Model": _case(lambda folder, **given: inference.Model(**given), source=(source, _never)),
    "Model.clip": _of_model(
        "clip",
        clip_id=("c", _is_text),
        features=(FEATURES, _is_features),
        subtitles=((), _are(_is_line)),
        video_id=("", _is_text),
        start=(0.0, _is_number),
    ),
    "Model.records": _of_model(
        "records",
        dataset=("none", PATH),
        split=("test", _is_text),
        on_corrupt=("skip", lambda value: isinstance(value, str) and value in ("error", "skip")),
    ),
    "Model.encode_clips": _case(
        lambda folder, clips: list(model().encode_clips(clips)), clips=CLIPS
    ),
    "Model.encode_queries": _of_model("encode_queries", texts=(["it"], _are(_is_text))),
    "Model.respond": _of_model(
        "respond", name=("inference", _is_text), clip=CLIP, query=(RawQuery("", "", "it"), _never)
    ),
    "Model.answer": _of_model(
        "answer", clip=CLIP, question=("what", _is_text), answers=(["a", "b"], _are(_is_text))
    ),
    "Model.entails": _of_model("entails", clip=CLIP, statement=("it spins", _is_text)),
    "Model.caption": _of_model("caption", clip=CLIP, moment=(None, _is_moment)),
    "build_index": _case(
        lambda folder, path, **given: search.build_index(path=_new(folder, path), **given),
        model=(model, _never),
        clips=CLIPS,
        path=("new", PATH),
        dtype=(None, lambda value: value is None),
        store=("files", _never),
    ),
    "add_clips": _case(
        lambda folder, **given: search.add_clips(**given),
        model=(model, _never),
        clips=CLIPS,
        path=(lambda: _index().path, PATH),
    ),
    "search": _case(
        lambda _, /, **given: search.search(**given),
        model=(model, _never),
        index=(_index, _never),
        texts=(["it"], _are(_is_text)),
        top=(1, lambda value: _is_whole(value, 1)),
        said=(0.5, lambda value: _is_number(value) and 0 <= value <= 1),
        videos=(None, _is_nothing),
        folder=(None, lambda value: value is None),
        exact=(False, lambda value: isinstance(value, bool)),
    ),
    "create": _case(
        lambda folder, path, **given: index.create(_new(folder, path), **given),
        path=("new", PATH),
        width=(3, lambda value: _is_whole(value, 1)),
        dtype=("float32", _never),
        max_frames=(3, lambda value: _is_whole(value, 1)),
        seconds_per_feature=(1.5, lambda value: _is_number(value) and value > 0),
        model=({"identity": "a model"}, _never),
        store=("files", _never),
    ),
    "among": _case(
        _among,
        index=(_index, _never),
        videos=(None, _is_nothing),
        folder=(None, lambda value: value is None),
    ),
    "exists": _case(lambda folder, path: index.exists(path), path=("none", PATH)),
    "migrate": _case(
        lambda folder, target, **given: index.migrate(target=_new(folder, target), **given),
        source=(lambda: _index().path, PATH),
        target=("new", PATH),
        store=("files", _never),
    ),
    "open_index": _case(lambda folder, path: index.open_index(path), path=("none", PATH)),
    "open_writer": _case(lambda folder, path: index.open_writer(path), path=("none", PATH)),
    "Index": _case(lambda folder, **given: Index(**given), path=("none", PATH)),
    "Index.block": _of_index("block", first=(0, _is_whole), count=(1, _is_whole)),
    "Index.norms": _of_index("norms", first=(0, _is_whole), count=(1, _is_whole)),
    "Index.frames": _of_index("frames", numbers=([0], _are(_is_whole))),
    "Index.text_search": _of_index(
        "text_search",
        text=("it", _is_text),
        count=(1, lambda value: _is_whole(value, 0)),
        among=(None, lambda value: value is None or _is_mask(value)),
    ),
    "Index.clips": _of_index("clips", numbers=([0], _are(_is_whole))),
    "Index.describe": _of_index("describe", number=(0, _is_whole)),
    "Writer": _case(lambda folder, **given: Writer(**given), path=("none", PATH)),
    "Writer.add": _of_writer(
        "add", entries=([], _are(_never)), outdated=(None, lambda value: value is None)
    ),
    "Writer.delete": _of_writer("delete", clip_ids=([], _are(_is_text))),
    "Entry": _case(
        _add_entry,
        clip_id=("c", _is_text),
        video_id=("", _is_text),
        start=(0.0, _is_number),
        frames=(FRAMES, lambda value: _is_array(value, (None, index_samples.WIDTH), "f")),
        lines=((), _are(_never)),
    ),
    "Line": _case(_add_line, start=(0.0, _is_number), end=(1.0, _is_number), text=("it", _is_text)),
}
ARGUMENTS = [(name, argument) for name, case in CASES.items() for argument in case.right]

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.complex_numbers()
    | st.text(max_size=4)
    | st.just("\ud800")
    | st.binary(max_size=4)
    | st.builds(object)
)


def _filled(shape, dtype, value):
    with np.errstate(all="ignore"):
        return np.full(shape, value).astype(dtype)


odd_arrays = st.builds(
    _filled,
    st.lists(st.integers(0, 6), max_size=3),
    st.sampled_from([*"?bBlLefdgFO", "U3", "S3", "M8[s]"]),
    st.sampled_from([0, 1, -3, math.nan]),
)
sequences = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.tuples(inner, inner), max_leaves=6
)
odd = sequences | odd_arrays | st.dictionaries(st.text(max_size=2), scalars, max_size=2)


def parameters(function) -> set[str]:
    return {name for name in inspect.signature(function).parameters if name != "self"}


def test_every_argument_of_every_public_function_is_tried():
    public: dict[str, set[str]] = {}
    for module in (inference, search, index):
        for name in module.__all__:
            value = getattr(module, name)
            if name in EXEMPT or not callable(value):
                continue
            public[name] = parameters(value)
            if inspect.isclass(value) and not dataclasses.is_dataclass(value):
                public |= {
                    f"{name}.{method}": parameters(function)
                    for method, function in inspect.getmembers(value, inspect.isfunction)
                    if not method.startswith("_")
                }
    public = {name: taken for name, taken in public.items() if taken and name not in EXEMPT}
    tried = {name: set(case.right) for name, case in CASES.items() if name != "Line"}
    assert tried == public


@pytest.mark.parametrize(("function", "argument"), ARGUMENTS, ids=lambda value: str(value))
@hypothesis.settings(deadline=None, max_examples=15)
@hypothesis.given(data=st.data())
def test_what_cannot_be_meant_is_refused(function, argument, data):
    case = CASES[function]
    value = data.draw(odd.filter(lambda value: not case.could_mean[argument](value)))
    right = {name: made() if callable(made) else made for name, made in case.right.items()}
    with tempfile.TemporaryDirectory() as folder, pytest.raises(InputError) as caught:
        case.call(Path(folder), **{**right, argument: value})
    message = str(caught.value)
    assert argument in message or (argument in ("path", "dataset") and "the path" in message)
    assert "\n" not in message
    assert ": " in message
