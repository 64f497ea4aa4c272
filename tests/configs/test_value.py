"""VALUE's configs have the published settings, and their presets what differs from them."""

import importlib

import pytest

from configs.value import common, multitask, transfer
from data.schema import SPLIT_NAMES
from hero_jax.extractors.registry import GROUPS, NETWORKS
from hero_jax.tasks.registry import make_tasks
from hero_jax.value.tasks import PHASES, TASKS
from tests.hero_jax.tiny import TOKENS

# Settings as published: batch of an update, rate, factor of it for heads, steps, query tokens,
# context; with FT-only's steps.
SETTINGS = {
    "tvr": (512, 1e-4, 1, 5_000, 60, 0, 10_000),
    "how2r": (512, 1e-4, 1, 3_000, 60, 0, 6_000),
    "yc2r": (384, 7e-5, 1, 4_000, 60, 1, 4_000),
    "vatex_en_r": (1_024, 7e-5, 1, 4_000, 60, 1, 4_000),
    "tvqa": (64, 5e-5, 10, 10_000, 120, 0, 10_000),
    "how2qa": (64, 5e-5, 10, 2_000, 120, 0, 2_000),
    "vlep": (64, 5e-5, 10, 1_000, 120, 0, 2_000),
    "violin": (64, 3e-5, 8, 6_000, 120, 2, 6_000),
    "tvc": (32, 1e-4, 10, 7_000, 60, 1, 7_000),
    "yc2c": (128, 1e-4, 10, 7_000, 60, 1, 7_000),
    "vatex_en_c": (1_024, 1e-4, 10, 7_000, 60, 1, 7_000),
}
# Weights of the query losses, probability of no span, step of the first hard negatives (with the
# preset's word, if the published one is never) and FT-only's, their pool, spans.
RETRIEVAL = {
    "tvr": (8, 0.8, 2_000, 4_000, 20, (2, 16)),
    "how2r": (8, 0.9, -1, -1, 20, (3, 20)),
    "yc2r": (10, None, 2_000, 2_000, 80, None),
    "vatex_en_r": (10, None, 2_000, 2_000, 80, None),
}


def config_of(task, preset=""):
    return importlib.import_module(f"configs.value.{task}").get_config(preset)


@pytest.mark.parametrize("task", SETTINGS)
def test_settings_are_the_published_ones(task):
    config, batch = config_of(task), config_of(task).batch
    found = (
        batch.groups * batch.clips_per_group * batch.accumulation,
        config.optimizer.learning_rate,
        config.optimizer.head_rate_multiplier,
        config.optimizer.steps,
        batch.max_query_tokens,
        batch.context_subtitles,
        config_of(task, "ft_only").optimizer.steps,
    )
    assert found == SETTINGS[task]
    assert config.optimizer.warmup_steps == config.optimizer.steps // 10
    assert (config.data.name, config.data.seconds_per_feature) == (task, 1.5)
    (made,) = make_tasks(config, TOKENS).values()
    assert config.best_metric.startswith(f"{made.name}/")


@pytest.mark.parametrize("task", RETRIEVAL)
def test_settings_of_retrieval_are_the_published_ones(task):
    def settings(preset):
        config = config_of(task, preset)
        return config[next(iter(config.tasks))]

    one = settings("")
    found = (
        one.query_weight,
        one.get("span_drop_probability"),
        one.hard_negatives_from,
        settings("ft_only").hard_negatives_from,
        one.hard_pool,
        (one.min_span, one.max_span) if "min_span" in one else None,
    )
    assert found == RETRIEVAL[task]
    assert one.context_weight == one.query_weight
    assert one.get("nms_iou", 0) == 0


def test_how2r_may_have_the_hard_negatives_that_were_meant():
    for preset, step in (("hard_negatives", 1_000), ("ft_only,hard_negatives", 2_000)):
        assert config_of("how2r", preset).moment_retrieval.hard_negatives_from == step


def test_one_channel_has_settings_of_its_own():
    video, subtitle = (config_of("yc2r", word) for word in ("video", "subtitle"))
    assert (video.model.channels, subtitle.model.channels) == ("video", "subtitle")
    assert (video.batch.clips_per_group, subtitle.batch.clips_per_group) == (64, 40)
    assert config_of("tvr", "video").optimizer.steps == 10_000
    video, subtitle = (config_of("how2r", word) for word in ("video", "subtitle"))
    assert (video.optimizer.steps, video.moment_retrieval.hard_negatives_from) == (6_000, 2_000)
    assert (subtitle.optimizer.steps, subtitle.moment_retrieval.hard_negatives_from) == (3_000, -1)


def test_features_are_those_of_the_networks():
    for kind, width in common.FEATURES.items():
        assert width == sum(NETWORKS[name].width for name in GROUPS.get(kind, (kind,)))
    config = config_of("vlep", "clip-vit_mil-nce")
    assert (config.data.name, config.data.features) == ("vlep_clip-vit_mil-nce", "clip-vit_mil-nce")
    assert config.model.feature_size == 1_536
    # The published checkpoint does not fit, so the settings are those without one.
    assert config.optimizer.steps == config_of("vlep", "ft_only").optimizer.steps


@pytest.mark.parametrize("run", multitask.RUNS)
def test_multi_task_runs_share_one_model(run):
    config = config_of("multitask", run)
    assert config.tasks.keys() == config.parts.keys()
    for name, part in config.parts.items():
        assert part.model.to_dict() == config.model.to_dict()
        assert name in [task.partition("/")[0] for task in config.best_metric.split(",")]
        assert part.batch.groups == 8
        assert part.batch.accumulation == (1 if run == "captioning" else 2)


def test_multi_task_runs_have_the_published_settings():
    everything, retrieval = config_of("multitask", "all"), config_of("multitask", "retrieval")
    assert (everything.optimizer.steps, retrieval.optimizer.steps) == (50_000, 10_000)
    assert {*everything.tasks} == {*SETTINGS}
    assert sum(everything.tasks.values()) == 34
    assert everything.optimizer.head_rate_multiplier == 1
    assert config_of("multitask", "qa").optimizer.head_rate_multiplier == 10
    assert {part.batch.max_query_tokens for part in everything.parts.values()} == {60}
    assert {part.batch.context_subtitles for part in everything.parts.values()} == {0}
    vatex, tvr = everything.parts.vatex_en_r, retrieval.parts.tvr
    assert (vatex.video_retrieval.query_weight, vatex.video_retrieval.hard_pool) == (8, 20)
    assert vatex.video_retrieval.hard_negatives_from == 20_000
    assert tvr.moment_retrieval.hard_negatives_from == 4_000
    assert retrieval.parts.how2r.moment_retrieval.span_drop_probability == 0.8
    assert [part.batch.clips_per_group for part in retrieval.parts.values()] == [32, 32, 64, 48]
    alone = config_of("multitask", "tv,ft_only")
    assert (alone.optimizer.steps, alone.optimizer.warmup_steps) == (30_000, 3_000)


def test_transfer_has_the_settings_of_the_first_and_the_data_of_the_second():
    config = config_of("transfer", "tvr,yc2r")
    assert (config.data.name, {*config.tasks}) == ("yc2r", {"video_retrieval"})
    assert config.batch.context_subtitles == 0
    assert config.video_retrieval.query_weight == 8
    config = config_of("transfer", "how2r,tvr")
    assert (config.moment_retrieval.min_span, config.moment_retrieval.max_span) == (3, 20)
    config = config_of("transfer", "violin,tvqa,ft_only")
    assert (config.batch.choices, config.batch.context_subtitles) == (5, 2)
    assert config_of("transfer", "tvc,vatex_en_c").data.eval_split == "test_public"
    with pytest.raises(ValueError, match="two tasks of one family"):
        transfer.get_config("tvr,tvqa")


@pytest.mark.parametrize("task", SETTINGS)
def test_splits_that_count_are_those_of_the_scores(task):
    for phase in PHASES:
        split = config_of(task, phase).data.eval_split
        assert split == SPLIT_NAMES[TASKS[task].splits[phase]]


def test_unknown_words_are_refused():
    with pytest.raises(ValueError, match=r"'tiny' of configs/value/tvr\.py is unknown"):
        config_of("tvr", "shapes,tiny")
    with pytest.raises(ValueError, match="begins with no run: choose of retrieval, qa"):
        config_of("multitask", "shapes")
