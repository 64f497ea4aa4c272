"""Shared parts of the configs of VALUE's tasks; not an experiment of its own.

Presets are words with commas between, as in `--config=configs/value/tvr.py:ft_only,clip-vit`:

  ft_only             settings for a start from RoBERTa, without HERO's pre-training
  video, subtitle     one channel alone; its settings are those of `ft_only`
  clip-vit, ...       features of FEATURES in place of `resnet_slowfast`, with settings of `ft_only`
  val, test           evaluates the split that counts as VALUE's validation, or as its test
  shapes              a small model on the sample corpus
"""

from ml_collections import ConfigDict

from configs import finetune

# Widths of the kinds of features: 2D networks first. Only the first fits the published checkpoint.
FEATURES = {
    "resnet_slowfast": 4_352,
    "resnet_mil-nce": 3_072,
    "clip-vit_slowfast": 2_816,
    "clip-vit_mil-nce": 1_536,
    "resnet": 2_048,
    "slowfast": 2_304,
    "clip-vit": 512,
    "mil-nce": 1_024,
}
PUBLISHED = "resnet_slowfast"
CHANNELS = ("video", "subtitle")
# Splits that count, and those of the tasks that have others.
COUNTED = {
    "val": ("validation", {"violin": "test", "vatex_en_c": "test_public"}),
    "test": (
        "test",
        {
            **dict.fromkeys(("how2r", "how2qa", "vatex_en_r"), "test_public"),
            **dict.fromkeys(("violin", "vatex_en_c"), "test_private"),
        },
    ),
}
# Names of the heads that tasks share, in runs of several and from one run to the next.
QA_HEAD, CAPTION_HEAD = "qa", "captions"
# Tasks that a run of one of them can be evaluated on.
FAMILIES = {
    "retrieval": ("tvr", "how2r", "vatex_en_r", "yc2r"),
    "qa": ("tvqa", "how2qa", "violin", "vlep"),
    "captioning": ("tvc", "vatex_en_c", "yc2c"),
}


class Preset:
    """The words of a preset.

    Attributes:
      ft_only: whether the run starts without HERO's pre-training.
      features: kind of the features.
      channels: what the model reads, as `model.channels`.
    """

    def __init__(self, preset: str, name: str, *own: str):
        """Reads a preset.

        Args:
          preset: words with commas between.
          name: of the config.
          own: words that this config has besides the common ones.

        Raises:
          ValueError: it has no such word.
        """
        self._name = name
        self._words = [word for word in preset.split(",") if word]
        known = ("ft_only", *COUNTED, "shapes", *CHANNELS, *FEATURES, *own)
        for word in self._words:
            if word not in known:
                raise ValueError(
                    f"preset {word!r} of configs/value/{name}.py is unknown: choose of "
                    f"{', '.join(known)}"
                )
        self.features = next((word for word in self._words if word in FEATURES), PUBLISHED)
        self.channels = next((word for word in self._words if word in CHANNELS), "both")
        is_published = self.features == PUBLISHED and self.channels == "both"
        self.ft_only = "ft_only" in self or not is_published

    def __contains__(self, word: str) -> bool:
        return word in self._words

    def apply(self, config: ConfigDict) -> None:
        """Sets the channels of a config, the features of published data, and the split."""
        config.model.channels = self.channels
        config.data.features = self.features
        config.model.feature_size = FEATURES[self.features]
        if self.features != PUBLISHED:
            config.data.name = f"{config.data.name}_{self.features}"
        for word, (split, others) in COUNTED.items():
            if word in self:
                config.data.eval_split = others.get(self._name, split)


def moments(name: str) -> ConfigDict:
    """Returns a config of moment retrieval, without its recipe."""
    config = finetune.base(name, "moment_retrieval", finetune.MOMENTS, "vcmr_aver_iou0.7")
    config.batch.max_query_tokens = 60
    return config


def clips(name: str) -> ConfigDict:
    """Returns a config of video retrieval, without its recipe."""
    config = finetune.base(name, "video_retrieval", finetune.RETRIEVAL, "vr_aver")
    config.batch.update(max_query_tokens=60, context_subtitles=1)
    config.video_retrieval.update(context_weight=10.0, query_weight=10.0, hard_pool=80)
    return config


def questions(name: str, choices: int, *, steps: int, eval_every: int = 200) -> ConfigDict:
    """Returns a config of question answering.

    Args:
      name: of the dataset.
      choices: answers of a question.
      steps: of training.
      eval_every: steps between evaluations.
    """
    settings = {**finetune.QUESTIONS, "head": QA_HEAD}
    config = finetune.base(name, "question_answering", settings, "accuracy")
    finetune.recipe(
        config,
        batch=(8, 4, 2),
        learning_rate=5e-5,
        steps=steps,
        eval_every=eval_every,
        head_rate_multiplier=10.0,
    )
    config.batch.update(choices=choices, max_query_tokens=120)
    return config


def captions(name: str, clips_per_group: int) -> ConfigDict:
    """Returns a config of captioning; a batch has one caption of a clip.

    Args:
      name: of the dataset.
      clips_per_group: clips on each of eight devices.
    """
    settings = {**finetune.CAPTIONS, "head": CAPTION_HEAD}
    config = finetune.base(name, "captioning", settings, "cider")
    finetune.recipe(
        config,
        batch=(8, clips_per_group, 1),
        learning_rate=1e-4,
        steps=7_000,
        eval_every=500,
        head_rate_multiplier=10.0,
    )
    config.batch.update(max_query_tokens=60, context_subtitles=1, queries_per_clip=1)
    return config
