"""TVC: describe a moment of a television clip in a sentence.

python main.py --config=configs/tvc.py --workdir=runs/tvc --config.init_from=hero.pt
"""

from ml_collections import ConfigDict

from configs import finetune


def get_config(preset: str = "") -> ConfigDict:
    """Returns the published recipe, or with preset 'shapes' a small model on the sample corpus."""
    config = finetune.base("tvc", "captioning", finetune.CAPTIONS, "cider")
    finetune.recipe(
        config,
        batch=(8, 4, 1),
        learning_rate=1e-4,
        steps=7_000,
        eval_every=500,
        head_rate_multiplier=10.0,
    )
    # All captions of a clip are trained on together, at most 16 at a time.
    config.batch.update(context_subtitles=1, queries_per_clip=16)
    if preset == "shapes":
        finetune.shapes_captions(config, "caption", captions_per_clip=10)
    elif preset:
        finetune.unknown(preset, "tvc")
    return config
