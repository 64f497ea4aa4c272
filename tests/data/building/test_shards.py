"""Building by shards, with any number of shards, interrupted and continued."""

import fcntl
import resource
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorflow_datasets.core import hashing
from tensorflow_datasets.proto import tf_example_pb2

from data.building import shards
from data.building.dataset import build_dataset
from data.building.plan import Building, order_key
from data.building.workers import write_shards
from data.errors import InputError
from data.records import codec, tfds_layout, tfrecord
from data.records.assembly import make_clip
from data.records.reader import Split
from data.schema import RawClip
from data.sources.base import ClipSource
from tests.data.building.builds import build_films, files, read, stamps
from tests.data.building.films import CLIPS, Films
from tests.data.clip_samples import TOKENIZER, assert_equal, build, clips, queries
from tests.data.raw_samples import raw_clip, raw_query


@settings(max_examples=20)
@given(clip=clips(), query=queries())
def test_a_record_is_what_tfds_would_write(clip, query):
    width = clip.frame_features.shape[1]
    for features, values in (
        (tfds_layout.clip_features(width), codec.encode_clip(clip)),
        (tfds_layout.query_features(), codec.encode_query(query)),
    ):
        ours = codec.serialise(values)
        example = tf_example_pb2.Example.FromString(ours)
        theirs = tfds.core.example_serializer.ExampleSerializer(
            features.get_serialized_info()
        ).serialize_example(features.encode_example(values))
        assert example == tf_example_pb2.Example.FromString(theirs)


@settings(max_examples=10, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 12), min_size=1, max_size=7),
    num_shards=st.integers(1, 9),
    hosts=st.integers(1, 4),
    data=st.data(),
)
def test_whatever_is_written_is_read_back(tmp_path_factory, sizes, num_shards, hosts, data):
    raw = [
        raw_clip(index, num_frames=frames, story=data.draw(st.text("aé\n", max_size=3)))
        for index, frames in enumerate(sizes)
    ]
    folder = tmp_path_factory.mktemp("any") / "films"
    build(folder, {"train": raw}, num_shards=num_shards)
    assert len(list((folder / "clips").rglob("*.tfrecord-?????-of-?????"))) == min(
        num_shards, len(raw)
    )
    expected = {clip.clip_id: make_clip(clip, (3, 2), TOKENIZER, 1.5) for clip in raw}
    # Every host opens the dataset for itself and reads its part.
    found = [
        split.read(number)
        for host, split in enumerate(Split(folder, "train") for _ in range(hosts))
        for number in range(host, len(split), hosts)
    ]
    assert sorted(expected) == sorted(clip.clip_id for clip in found)
    for clip in found:
        assert_equal(clip, expected[clip.clip_id])


def test_records_have_one_order_whatever_the_number_of_shards(tmp_path):
    orders = []
    for num_shards in (1, 2, 5):
        folder = tmp_path / str(num_shards) / "films"
        build(folder, {"train": CLIPS}, num_shards=num_shards)
        orders.append([clip.clip_id for clip in read(folder, "train")])
    assert orders[0] == orders[1] == orders[2]
    assert orders[0] != sorted(orders[0])


def test_continues_after_a_failure_with_unfinished_shards(tmp_path, order, whole, caplog):
    folder = tmp_path / "films"
    with pytest.raises(InputError, match=f"^{order[9]} is broken: mend it$"):
        build_films(folder, Films((order[9],)))
    done = stamps(folder)
    assert len(done) == 9
    metadata, report = build_films(folder, Films())
    assert stamps(folder).items() >= done.items()
    assert "9 of 12 shards of videos are done already" in caplog.text
    assert metadata.left_out == {"films seen": 12}
    assert len(report.examples["films seen"]) == 3
    assert not (folder / "building").exists()
    assert files(folder) == files(whole)


def test_skips_videos_that_cannot_be_used_if_told(tmp_path):
    metadata, report = build_films(
        tmp_path / "films", Films(("clip0", "clip5")), on_bad_video="skip"
    )
    assert metadata.clips == {"train": 10}
    what = "videos that cannot be used: skipped"
    # What is left out of a video that is skipped does not count.
    assert metadata.left_out == {what: 2, "films seen": 10}
    assert sorted(report.examples[what]) == [f"clip{i} is broken: mend it" for i in (0, 5)]
    everything = Films(tuple(clip.clip_id for clip in CLIPS))
    with pytest.raises(InputError, match="no videos, or none that can be used"):
        build_films(tmp_path / "none", everything, on_bad_video="skip")
    rest = {"train": CLIPS[:2], "test": [raw_clip(13, num_frames=0)]}
    with pytest.raises(InputError, match="no video of split test can be used"):
        build(tmp_path / "half", rest, on_bad_video="skip")


def test_queries_about_skipped_videos_are_left_out(tmp_path):
    clips = [raw_clip(0), raw_clip(1, num_frames=0), raw_clip(2)]
    asked = {"train": [raw_query(index) for index in range(3)]}
    metadata = build(tmp_path / "films", {"train": clips}, asked, on_bad_video="skip")
    assert (metadata.clips, metadata.queries) == ({"train": 2}, {"train": 2})
    assert metadata.left_out["queries about skipped videos: skipped"] == 1


def test_most_videos_decide_the_widths_and_the_number_of_shards(tmp_path):
    def clip(index, frames, width):
        return RawClip(f"clip{index}", (np.ones((frames, width), np.float16),), ())

    # Two of these fill a shard, whichever comes first.
    large = [clip(index, 2048, 4096) for index in range(5)]
    small = clip(9, 4, 4096)
    for name, in_order in {"first": [small, *large], "last": [*large, small]}.items():
        build(tmp_path / name / "films", {"train": in_order})
        assert len(list((tmp_path / name).rglob("*.tfrecord-?????-of-00003"))) == 3
    wide = [clip(index, 4, 3 + (index == 0)) for index in range(5)]
    metadata = build(tmp_path / "films", {"train": wide}, on_bad_video="skip")
    assert (metadata.feature_widths, metadata.clips) == ((3,), {"train": 4})


def test_only_shards_whose_source_changed_are_made_again(tmp_path, order):
    folder = tmp_path / "films"
    with pytest.raises(InputError):
        build_films(folder, Films((order[11],)))
    before = stamps(folder)
    build_films(folder, Films(changed=(order[2],)))
    after = stamps(folder)
    assert {number for number in before if before[number] == after[number]} == {*range(11)} - {2}


def test_a_shard_with_videos_left_out_is_made_again_if_none_may_be(tmp_path, order):
    folder, broken = tmp_path / "films", (order[8],)
    with pytest.raises(RuntimeError, match="unheard of"):
        build_films(folder, Films(broken, order[11]), on_bad_video="skip")
    before = stamps(folder)
    assert len(before) == 11
    with pytest.raises(InputError, match=f"{order[8]} is broken"):
        build_films(folder, Films(broken))
    metadata, _ = build_films(folder, Films(broken), on_bad_video="skip")
    assert metadata.clips == {"train": 11}
    after = stamps(folder)
    assert {number for number in before if before[number] == after[number]} == {*range(11)} - {8}


def test_shards_of_another_plan_are_removed(tmp_path, order):
    folder = tmp_path / "films"
    with pytest.raises(InputError):
        build_films(folder, Films((order[11],)))
    (folder / "building" / ".clips-train-00003-of-00012.half").write_text("interrupted")
    with pytest.raises(InputError):
        build_dataset(folder, Films((order[11],)), TOKENIZER, Building(num_shards=2))
    shards_left = [path.name for path in (folder / "building").glob("*-of-*")]
    assert sorted(shards_left) == [
        "clips-train-00000-of-00002",
        "clips-train-00000-of-00002.json",
    ]


def test_a_dataset_stays_until_another_can_take_its_place(tmp_path):
    folder = tmp_path / "films"
    build(folder, {"train": [raw_clip(30)]}, {"train": [raw_query(30)]})
    before = files(folder)
    with pytest.raises(InputError, match="is broken"):
        build_films(folder, Films(("clip5",)), overwrite=True)
    after = files(folder)
    assert {name: after[name] for name in before} == before
    assert [clip.clip_id for clip in read(folder, "train")] == ["clip30"]
    build_films(folder, Films(), overwrite=True)
    assert len(read(folder, "train")) == 12
    assert not (folder / "queries" / "2.0.0").exists()


def test_a_dataset_is_built_by_one_program_at_a_time(tmp_path):
    (tmp_path / "films" / "building").mkdir(parents=True)
    with (tmp_path / "films" / "building" / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(InputError, match="films is being built by another program: wait"):
            build_films(tmp_path / "films", Films())
    build_films(tmp_path / "films", Films())


def clip_task(folder: Path, name: str, videos: list[str], source) -> shards.ClipShardTask:
    path = folder / "tokenizer.json"
    return shards.ClipShardTask(name, TOKENIZER.identity, path, False, videos, source, (3, 2))


def test_a_shard_that_was_cut_is_made_again(tmp_path):
    TOKENIZER.save(tmp_path / "tokenizer.json")
    task = clip_task(tmp_path, "part", ["clip1"], ClipSource({"": CLIPS}, 1.5))
    (first,) = write_shards(tmp_path, [task], "videos", 1)
    whole = (tmp_path / "part").read_bytes()
    assert (first.records, first.size) == (1, len(whole))
    assert len(tfrecord.scan(tmp_path / "part")) == 2
    (tmp_path / "part").write_bytes(whole[:-3])
    assert write_shards(tmp_path, [task], "videos", 1) == [first]
    assert (tmp_path / "part").read_bytes() == whole


class Endless(ClipSource):
    """A clip that takes more room than there is."""

    def clips(self, video_id, report):
        return [raw_clip(1, num_frames=5000)] if video_id == "clip1" else super().clips(video_id, 0)


def test_a_full_disk_is_reported_and_finished_shards_stay(tmp_path):
    TOKENIZER.save(tmp_path / "tokenizer.json")
    source = Endless({"": CLIPS}, 1.5)
    tasks = [clip_task(tmp_path, name, [name], source) for name in ("clip0", "clip1")]
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, hard))
    try:
        with pytest.raises(
            InputError,
            match=rf"{tmp_path} could not be written to \(File too large\): make room and build",
        ):
            write_shards(tmp_path, tasks, "videos", 1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    written = (tmp_path / "clip0").stat().st_mtime_ns
    assert [path.name for path in tmp_path.glob(".*")] == []
    results = write_shards(tmp_path, tasks, "videos", 1)
    assert [result.totals["frames"] for result in results] == [8, 5000]
    assert (tmp_path / "clip0").stat().st_mtime_ns == written


def test_refuses_impossible_settings():
    with pytest.raises(InputError, match="on_bad_video is 'stop'"):
        Building(on_bad_video="stop")
    with pytest.raises(InputError, match="workers is 0"):
        Building(workers=0)
    with pytest.raises(InputError, match="num_shards is -1"):
        Building(num_shards=-1)


@given(st.text(max_size=5))
def test_ids_are_ordered_as_in_tfds(identifier):
    # Datasets of earlier versions had their order from TFDS.
    assert order_key("train")(identifier) == hashing.Hasher("train").hash_key(identifier)
