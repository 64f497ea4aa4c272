r"""A run of one of VALUE's tasks, evaluated on another task of its family without training.

    python main.py --mode=evaluate --config=configs/value/transfer.py:tvr,how2r \
        --workdir=runs/tvr_on_how2r --config.init_from=runs/tvr

The first word of the preset is the task that the run was trained on, the second the one to evaluate
on, the others are those of `configs.value.common`. Data are the second's, settings the first's
(context, query limits, frames, span lengths); those that the first does not have, as the lengths
of spans after video retrieval, are the second's.
"""

import importlib

from ml_collections import ConfigDict

from configs.value import common


def get_config(preset: str = "") -> ConfigDict:
    """Returns the config of an evaluation."""
    source_name, target_name, *rest = [*preset.split(","), "", ""]
    words = ",".join(filter(None, rest))
    family = next((f for f in common.FAMILIES.values() if {source_name, target_name} <= {*f}), None)
    if family is None:
        families = "; ".join(", ".join(tasks) for tasks in common.FAMILIES.values())
        raise ValueError(
            f"preset {preset!r} of configs/value/transfer.py has to begin with two tasks of one "
            f"family, as tvr,how2r: {families}"
        )
    config, target = (
        importlib.import_module(f"configs.value.{name}").get_config(words)
        for name in (source_name, target_name)
    )
    (kind,), (target_kind,) = config.tasks, target.tasks
    settings = target[target_kind]
    settings.update({name: value for name, value in config[kind].items() if name in settings})
    config.data.update(name=target.data.name, eval_split=target.data.eval_split)
    config.batch.choices = target.batch.choices
    config.best_metric = target.best_metric
    del config[kind]
    config[target_kind] = settings
    config.tasks = ConfigDict({target_kind: 1.0})
    return config
