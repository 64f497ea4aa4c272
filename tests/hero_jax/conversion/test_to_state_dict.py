"""Exporting parameters as the original's state dict and as a file of PyTorch."""

import collections
import io
import json
import pickle
import re
import resource
import zipfile

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st

from data.errors import InputError
from hero_jax.conversion import original_names
from hero_jax.conversion.state_dict import from_state_dict, to_state_dict
from hero_jax.conversion.torch.read import read_state_dict
from hero_jax.conversion.torch.write import write_state_dict
from hero_jax.export import for_original
from hero_jax.models.params import flatten, unflatten
from hero_jax.tasks.registry import make_task
from tests.golden.vectors import model_config
from tests.hero_jax.random_models import random_model
from tests.hero_jax.tiny import QUICK, TOKENS, make_config
from tests.paths import TESTDATA

WORD = "cross_modal/text_embedding/word"
BIAS = "cross_modal/lm_head/bias"
PADS = ("v_encoder.pad", "v_encoder.f_encoder.pad")


def assert_same(got, expected):
    """Same names, shapes, types and bytes."""
    assert got.keys() == expected.keys()
    for name, array in expected.items():
        assert (got[name].dtype, got[name].shape) == (array.dtype, array.shape), name
        assert got[name].tobytes() == array.tobytes(), name


def pads(size):
    """The buffers that every model of the original has."""
    return dict.fromkeys(PADS, np.zeros((8, size), np.float32))


# The original's checkpoints come back


def golden(variant):
    """Returns a golden directory, its model's blocks and meta, and its pre-training weights."""
    folder = TESTDATA / "golden" / variant
    blocks, meta = (
        json.loads((folder / f"{name}.json").read_text()) for name in ("model_config", "meta")
    )
    return folder, blocks, meta, dict(np.load(folder / "weights.npz"))


def make_head(kind, blocks):
    """Returns the function that makes a downstream task's head."""
    if kind == "captioning":
        settings = {
            "decoder_layers": blocks["d_config"]["num_hidden_layers"],
            "decoder_positions": blocks["d_config"]["max_position_embeddings"],
        }
        return make_task("captioning", settings, TOKENS, "any").make_head
    kinds = {"video_qa": "question_answering", "violin": "inference"}
    return make_task(kinds[kind], {}, TOKENS, "any").make_head


@pytest.mark.parametrize("variant", ["equal", "ragged"])
@pytest.mark.parametrize("kind", ["weights", "video_qa", "violin", "captioning"])
def test_the_originals_weights_come_back_byte_for_byte(variant, kind):
    folder, blocks, meta, state = golden(variant)
    config = model_config(blocks, meta, state)
    heads = {}
    if kind != "weights":
        heads["any_name"] = make_head(kind, blocks)
        # The task's file lacks the parameters that the task does not use; our model has them.
        task_arrays = dict(np.load(folder / f"{kind}.npz")).items()
        state |= {n.removeprefix("weights/"): a for n, a in task_arrays if n.startswith("weights/")}
    initial = flatten(random_model(config, heads)[1])
    params, report = from_state_dict(state, initial, config.vocab_size, "golden")
    assert (report.missing, report.unused) == ([], [])
    found = to_state_dict(params, config.vocab_size, label_smoothing=0.1)
    # The golden files have the buffers of captioning, and leave out the others.
    assert_same(found, state | pads(config.hidden_size))
    assert list(found) == sorted(found)


@pytest.mark.parametrize("variant", ["add", "concat", "sequence"])
def test_weights_of_values_fusions_come_back(variant):
    """But for a table that a sequence does not read."""
    folder = TESTDATA / "golden" / "value" / variant
    (meta_file,) = folder.glob("*/meta.json")
    blocks, meta = (
        json.loads(path.read_text()) for path in (folder / "model_config.json", meta_file)
    )
    state = dict(np.load(folder / "weights.npz"))
    config = model_config(blocks, meta, state)
    heads = {"qa": make_head("video_qa", blocks), "captions": make_head("captioning", blocks)}
    initial = flatten(random_model(config, heads)[1])
    params, report = from_state_dict(state, initial, config.vocab_size, "golden")
    assert (report.missing, report.unused) == ([], [])
    found = to_state_dict(params, config.vocab_size)
    if variant == "sequence":
        unused = original_names.UNUSED_WORDS
        state[unused] = np.zeros_like(state[unused])
    assert_same(without_buffers(found), state)


def without_buffers(state):
    buffers = *PADS, original_names.CAUSAL_MASK
    return {name: x for name, x in state.items() if name not in buffers}


# Kinds of tasks of a run, and the golden file whose names are those of the original's model for it.
MODELS = {
    ("mlm", "vsm"): "weights",
    ("moment_retrieval",): "weights",
    ("video_retrieval",): "weights",
    ("question_answering",): "video_qa",
    ("inference",): "violin",
    ("captioning",): "captioning",
}


@pytest.mark.parametrize(("kinds", "kind"), MODELS.items(), ids=lambda value: str(value))
def test_a_run_has_the_names_and_shapes_of_the_originals_model_for_its_tasks(kinds, kind):
    folder, blocks, meta, state = golden("equal")
    config = model_config(blocks, meta, state)
    heads = {} if kind == "weights" else {"any_name": make_head(kind, blocks)}
    if heads:
        named = dict(np.load(folder / f"{kind}.npz")).items()
        state = {n.removeprefix("weights/"): a for n, a in named if n.startswith("weights/")}
    params = for_original(flatten(random_model(config, heads)[1]), kinds)
    found = to_state_dict(params, config.vocab_size, label_smoothing=0.1)
    expected = state | pads(config.hidden_size)
    assert {n: a.shape for n, a in found.items()} == {n: a.shape for n, a in expected.items()}


def test_a_run_that_searches_and_answers_keeps_all_heads():
    params = head_params("tvqa", "video_qa") | {"span_head/start": np.ones(5, np.float32)}
    assert for_original(params, {"question_answering", "vsm"}) == params
    assert for_original(params, {"question_answering"}).keys() == params.keys() - {
        "span_head/start"
    }


@settings(deadline=None)
@given(data=st.data(), vocab_size=st.integers(1, 300))
def test_vocabularies_come_back_with_their_padding(data, vocab_size):
    rows = vocab_size + data.draw(st.sampled_from([0, -vocab_size % 8]))
    padded = vocab_size + -vocab_size % 8
    rng = np.random.default_rng(vocab_size)
    table = rng.normal(size=(rows, 2)).astype(np.float32)
    bias = np.where(np.arange(rows) < vocab_size, rng.normal(size=rows), 0).astype(np.float32)
    initial = {
        WORD: np.ones((vocab_size + -vocab_size % 128, 2), np.float32),
        BIAS: np.ones(vocab_size, np.float32),
    }
    state = {
        original_names.WORDS: table,
        original_names.WORD_BIAS: bias,
        original_names.TIED_WORDS: table,
    }
    params, _ = from_state_dict(state, initial, vocab_size, "hero.pt")
    # The original's tables are always padded; one that is not gets rows of zeros.
    missing = [(0, padded - rows)]
    table = np.pad(table, [*missing, (0, 0)])
    state |= {original_names.WORDS: table, original_names.WORD_BIAS: np.pad(bias, missing)}
    found = to_state_dict(params, vocab_size)
    assert_same(found, state | {original_names.TIED_WORDS: table} | pads(2))
    assert found[original_names.WORDS] is found[original_names.TIED_WORDS]


def test_nothing_reads_the_tables_padding():
    config = make_config().model
    graphdef, params = random_model(config)
    ids = jnp.arange(config.vocab_size)

    def loss(params):
        model = nnx.merge(graphdef, params)
        logits = model.word_logits(model.cross_modal.text_embedding(ids, ids % 8))
        return jnp.mean(jax.nn.logsumexp(logits, axis=-1) - logits[ids, ids])

    compute = jax.jit(jax.value_and_grad(loss), compiler_options=QUICK)
    flat = flatten(params)
    flat[WORD] = flat[WORD].at[config.vocab_size :].set(1e3)
    other = jax.tree.map(lambda x: x, params)
    nnx.replace_by_pure_dict(other, unflatten(flat))
    (expected, gradients), (found, others) = compute(params), compute(other)
    assert found == expected
    jax.tree.map(np.testing.assert_array_equal, others, gradients)
    assert not flatten(gradients)[WORD][config.vocab_size :].any()


def test_parameters_on_devices_and_of_other_types_become_float32():
    params = {
        WORD: jnp.ones((128, 2), jnp.bfloat16),
        "temporal/pooler/kernel": np.array([[1.5, -2.0, 0.25], [3.0, 4.0, 5.0]]),
        "feature_head/mlp/out/kernel": np.arange(6, dtype=np.float32).reshape(2, 3),
        "span_head/start": jnp.arange(5, dtype=jnp.bfloat16),
    }
    found = to_state_dict(params, 4)
    assert all(array.flags.c_contiguous for array in found.values())
    assert_same(
        found,
        {
            "v_encoder.c_encoder.pooler.dense.weight": np.float32([[1.5, 3], [-2, 4], [0.25, 5]]),
            "v_encoder.feat_regress.net.3.weight": np.float32([[0, 3], [1, 4], [2, 5]]),
            "video_st_predictor.weight": np.float32([[[0, 1, 2, 3, 4]]]),
            original_names.WORDS: np.ones((8, 2), np.float32),
            original_names.TIED_WORDS: np.ones((8, 2), np.float32),
            **pads(2),
        },
    )


def head_params(task, kind, blocks=None):
    """Returns random parameters of one head by path, and the table of words."""
    config = make_config().model
    flat = flatten(random_model(config, {task: make_head(kind, blocks)})[1])
    return {path: x for path, x in flat.items() if path.startswith("heads/") or path == WORD}


def test_two_heads_of_a_kind_are_refused():
    params = head_params("violin", "violin") | head_params("another", "violin")
    sentence = (
        "tasks 'violin' and 'another' have heads of one kind, for which the original has one set "
        "of names: export a run with one of them"
    )
    with pytest.raises(InputError, match=f"^{sentence}$"):
        to_state_dict(params, 4)


def test_heads_of_two_kinds_are_written():
    params = head_params("violin", "violin") | head_params("tvqa", "video_qa")
    state = to_state_dict(params, 4)
    assert {"violin_pool.weight", "qa_pool.weight"} < state.keys()
    assert len(state) == len(params) + 1 + len(PADS)


def test_without_smoothed_labels_the_original_has_no_distribution_of_them():
    folder, blocks, _, _ = golden("equal")
    state = to_state_dict(head_params("tvc", "captioning", blocks), 4)
    assert "loss_func.one_hot" not in state
    mask = np.load(folder / "captioning.npz")["weights/decoder.tri_mask"]
    assert_same({"": state["decoder.tri_mask"]}, {"": mask})


def test_buffers_are_no_unused_parameters():
    params = head_params("violin", "violin")
    state = to_state_dict(params, 4)
    found, report = from_state_dict(state, params, 4, "hero.pt")
    assert (report.missing, report.unused) == ([], [])
    assert found.keys() == params.keys()


def test_a_head_that_the_original_lacks_is_refused():
    # Like VIOLIN's, and more.
    params = head_params("toy", "violin") | {"heads/toy/extra/kernel": np.ones((2, 2), np.float32)}
    sentence = "the original has no head like that of task 'toy': export a run without it"
    with pytest.raises(InputError, match=f"^{sentence}$"):
        to_state_dict(params, 4)


# PyTorch's file

TABLE = np.arange(9, dtype=np.float32).reshape(3, 3)
ARRAYS = {
    "table": TABLE,
    "bytes of text: ä": np.float32([-0.0, np.nan, np.inf]),
    "tied": TABLE,
    # Views of the same memory that are not the same array.
    "turned": TABLE.T,
    "row": TABLE[0],
    "a": np.zeros((0, 3), np.float32),
    "scalar": np.float32([2.5]).reshape(()),
}


@pytest.mark.parametrize("suffix", ["pt", "pth", "bin"])
def test_a_written_file_is_read_in_its_order(tmp_path, suffix):
    path = tmp_path / f"hero.{suffix}"
    path.write_text("old")
    write_state_dict(path, ARRAYS)
    found = read_state_dict(path)
    assert list(found) == list(ARRAYS)
    assert_same(found, ARRAYS)
    assert np.shares_memory(found["table"], found["tied"])
    assert list(tmp_path.iterdir()) == [path]


@settings(deadline=None, max_examples=50)
@given(
    shapes=st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs"]), max_size=300),
        st.lists(st.integers(0, 70), max_size=4).filter(lambda shape: np.prod(shape) < 1e5),
        min_size=1,
    )
)
def test_any_names_and_shapes_are_read_back(tmp_path_factory, shapes):
    rng = np.random.default_rng(0)
    # A prefix, because reading removes "module.".
    arrays = {f"_{name}": rng.normal(size=shape).astype("f4") for name, shape in shapes.items()}
    path = tmp_path_factory.mktemp("written") / "a.pt"
    write_state_dict(path, arrays)
    assert_same(read_state_dict(path), arrays)
    with path.open("rb") as file, zipfile.ZipFile(file) as archive:
        for info in archive.infolist():
            assert info.compress_type == zipfile.ZIP_STORED
            assert info.date_time == (1980, 1, 1, 0, 0, 0)
            file.seek(info.header_offset + 26)
            lengths = file.read(4)
            start = file.tell() + sum(
                int.from_bytes(n, "little") for n in (lengths[:2], lengths[2:])
            )
            assert start % 64 == 0, info.filename


def test_the_same_arrays_give_the_same_bytes(tmp_path):
    paths = [tmp_path / name for name in ("a.pt", "b.bin", "c.pt")]
    write_state_dict(paths[0], ARRAYS)
    copies = {name: array.copy() for name, array in ARRAYS.items()}
    write_state_dict(paths[1], copies | {"tied": copies["table"]})
    # Arrays that share their memory in one file share it in the next.
    write_state_dict(paths[2], read_state_dict(paths[0]))
    contents = [path.read_bytes() for path in paths]
    assert contents[0] == contents[1] == contents[2]


class Calls(pickle.Unpickler):
    """Python's unpickler, with calls replaced by lists of their names and arguments."""

    def find_class(self, module, name):
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        return lambda *arguments: [f"{module}.{name}", *arguments]

    def persistent_load(self, pid):
        return [pid[0], pid[1](), *pid[2:]]


def members(path):
    with zipfile.ZipFile(path) as archive:
        found = {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}
    found["data.pkl"] = Calls(io.BytesIO(found["data.pkl"])).load()
    return found


def test_a_file_describes_tensors_as_pytorch_does(tmp_path):
    real = members(TESTDATA / "torch" / "zip.pt")
    with np.load(TESTDATA / "torch" / "expected.npz") as expected:
        names = ("0.weight", "0.bias", "1.weight", "1.bias", "base", "empty")
        arrays = {name: expected[name] for name in names}
    write_state_dict(tmp_path / "a.pt", arrays)
    ours = members(tmp_path / "a.pt")
    keys = {}
    for name in names:
        expected, actual = (content["data.pkl"][name] for content in (real, ours))
        keys[name] = expected[1].pop(2), actual[1].pop(2)
        assert actual == expected
        assert ours[f"data/{keys[name][1]}"] == real[f"data/{keys[name][0]}"]
    assert len(set(keys.values())) == len(names)
    assert ours.keys() - {f"data/{key}" for _, key in keys.values()} == {
        *("data.pkl", "byteorder", "version")
    }
    for name in ("byteorder", "version"):
        assert ours[name] == real[name]


def test_a_full_disk_leaves_the_old_file(tmp_path):
    path = tmp_path / "hero.pt"
    path.write_text("old")
    arrays = {"a": np.ones(30_000, np.float32)}
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, hard))
    try:
        with pytest.raises(InputError, match=f"^{re.escape(str(path))} could not be .* make room"):
            write_state_dict(path, arrays)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [one.read_text() for one in tmp_path.iterdir()] == ["old"]
    write_state_dict(path, arrays)
    assert_same(read_state_dict(path), arrays)


def test_paths_and_arrays_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder.pt").mkdir()
    for name in ("absent/a.pt", "file/a.pt", "folder.pt"):
        with pytest.raises(InputError, match=re.escape(f"{tmp_path / name} could not be written")):
            write_state_dict(tmp_path / name, ARRAYS)
    with pytest.raises(InputError, match=r"a\.npz does not end in one of \.pt, "):
        write_state_dict(tmp_path / "a.npz", ARRAYS)
    with pytest.raises(TypeError, match="wide is float64"):
        write_state_dict(tmp_path / "a.pt", {"wide": np.ones(3)})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder.pt"]
