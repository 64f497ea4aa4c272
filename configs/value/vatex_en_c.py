r"""VATEX-EN-C of VALUE: describe ten seconds of YouTube in a sentence.

    python main.py --config=configs/value/vatex_en_c.py --workdir=runs/vatex_en_c \
        --config.init_from=hero.pt

It trains on the captions of VATEX-EN-R's training and validation videos.
"""

from ml_collections import ConfigDict

from configs import finetune
from configs.value import common


def get_config(preset: str = "") -> ConfigDict:
    """Returns the published recipe, changed by the words of `configs.value.common`."""
    words = common.Preset(preset, "vatex_en_c")
    config = common.captions("vatex_en_c", clips_per_group=128)
    config.data.eval_split = "test_public"
    words.apply(config)
    if "shapes" in words:
        finetune.shapes_captions(config, "film", captions_per_clip=1)
    return config
