"""YC2R of VALUE: find the clip that a sentence describes, a step of a recipe in YouCook2.

python main.py --config=configs/value/yc2r.py --workdir=runs/yc2r --config.init_from=hero.pt
"""

from ml_collections import ConfigDict

from configs import finetune
from configs.value import common


def get_config(preset: str = "") -> ConfigDict:
    """Returns the published recipe, changed by the words of `configs.value.common`."""
    words = common.Preset(preset, "yc2r")
    config = common.clips("yc2r")
    clips = {"video": 64, "subtitle": 40}.get(words.channels, 48)
    finetune.recipe(config, batch=(4, clips, 2), learning_rate=7e-5, steps=4_000, eval_every=200)
    words.apply(config)
    if "shapes" in words:
        finetune.shapes_clips(config)
    return config
