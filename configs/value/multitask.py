r"""VALUE's multi-task runs: one encoder, and one head for each family of tasks.

    python main.py --config=configs/value/multitask.py:all --workdir=runs/all \
        --config.init_from=hero.pt
    python main.py --config=configs/value/tvr.py --workdir=runs/tvr --config.init_from=runs/all

The first word of the preset is the run; the others are those of `configs.value.common`, as in
`:retrieval,ft_only`. The second command fine-tunes one task from there (AT->ST).
"""

import dataclasses
import importlib
from collections.abc import Mapping

from ml_collections import ConfigDict

from configs import finetune, pretrain
from configs.value import common

# Groups of a batch: each task has as many clips on each as in its own config.
DEVICES = 8


@dataclasses.dataclass(frozen=True)
class _Run:
    """A published run.

    ratios: by which tasks are drawn.
    steps, hard_from: of training, and the first one with hard negatives; the second number is that
      without pre-training.
    learning_rate: its peak.
    head_rate_multiplier: factor of the learning rate outside the encoder.
    accumulation: batches of an update.
    max_query_tokens: of all tasks.
    context_subtitles: of all tasks.
    """

    ratios: Mapping[str, float]
    steps: tuple[int, int]
    hard_from: tuple[int, int] = (-1, -1)
    learning_rate: float = 1e-4
    head_rate_multiplier: float = 1.0
    accumulation: int = 2
    max_query_tokens: int = 60
    context_subtitles: int = 0


_TV = {"tvr": 5.0, "tvc": 5.0, "tvqa": 5.0, "violin": 3.0, "vlep": 1.0}
RUNS = {
    "retrieval": _Run(
        {"tvr": 2.0, "how2r": 1.0, "vatex_en_r": 3.0, "yc2r": 1.0},
        (10_000, 20_000),
        (4_000, 8_000),
    ),
    "qa": _Run(
        {"tvqa": 5.0, "how2qa": 1.0, "violin": 3.0, "vlep": 1.0},
        (20_000, 20_000),
        learning_rate=5e-5,
        head_rate_multiplier=10.0,
        max_query_tokens=120,
    ),
    "captioning": _Run(
        {"tvc": 2.0, "vatex_en_c": 2.0, "yc2c": 1.0},
        (30_000, 30_000),
        head_rate_multiplier=10.0,
        accumulation=1,
        context_subtitles=1,
    ),
    "tv": _Run(_TV, (20_000, 30_000), (8_000, 8_000)),
    "youtube": _Run(
        {
            **{"how2r": 1.0, "vatex_en_r": 2.0, "yc2r": 1.0},
            **{"vatex_en_c": 2.0, "yc2c": 2.0, "how2qa": 1.0},
        },
        (10_000, 20_000),
        (4_000, 8_000),
    ),
    "all": _Run(
        {
            **_TV,
            **{"how2r": 2.0, "vatex_en_r": 6.0, "yc2r": 2.0},
            **{"vatex_en_c": 2.0, "yc2c": 2.0, "how2qa": 1.0},
        },
        (50_000, 50_000),
        (20_000, 20_000),
    ),
}
# Steps of the sample corpus for each task.
SHAPES_STEPS = 750


def get_config(preset: str = "all") -> ConfigDict:
    """Returns the run that the preset's first word names."""
    name, _, rest = preset.partition(",")
    if name not in RUNS:
        raise ValueError(
            f"preset {preset!r} of configs/value/multitask.py begins with no run: choose of "
            f"{', '.join(RUNS)}"
        )
    run, words = RUNS[name], common.Preset(rest, "multitask")
    config = pretrain.get_config()
    folder = config.data.dir
    for block in ("data", "batch", *finetune.PRETRAINING):
        del config[block]
    config.data = ConfigDict({"dir": folder})
    config.tasks = ConfigDict(run.ratios)
    config.parts = ConfigDict({task: _part(task, run, rest, words) for task in run.ratios})
    first = next(iter(config.parts.values()))
    config.model = first.model.copy_and_resolve_references()
    steps = SHAPES_STEPS * len(run.ratios) if "shapes" in words else run.steps[words.ft_only]
    config.optimizer.update(
        learning_rate=run.learning_rate,
        steps=steps,
        warmup_steps=steps // 10,
        head_rate_multiplier=run.head_rate_multiplier,
    )
    config.eval_every = config.save_every = 1_000
    config.best_metric = ",".join(
        f"{task}/{part.best_metric.rpartition('/')[2]}" for task, part in config.parts.items()
    )
    if "shapes" in words:
        config.optimizer.update(learning_rate=5e-4, head_rate_multiplier=1.0)
        config.eval_every = config.save_every = steps
    return config


def _part(task: str, run: _Run, preset: str, words: common.Preset) -> ConfigDict:
    """Returns the config of a task, with what is the run's own."""
    config = importlib.import_module(f"configs.value.{task}").get_config(preset)
    if "shapes" in words:
        return config
    config.batch.update(
        groups=DEVICES,
        accumulation=run.accumulation,
        max_query_tokens=run.max_query_tokens,
        context_subtitles=run.context_subtitles,
    )
    (kind,) = config.tasks
    if task in common.FAMILIES["retrieval"]:
        config[kind].update(
            context_weight=8.0,
            query_weight=8.0,
            hard_negatives_from=run.hard_from[words.ft_only],
            hard_pool=20,
        )
    if kind == "moment_retrieval":
        config[kind].span_drop_probability = 0.8
    return config
