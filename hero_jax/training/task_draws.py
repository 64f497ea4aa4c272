"""The task of each step, drawn by the tasks' ratios."""

import numpy as np

from data.config import Config

# Updates that are searched for tasks to come.
LOOK_AHEAD = 1_000


def draw_task(config: Config, step: int) -> str:
    """Returns the task of a step, drawn by its ratio from seed and step alone."""
    names = [name for name in config.tasks if config.tasks[name]]
    ratios = np.array([config.tasks[name] for name in names])
    return str(np.random.default_rng([config.seed, step]).choice(names, p=ratios / ratios.sum()))


def tasks_ahead(config: Config, step: int) -> list[str]:
    """Returns the tasks of the updates after a step, in the order of the first of each.

    Of tasks that are drawn so rarely that it is later than `LOOK_AHEAD` updates, none is returned.
    """
    if config.objective != "one_task":
        return ["all"]
    number = sum(1 for name in config.tasks if config.tasks[name])
    names: dict[str, None] = {}
    for later in range(step, min(step + LOOK_AHEAD, config.optimizer.steps)):
        names[draw_task(config, later)] = None
        if len(names) == number:
            break
    return list(names)
