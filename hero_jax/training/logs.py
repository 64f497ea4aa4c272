"""Logs of a run: TensorBoard scalars, and lines or a progress bar on the terminal."""

import collections
import contextlib
import os
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np
from jax.experimental.multihost_utils import process_allgather
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter
from tqdm import tqdm

from data.arguments import user_path
from hero_jax.metrics.report import means
from hero_jax.training import curves


class EventFile:
    """A TensorBoard event file, written without TensorFlow."""

    def __init__(self, workdir: str | os.PathLike):
        """Makes a new file in a folder."""
        name = f"events.out.tfevents.{int(time.time())}.{socket.gethostname()}.{os.getpid()}"
        self._records = RecordWriter((user_path(workdir) / name).open("ab"))
        self._write(Event(wall_time=time.time(), file_version="brain.Event:2"))

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Writes values of a step."""
        summary = Summary(
            value=[Summary.Value(tag=name, simple_value=value) for name, value in values.items()]
        )
        self._write(Event(wall_time=time.time(), step=step, summary=summary))

    def _write(self, event: Event) -> None:
        self._records.write(event.SerializeToString())
        self._records.flush()

    def close(self) -> None:
        """Closes the file."""
        self._records.close()


def say(text: str) -> None:
    """Prints a line to the terminal, above the bar if there is one, in the first process."""
    if jax.process_index() == 0:
        tqdm.write(text, file=sys.stderr)
        sys.stderr.flush()


class Log:
    """Writes scalars to TensorBoard, the run's history and the terminal, in the first process."""

    def __init__(self, workdir: str | os.PathLike, first_step: int, steps: int):
        """Opens the logs.

        Args:
          first_step: where the run starts or resumes.
          steps: where it ends.
        """
        self.active = jax.process_index() == 0
        self.workdir = workdir
        self.events = EventFile(workdir) if self.active else None
        on_terminal = self.active and sys.stderr.isatty()
        self.bar = tqdm(
            total=steps, initial=first_step, unit="step", disable=not on_terminal, smoothing=0.05
        )

    def advance(self) -> None:
        """Counts a step."""
        self.bar.update()

    def scalars(self, step: int, values: Mapping[str, float], headline: str = "") -> None:
        """Writes values; a headline is shown on the terminal."""
        if self.events is None:
            return
        self.events.scalars(step, values)
        curves.record(self.workdir, step, values)
        if headline and not self.bar.disable:
            self.bar.set_postfix_str(headline)
        elif headline:
            self.say(f"step {step}: {headline}")

    def say(self, text: str) -> None:
        """Prints a line of its own."""
        say(text)

    def close(self) -> None:
        """Flushes, and ends the bar."""
        self.bar.close()
        if self.events is not None:
            self.events.close()


class Meter:
    """Adds up a stretch of training between two reports."""

    def __init__(self, waited: float):
        """Starts the first stretch.

        Args:
          waited: seconds this process has waited for its feed since the run started.
        """
        self.cut = {"tokens": 0, "frames": 0, "moments": 0}
        self.clips: dict[str, int] = {}
        self.corrupt = 0
        self._reset(waited)

    def _reset(self, waited: float) -> None:
        self.start = time.perf_counter()
        self.waited = waited
        self.steps = 0
        self.slots = collections.Counter[str]()
        self.metrics: list[dict[str, Any]] = []
        self.counts: dict[str, int] = {}
        self.flops = 0.0

    def add(
        self,
        metrics: dict[str, Any],
        counts: Mapping[str, int],
        slots: Mapping[str, int],
        flops: float,
    ) -> None:
        """Adds a step.

        Args:
          metrics: still on the devices.
          counts: of its batches.
          slots: that its batches have, by the count of those that are filled.
          flops: that it needs.
        """
        self.steps += 1
        self.slots.update(slots)
        self.metrics.append(metrics)
        self.flops += flops
        for name, value in counts.items():
            self.counts[name] = self.counts.get(name, 0) + value
        for name in self.cut:
            self.cut[name] += counts[f"cut_{name}"]
        for name, value in _by_source(counts).items():
            self.clips[name] = self.clips.get(name, 0) + value
        self.corrupt = counts["corrupt"]

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Leaves the time of anything but training out of the rates."""
        start = time.perf_counter()
        yield
        self.start += time.perf_counter() - start

    def trained_on(self) -> str:
        """Returns how many clips of each source all processes trained on; all have to call it."""
        clips = _over_processes(self.clips)
        total = sum(clips.values())
        return ", ".join(
            f"{count} clips of {name} ({100 * count / total:.1f}%)" for name, count in clips.items()
        )

    def left_out(self) -> str:
        """Returns what training did not see of this process's data, '' for nothing."""
        reasons = [f"{count} {name} cut by batch" for name, count in self.cut.items() if count]
        if self.corrupt:
            reasons.append(f"{self.corrupt} damaged records skipped")
        return ", ".join(reasons)

    def report(self, waited: float, peak_flops: float) -> dict[str, float]:
        """Returns means and rates since the last report, of all processes together.

        Args:
          waited: seconds this process has waited for its feed since the run started.
          peak_flops: of this process's devices together.
        """
        metrics = jax.device_get(self.metrics)
        seconds = time.perf_counter() - self.start
        sums: dict[str, np.ndarray] = {}
        for of_step in metrics:
            for name, value in of_step.items():
                value = np.array([value, 1.0]) if np.ndim(value) == 0 else value
                sums[name] = sums.get(name, 0) + np.asarray(value, np.float64)
        counts = _over_processes(self.counts)
        values = {f"train/{name}": value for name, value in means(sums).items()}
        values |= {
            "speed/clips_per_second": counts["clips"] / seconds,
            "speed/tokens_per_second": counts["tokens"] / seconds,
            "speed/steps_per_second": self.steps / seconds,
            "speed/share_waiting_for_data": (waited - self.waited) / seconds,
            "speed/model_flop_utilisation": self.flops / seconds / peak_flops,
            "data/fill": self.counts["filled_slots"] / self.slots["filled_slots"],
            "data/frame_fill": self.counts["frames"] / self.slots["frames"],
            "data/clips_per_step": counts["clips"] / self.steps,
            "data/segments_per_step": counts["segments"] / self.steps,
            "data/frames_per_step": counts["frames"] / self.steps,
            "data/cut_tokens": counts["cut_tokens"],
            "data/cut_frames": counts["cut_frames"],
            "data/cut_moments": counts["cut_moments"],
            "data/damaged_records": self.corrupt,
        }
        for name, count in _by_source(counts).items():
            values[f"data/clips/{name}"] = count
            values[f"data/share/{name}"] = count / counts["clips"]
        self._reset(waited)
        return values


def _by_source(counts: Mapping[str, int]) -> dict[str, int]:
    """Returns the clips of each source by its name."""
    return {
        name.removeprefix("clips/"): count
        for name, count in counts.items()
        if name.startswith("clips/")
    }


def _over_processes(counts: Mapping[str, int]) -> dict[str, int]:
    """Returns the sums of counts over all processes, which have the same ones."""
    # JAX would silently make float32 of a float64, and int32 of an int64.
    gathered = process_allgather(np.array(list(counts.values()), np.int32))
    totals = gathered.reshape(-1, len(counts)).sum(axis=0, dtype=np.int64).tolist()
    return dict(zip(counts, totals, strict=True))
