"""The tasks by the names that configs use."""

from hero_jax.tasks.fom import FrameOrderModelling
from hero_jax.tasks.mfm import MaskedFrameModelling, MaskedFrameRegression
from hero_jax.tasks.mlm import MaskedLanguageModelling
from hero_jax.tasks.vsm import VideoSubtitleMatching

TASKS = {
    "mlm": MaskedLanguageModelling,
    "mfm_nce": MaskedFrameModelling,
    "mffr": MaskedFrameRegression,
    "fom": FrameOrderModelling,
    "vsm": VideoSubtitleMatching,
}
