"""TVQA as in VALUE: answer questions about television clips, with five answers each.

python main.py --config=configs/value/tvqa.py --workdir=runs/tvqa --config.init_from=hero.pt
"""

from ml_collections import ConfigDict

from configs import finetune
from configs.value import common


def get_config(preset: str = "") -> ConfigDict:
    """Returns the published recipe, changed by the words of `configs.value.common`."""
    words = common.Preset(preset, "tvqa")
    config = common.questions("tvqa", choices=5, steps=10_000)
    words.apply(config)
    if "shapes" in words:
        finetune.shapes_questions(config)
    return config
