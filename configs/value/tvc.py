"""TVC as in VALUE: describe a moment of a television clip in a sentence.

python main.py --config=configs/value/tvc.py --workdir=runs/tvc --config.init_from=hero.pt
"""

from ml_collections import ConfigDict

from configs import finetune
from configs.value import common


def get_config(preset: str = "") -> ConfigDict:
    """Returns the published recipe, changed by the words of `configs.value.common`."""
    words = common.Preset(preset, "tvc")
    config = common.captions("tvc", clips_per_group=4)
    # All captions of a clip are trained on together, at most 16 at a time.
    config.batch.queries_per_clip = 16
    words.apply(config)
    if "shapes" in words:
        finetune.shapes_captions(config, "caption", captions_per_clip=10)
    return config
