"""What a run tells: TensorBoard scalars, and lines or a progress bar on the terminal."""

import contextlib
import sys
import time

import jax
import numpy as np
from jax.experimental.multihost_utils import process_allgather
from tqdm import tqdm

from hero_jax.metrics.report import means
from hero_jax.training import curves


class Log:
    """Writes scalars to TensorBoard, the run's history and the terminal, in the first process.

    Args:
      first_step: where the run goes on; steps: where it ends.
    """

    def __init__(self, workdir, first_step: int, steps: int):
        self.active = jax.process_index() == 0
        self.workdir = workdir
        self.writer = None
        if self.active:
            import tensorflow as tf

            self.writer = tf.summary.create_file_writer(str(workdir))
        on_terminal = self.active and sys.stderr.isatty()
        self.bar = tqdm(
            total=steps, initial=first_step, unit="step", disable=not on_terminal, smoothing=0.05
        )

    def advance(self):
        """One step is done."""
        self.bar.update()

    def scalars(self, step: int, values: dict[str, float], headline: str = ""):
        """Writes values; a headline is shown on the terminal."""
        if not self.active:
            return
        import tensorflow as tf

        with self.writer.as_default(step=step):
            for name, value in values.items():
                tf.summary.scalar(name, value)
        curves.record(self.workdir, step, values)
        if headline and not self.bar.disable:
            self.bar.set_postfix_str(headline)
        elif headline:
            self.say(f"step {step}: {headline}")

    def say(self, text: str):
        """A line of its own."""
        if self.active:
            tqdm.write(text, file=sys.stderr)
            sys.stderr.flush()

    def close(self):
        """Flushes, and ends the bar."""
        self.bar.close()
        if self.writer is not None:
            self.writer.close()


class Meter:
    """Adds up a stretch of training between two reports."""

    def __init__(self, waited: float):
        self.cut = {"tokens": 0, "frames": 0}
        self.clips: dict[str, int] = {}
        self.corrupt = 0
        self._reset(waited)

    def _reset(self, waited):
        self.begun = time.perf_counter()
        self.waited = waited
        self.steps = self.slots = 0
        self.metrics: list[dict] = []
        self.counts: dict[str, int] = {}
        self.flops = 0.0

    def add(self, metrics: dict, counts: dict[str, int], slots: int, flops: float):
        """One step: its metrics, still on the devices, what its batch held and could hold."""
        self.steps += 1
        self.slots += slots
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
    def paused(self):
        """Leaves the time of something else than training out of the rates."""
        begun = time.perf_counter()
        yield
        self.begun += time.perf_counter() - begun

    def trained_on(self) -> str:
        """How many clips of each source all processes have trained on; they call it together."""
        clips = _over_processes(self.clips)
        whole = sum(clips.values())
        return ", ".join(
            f"{count} clips of {name} ({100 * count / whole:.1f}%)" for name, count in clips.items()
        )

    def left_out(self) -> str:
        """What training did not see of this process's data, '' if nothing."""
        parts = [f"{count} {name} cut by config.batch" for name, count in self.cut.items() if count]
        if self.corrupt:
            parts.append(f"{self.corrupt} damaged records skipped")
        return ", ".join(parts)

    def report(self, waited: float, peak_flops: float) -> dict[str, float]:
        """Means and rates since the last report, of all processes together.

        Args:
          waited: seconds this process has waited for its feed since the run began.
          peak_flops: of this process's devices together.
        """
        metrics = jax.device_get(self.metrics)
        seconds = time.perf_counter() - self.begun
        sums: dict[str, np.ndarray] = {}
        for one in metrics:
            for name, value in one.items():
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
            "data/fill": self.counts["filled_slots"] / self.slots,
            "data/clips_per_step": counts["clips"] / self.steps,
            "data/segments_per_step": counts["segments"] / self.steps,
            "data/frames_per_step": counts["frames"] / self.steps,
            "data/cut_tokens": counts["cut_tokens"],
            "data/cut_frames": counts["cut_frames"],
            "data/damaged_records": self.corrupt,
        }
        for name, count in _by_source(counts).items():
            values[f"data/clips/{name}"] = count
            values[f"data/share/{name}"] = count / counts["clips"]
        self._reset(waited)
        return values


def _by_source(counts):
    """Of a batch's counts, the clips of each source by its name."""
    return {
        name.removeprefix("clips/"): count
        for name, count in counts.items()
        if name.startswith("clips/")
    }


def _over_processes(counts):
    """Sums of counts over all processes, which have the same ones."""
    # JAX would make float32 of a float64, and int32 of an int64 without a word.
    totals = process_allgather(np.array(list(counts.values()), np.int32))
    totals = totals.reshape(-1, len(counts)).sum(axis=0, dtype=np.int64).tolist()
    return dict(zip(counts, totals, strict=True))
