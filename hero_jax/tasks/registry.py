"""The tasks by the names that configs use."""

from collections.abc import Mapping
from typing import Any

from data.config import Config
from data.errors import InputError
from hero_jax.tasks.base import Task, Tokens
from hero_jax.tasks.captioning import Captioning
from hero_jax.tasks.entailment import Entailment
from hero_jax.tasks.fom import FrameOrderModelling
from hero_jax.tasks.mfm import MaskedFrameModelling, MaskedFrameRegression
from hero_jax.tasks.mlm import MaskedLanguageModelling
from hero_jax.tasks.question_answering import QuestionAnswering
from hero_jax.tasks.retrieval import MomentRetrieval, VideoRetrieval
from hero_jax.tasks.vsm import VideoSubtitleMatching

TASKS: dict[str, type[Task]] = {
    "mlm": MaskedLanguageModelling,
    "mfm_nce": MaskedFrameModelling,
    "mffr": MaskedFrameRegression,
    "fom": FrameOrderModelling,
    "vsm": VideoSubtitleMatching,
    "moment_retrieval": MomentRetrieval,
    "video_retrieval": VideoRetrieval,
    "question_answering": QuestionAnswering,
    "inference": Entailment,
    "captioning": Captioning,
}


def make_tasks(config: Config, tokens: Tokens, name: str = "") -> dict[str, Task]:
    """Returns the tasks of a config with a positive ratio, by name.

    Args:
      config: of an experiment or a task group: `tasks`, `model`, and a block for each task.
      name: for its only task, in place of the task's own; '' for none.

    Raises:
      InputError: an unknown task, or none at all, or one that the encoder cannot have.
    """
    tasks = {}
    for kind, ratio in config.tasks.items():
        if kind not in TASKS:
            raise InputError(f"tasks.{kind}: no such task, choose of {', '.join(TASKS)}")
        if not ratio >= 0:
            raise InputError(f"tasks.{kind}={ratio} is negative: set it to 0 or more")
        if ratio:
            tasks[name or kind] = make_task(kind, config[kind], tokens, name or kind)
    if not tasks:
        raise InputError("all of tasks are 0: give one of them a ratio")
    for name, task in tasks.items():
        if config.model.encoder == "flat" and task.temporal:
            raise InputError(
                f"tasks.{name} needs the temporal transformer, which model.encoder='flat' does "
                f"without: set tasks.{name}=0"
            )
        for field, usual in (("channels", "both"), ("fusion", "cross_modal")):
            if not task.downstream and config.model[field] != usual:
                raise InputError(
                    f"tasks.{name} is pre-training, which model.{field}={config.model[field]!r} "
                    f"does not have: set model.{field}={usual}"
                )
    return tasks


def make_task(kind: str, block: Mapping[str, Any], tokens: Tokens, name: str = "") -> Task:
    """Returns a task of a registered kind with the settings in a block; see `TaskSettings.read`."""
    task = TASKS[kind]
    return task(task.Settings.read(block, kind), tokens, name or kind, kind)
