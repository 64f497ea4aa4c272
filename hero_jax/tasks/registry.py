"""The tasks by the names that configs use."""

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

TASKS = {
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


def make_tasks(config, tokens: Tokens, part: str = "") -> dict[str, Task]:
    """The tasks of a config with a positive ratio.

    Args:
      part: a name for its only task, in place of the task's own; '' for none.

    Raises:
      InputError: an unknown task, or none at all, or one that the encoder cannot have.
    """
    tasks = {}
    for name, ratio in config.tasks.items():
        if name not in TASKS:
            raise InputError(
                f"config.tasks.{name}: there is no such task; there are {', '.join(TASKS)}."
            )
        if not ratio >= 0:
            raise InputError(f"config.tasks.{name}={ratio} is negative; set it to 0 or more.")
        if ratio:
            tasks[part or name] = TASKS[name](config[name], tokens, part or name, name)
    if not tasks:
        raise InputError("All of config.tasks are 0; give one of them a ratio.")
    for name, task in tasks.items():
        if config.model.encoder == "flat" and task.temporal:
            raise InputError(
                f"config.tasks.{name} needs the temporal transformer, which "
                f"config.model.encoder='flat' does without; set config.tasks.{name}=0."
            )
    return tasks
