"""`~` is the home directory in every path of every command and of the library."""

import ast
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from PIL import Image

import main
from configs import pretrain
from data import build
from data.errors import InputError
from data.records.reader import Split
from data.shapes.__main__ import main as show_film
from data.show.__main__ import main as show
from data.sources.features import FeatureParts
from data.tokenizer import Tokenizer
from data.validate.__main__ import main as validate
from hero_jax import export
from hero_jax.conversion.torch.write import write_state_dict
from hero_jax.experiment.datasets import open_dataset
from hero_jax.index import Index
from hero_jax.inference import compiled, exported, load
from hero_jax.search.__main__ import main as search
from hero_jax.training.checkpoint import Checkpoints
from tests.end_to_end.harness import Process, sentence
from tests.hero_jax.inference.export_samples import WIDTHS, WORDS, model, source
from tests.paths import ROOT

# Arguments that are no paths; `--beam` holds options of another program.
OTHERS = {"beam", "clip", "clips", "dtype", "feature_name", "sentences", "split", "task", "workers"}
OTHERS |= {"subtitle_encoding", "networks", "subtitle_language", "max_pixels", "host"}
OTHERS |= {"seconds_per_feature", "tasks", "topologies", "video", "folder"}
# Options `[SPLIT=]PATH`, `[NETWORK=]PATH` or `[TASK=]PATH`, parsed when the command runs.
SPLIT_PATHS = {"queries", "queries_db", "splits", "weights", "check", "whisper_model", "runs"}


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home directory; the current one is another, and stays empty."""
    home, here = tmp_path / "home", tmp_path / "here"
    home.mkdir()
    here.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(here)
    yield home
    assert not [*here.iterdir()]


def write_inputs(home: Path) -> None:
    """Writes an export, and features, subtitles, queries and splits of two clips for its model."""
    (home / "export").mkdir()
    (home / "export" / exported.DESCRIPTION).write_text(json.dumps(source().description))
    source().tokenizer.save(home / "export" / exported.TOKENIZER)
    weights = safetensors.numpy.save(source().params)
    (home / "export" / exported.WEIGHTS).write_bytes(weights)
    for number, width in enumerate(WIDTHS):
        (home / f"part{number}").mkdir()
        for name in "ab":
            np.save(home / f"part{number}" / f"{name}.npy", np.ones((4, width), np.float32))
    subtitles = [{"text": WORDS, "start": 0, "end": 3}]
    (home / "said.jsonl").write_text(json.dumps({"vid_name": "a", "sub": subtitles}))
    query = {"id": "q", "video": "a", "text": "it spins", "start": 0, "end": 3}
    (home / "queries.jsonl").write_text(json.dumps(query))
    (home / "train.json").write_text('["a", "b"]')
    (home / "sentences.txt").write_text("it spins\n")


def test_commands_read_and_write_there(home, capsys, monkeypatch):
    write_inputs(home)
    build.main(
        [
            "raw",
            "--features=~/part0",
            "--features=~/part1",
            "--subtitles=~/said.jsonl",
            "--queries=~/queries.jsonl",
            "--splits=train=~/train.json",
            "--tokenizer=~/export/tokenizer.json",
            "--seconds_per_feature=1.5",
            "--clip_seconds=0",
            "--workers=1",
            "--out=~/films",
        ]
    )
    assert len(Split(home / "films", "train")) == 2
    validate(["~/films"])
    show(["~/films", "--clip=a", "--out=~/a.png"])
    search(["index", "--model=~/export", "--data=~/films", "--index=~/index"])
    assert len(Index(home / "index")) == 2
    search(["delete", "a", "b", "--index=~/index"])
    search(["compact", "--index=~/index"])
    assert len(Index(home / "index")) == 0
    given = ["--model=~/export", "--index=~/index", "--data=~/films"]
    search(["query", "--file=~/sentences.txt", "--page=~/found.html", *given])
    assert "it spins" in (home / "found.html").read_text()
    monkeypatch.setattr(sys, "argv", ["data.shapes", "--out=~/film.png"])
    show_film()
    for name in ("a.png", "film.png"):
        Image.open(home / name).verify()
    assert "~" not in capsys.readouterr().out


def test_so_do_runs(home):
    (home / "mine.py").write_text("from configs.pretrain import get_config\n")
    flags = ["--config", "~/mine.py:shapes", "--workdir=~/run", "--config.data.dir=~/data"]
    process = Process([sys.executable, ROOT / "main.py", *flags])
    assert f"{home}/data/shapes does not exist" in sentence(process)
    assert main.in_home("", "--config=~/mine.py:shapes") == f"--config={home}/mine.py:shapes"


def test_functions_read_and_write_there(home):
    write_inputs(home)
    (home / "run").mkdir()
    assert load("~/export").identity == model().identity
    assert Tokenizer.load(Path("~/export")).identity == source().tokenizer.identity
    assert FeatureParts([Path("~/part0")]).ids() == {"a", "b"}
    write_state_dict("~/weights.pt", {"weight": np.zeros(2, np.float32)})
    assert (home / "weights.pt").is_file()
    assert Checkpoints("~/run").directory == home / "run" / "checkpoints"
    config = pretrain.get_config()
    config.data.dir = "~/data"
    for call in (
        lambda: export.from_run("~/none"),
        lambda: export.export("~/none", "~/there"),
        lambda: Index("~/none"),
        lambda: Split("~/none", "train"),
        lambda: compiled.read("~/none"),
        lambda: open_dataset(config, "none"),
        lambda: open_dataset(config, "~/none"),
    ):
        with pytest.raises(InputError, match=str(home)):
            call()


def options(file: Path) -> dict[str, ast.expr | None]:
    """The type of each argument of a command's parser that is stored as it is given."""
    found = {}
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "add_argument":
            given = {keyword.arg: keyword.value for keyword in node.keywords}
            action = given.get("action")
            if "choices" not in given and getattr(action, "value", "") != "store_true":
                name = node.args[0]
                text = name.value if isinstance(name, ast.Constant) else "max_limit"
                found[text.lstrip("-")] = given.get("type")
    return found


FILES = [
    path
    for folder in ("data", "hero_jax", "benchmarks")
    for path in sorted((ROOT / folder).rglob("*.py"))
    if "add_argument(" in path.read_text()
]


@pytest.mark.parametrize("file", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_option_is_a_path_with_a_home_or_no_path(file):
    types = {name: getattr(kind, "id", "") for name, kind in options(file).items()}
    assert not {name for name, kind in types.items() if kind in ("Path", "str") or not kind} - (
        OTHERS | SPLIT_PATHS
    )
