"""Runs on tiny data, in this process or as `python main.py`, and readers of what they leave."""

import contextlib
import io
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import jax
import numpy as np
import orbax.checkpoint as ocp

from configs import pretrain
from data.building.dataset import build_dataset
from data.building.plan import Building
from data.networks import Networks
from data.schema import DatasetMetadata, RawClip, RawQuery, RawSubtitle
from data.sources.base import ClipSource
from data.tokenizer import Tokenizer
from hero_jax.experiment.experiment import Experiment
from hero_jax.training import curves, loop
from hero_jax.training.step import Program
from tests.paths import ROOT

SECONDS_PER_FEATURE = 1.5
WORDS = [
    "a",
    "red",
    "green",
    "blue",
    "square",
    "circle",
    "star",
    "moves",
    "jumps",
    "spins",
    "meets",
    "leaves",
    "big",
    "small",
    "slowly",
]
# Seconds that the longest process takes on a busy machine, with a margin.
PATIENCE = 600


def raw_clip(number: int, *, num_frames: int = 0, widths: tuple[int, ...] = (6, 4)) -> RawClip:
    """A clip of 6 to 14 frames; subtitles: every sixth has none, the others one in two frames."""
    rng = np.random.default_rng(number)
    frames = num_frames or int(rng.integers(6, 15))
    starts = range(0, frames, 2) if number % 6 else ()
    return RawClip(
        clip_id=f"clip{number:03d}",
        features=tuple(rng.standard_normal((frames, w)).astype(np.float16) for w in widths),
        subtitles=tuple(
            RawSubtitle(
                " ".join(rng.choice(WORDS, rng.integers(2, 7))),
                start * SECONDS_PER_FEATURE,
                (start + rng.integers(1, 3)) * SECONDS_PER_FEATURE,
            )
            for start in starts
        ),
        frame_images=tuple(picture(f"clip{number:03d}", frame) for frame in range(frames)),
    )


def picture(clip_id: str, frame: int) -> bytes:
    """The signature of a PNG, and the name of the frame that it stands for."""
    return b"\x89PNG\r\n\x1a\n" + f"{clip_id} {frame}".encode()


def build(
    path: Path,
    *,
    widths: tuple[int, ...] = (6, 4),
    seconds_per_feature: float = SECONDS_PER_FEATURE,
    text: str = " ".join(WORDS),
    networks: Networks = (),
) -> DatasetMetadata:
    """25 clips to train on and 7 to validate, two with a query; the tokenizer learns `text`."""
    clips = [raw_clip(number, widths=widths) for number in range(32)]
    queries = [
        RawQuery(f"query{n}", clips[n].clip_id, "the red star", ((0.0, 3.0),)) for n in (26, 28)
    ]
    source = ClipSource(
        {"train": clips[:25], "validation": clips[25:]},
        seconds_per_feature,
        {"validation": queries},
        "query",
        networks=networks,
    )
    return build_dataset(path, source, Tokenizer.train([text] * 3, 280), Building())[0]


class Runs:
    """Starts runs of one small model on the dataset in a folder."""

    def __init__(self, dataset: Path):
        self.metadata = DatasetMetadata.load(dataset)
        self.dataset = dataset

    def values(self, **settings) -> dict:
        """Config fields of a run; `settings` override them, with `__` for the dot."""
        changes = {name.replace("__", "."): value for name, value in settings.items()}
        return {
            "data.dir": str(self.dataset.parent),
            "data.name": self.dataset.name,
            "batch.groups": 2,
            "batch.clips_per_group": 3,
            "batch.row_length": 32,
            "batch.max_frames": 14,
            "batch.max_tokens": 20,
            "batch.max_query_tokens": 20,
            "batch.queries_per_clip": 2,
            "model.hidden_size": 16,
            "model.intermediate_size": 32,
            "model.num_heads": 2,
            "model.cross_modal_layers": 1,
            "model.temporal_layers": 1,
            "model.vocab_size": self.metadata.vocab_size,
            "model.feature_size": self.metadata.feature_width,
            "model.text_positions": 32,
            "model.segment_frames": 14,
            "model.clip_positions": 14,
            "model.query_positions": 32,
            "model.max_frames": 14,
            "model.dropout": 0.1,
            "model.attention_dropout": 0.1,
            "optimizer.steps": 12,
            "optimizer.warmup_steps": 2,
            "optimizer.learning_rate": 1e-2,
            "log_every": 1,
            "eval_every": 1000,
            "save_every": 1000,
            **changes,
        }

    def config(self, **settings):
        """The config of a run."""
        config = pretrain.get_config("shapes")
        config.update_from_flattened_dict(self.values(**settings))
        return config

    def command(self, workdir, flags=(), **settings) -> list[str]:
        """The arguments of main.py: config, workdir, flags as given, and config fields."""
        fields = [f"--config.{name}={value}" for name, value in self.values(**settings).items()]
        return ["--config=configs/pretrain.py:shapes", f"--workdir={workdir}", *flags, *fields]

    def environment(self, devices: int = 1) -> dict[str, str]:
        """Environment variables of a run on a number of virtual devices."""
        flags = f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count={devices}"
        return {**os.environ, "XLA_FLAGS": flags}

    def start(self, arguments: list[str], devices: int = 1, **popen) -> "Process":
        """Starts main.py."""
        return Process(
            [sys.executable, "main.py", *arguments],
            cwd=ROOT,
            env=self.environment(devices),
            **popen,
        )

    def run(self, workdir, flags=(), **settings) -> "Process":
        """Runs main.py to its end, without an error."""
        process = self.start(self.command(workdir, flags, **settings))
        assert process.wait() == 0, process.text
        return process

    def train(self, workdir, **settings) -> str:
        """Trains in this process; returns the text that the run prints to standard error."""
        return train(self.config(**settings), workdir)


def train(config, workdir, program=None) -> str:
    """Trains in this process; returns what standard error got."""
    with contextlib.redirect_stderr(io.StringIO()) as text:
        loop.train(config, str(workdir), program)
    return text.getvalue()


def make_program(config) -> Program:
    """The compiled functions of a config's experiment."""
    experiment = Experiment(config)
    return Program(experiment.config, experiment.tasks, experiment.mesh)


class Process:
    """A running process whose standard error is read line by line as it comes."""

    def __init__(self, command, **popen):
        self._process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, **popen
        )
        self.lines: list[str] = []
        self._news = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self._process.stderr:
            with self._news:
                self.lines.append(line.rstrip("\n"))
                self._news.notify_all()
        with self._news:
            self._news.notify_all()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def text(self) -> str:
        """All of standard error so far."""
        return "\n".join(self.lines)

    @property
    def step(self) -> int:
        """The last step reported."""
        matches = [re.match(r"step (\d+): ", line) for line in self.lines]
        return max((int(match[1]) for match in matches if match), default=0)

    def wait_for_step(self, step: int) -> None:
        """Returns when a step has been reported, or the process has ended."""
        with self._news:
            done = lambda: self.step >= step or not self._reader.is_alive()  # noqa: E731
            while not done():
                self._news.wait(0.1)

    def wait_for_path(self, folder: Path, pattern: str) -> None:
        """Returns when a name in a folder matches a pattern, or the process has ended."""
        while self._process.poll() is None:
            with contextlib.suppress(FileNotFoundError):
                if any(folder.glob(pattern)):
                    return
            time.sleep(0.001)

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal, unless the process has ended."""
        self._process.send_signal(number)

    def wait(self) -> int:
        """Waits for the end; returns the exit status, negative for a signal."""
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise
        self._reader.join()
        return self._process.returncode


def sentence(process: Process) -> str:
    """The one sentence that a refused run prints; it prints nothing else."""
    assert process.wait() == 1, process.text
    assert len(process.lines) == 1, process.text
    assert process.lines[0].startswith("error: "), process.text
    return process.lines[0].removeprefix("error: ")


def scalars(workdir: Path) -> dict[tuple[str, int], float]:
    """All values that a run logged, by name and step."""
    found = curves.history(workdir).items()
    return {(name, step): value for name, values in found for step, value in values.items()}


def steps(workdir: Path) -> list[int]:
    """The steps of the complete checkpoints."""
    return sorted(int(p.name) for p in (workdir / "checkpoints").iterdir() if p.name.isdecimal())


def saved(workdir: Path, step: int, item: str = "state") -> dict[str, np.ndarray]:
    """The arrays of a checkpoint's state (parameters, moments, step) or stream, by path."""
    path = workdir / "checkpoints" / str(step) / item
    checkpointer = ocp.PyTreeCheckpointer()
    tree = checkpointer.metadata(path).item_metadata.tree
    arguments = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), tree)
    arrays = checkpointer.restore(path, ocp.args.PyTreeRestore(restore_args=arguments))
    leaves = jax.tree_util.tree_flatten_with_path(arrays)[0]
    return {jax.tree_util.keystr(path): np.asarray(array) for path, array in leaves}


def assert_same_bits(left: dict[str, np.ndarray], right: dict[str, np.ndarray]) -> None:
    """Compares two checkpoints array by array, bit for bit."""
    assert left.keys() == right.keys()
    different = [name for name in left if left[name].tobytes() != right[name].tobytes()]
    assert not different
