"""How2QA as in VALUE: answer questions about instructional videos, with four answers each.

python main.py --config=configs/value/how2qa.py --workdir=runs/how2qa --config.init_from=hero.pt
"""

from ml_collections import ConfigDict

from configs import finetune
from configs.value import common


def get_config(preset: str = "") -> ConfigDict:
    """Returns the published recipe, changed by the words of `configs.value.common`."""
    words = common.Preset(preset, "how2qa")
    config = common.questions("how2qa", choices=4, steps=2_000)
    words.apply(config)
    if "shapes" in words:
        finetune.shapes_questions(config)
    return config
