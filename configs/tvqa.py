"""TVQA: answer questions about television clips, with five answers each.

python main.py --config=configs/tvqa.py --workdir=runs/tvqa --config.init_from=hero.pt
"""

from ml_collections import ConfigDict

from configs import finetune


def get_config(preset: str = "") -> ConfigDict:
    """Returns the published recipe, or with preset 'shapes' a small model on the sample corpus."""
    config = finetune.base("tvqa", "question_answering", finetune.QUESTIONS, "accuracy")
    finetune.recipe(
        config,
        batch=(8, 8, 1),
        learning_rate=5e-5,
        steps=10_000,
        eval_every=200,
        head_rate_multiplier=10.0,
    )
    config.batch.update(choices=5, max_query_tokens=120)
    if preset == "shapes":
        finetune.shapes_questions(config)
    elif preset:
        finetune.unknown(preset, "tvqa")
    return config
