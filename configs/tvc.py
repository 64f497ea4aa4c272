"""TVC: describe a moment of a television clip in a sentence.

python main.py --config=configs/tvc.py --workdir=runs/tvc --config.init_from=hero.pt
"""

from ml_collections import ConfigDict

from configs import finetune

SETTINGS = {
    "label_smoothing": 0.1,
    "decoder_layers": 2,
    "decoder_positions": 1_024,
    "max_steps": 30,  # largest number of tokens in a caption
    "decoding": "greedy",  # or 'beam', 'sample'
    "beam_width": 5,
    "length_penalty": 0.6,
    "temperature": 1.0,
    "top_p": 1.0,
}


def get_config(preset: str = "") -> ConfigDict:
    """Returns the published recipe, or with preset 'shapes' a small model on the sample corpus."""
    config = finetune.base("tvc", "captioning", SETTINGS, "cider")
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
        finetune.shapes(config, "caption", clips=16, steps=300, learning_rate=1e-3)
        config.batch.update(max_query_tokens=60, queries_per_clip=10)
        config.captioning.update(decoder_positions=64)
    elif preset:
        finetune.unknown(preset, "tvc")
    return config
