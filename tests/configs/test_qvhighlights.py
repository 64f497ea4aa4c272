"""The config of QVHighlights: the benchmark's metrics, and the preset for the sample corpus."""

import numpy as np
import pytest

from configs import qvhighlights
from hero_jax.metrics import windows
from hero_jax.tasks.registry import make_tasks
from tests.hero_jax.metrics.test_retrieval import make_moments, make_query
from tests.hero_jax.tiny import TOKENS


@pytest.mark.parametrize("preset", ["", "shapes"])
def test_the_best_checkpoint_is_by_a_metric_of_the_benchmark(preset):
    config = qvhighlights.get_config(preset)
    (task,) = make_tasks(config, TOKENS).values()
    assert task.several_moments == "windows"
    assert task.suppressed == bool(config.moment_retrieval.nms_iou)
    moments, query = make_moments([[(0, 0, 3)]]), make_query(moments=np.array([(0.0, 6.0)]))
    name, _, metric = config.best_metric.rpartition("/")
    assert (name, metric in windows.metrics(moments, [query], 1.5)) == (task.name, True)


def test_windows_may_be_as_long_as_a_video():
    config = qvhighlights.get_config()
    frames = 150 / config.data.seconds_per_feature
    assert config.moment_retrieval.min_span == 0
    assert config.moment_retrieval.max_span == frames <= config.batch.max_frames


def test_other_presets_are_refused():
    with pytest.raises(ValueError, match=r"configs/qvhighlights\.py is unknown"):
        qvhighlights.get_config("tiny")
