r"""VATEX-EN-R of VALUE: find the clip that a sentence describes, ten seconds of YouTube.

    python main.py --config=configs/value/vatex_en_r.py --workdir=runs/vatex_en_r \
        --config.init_from=hero.pt
"""

from ml_collections import ConfigDict

from configs import finetune
from configs.value import common


def get_config(preset: str = "") -> ConfigDict:
    """Returns the published recipe, changed by the words of `configs.value.common`."""
    words = common.Preset(preset, "vatex_en_r")
    config = common.clips("vatex_en_r")
    finetune.recipe(config, batch=(8, 64, 2), learning_rate=7e-5, steps=4_000, eval_every=200)
    words.apply(config)
    if "shapes" in words:
        finetune.shapes_clips(config)
    return config
