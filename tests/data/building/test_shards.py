"""Building by shards, with any number of shards and workers, interrupted and continued."""

import dataclasses
import fcntl
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorflow_datasets.proto import tf_example_pb2

from data.building import shards
from data.building.dataset import build_dataset
from data.building.plan import Building
from data.building.workers import STOPPED, write_shards
from data.errors import InputError
from data.records import codec, tfds_layout, tfrecord
from data.records.assembly import make_clip
from data.records.reader import QuerySplit, Split
from data.report import Report
from data.schema import RawClip
from data.sources.base import ClipSource
from tests.data.clip_samples import (
    TOKENIZER,
    assert_equal,
    build,
    clips,
    queries,
    raw_clip,
    raw_query,
)
from tests.paths import ROOT

CLIPS = [raw_clip(index) for index in range(12)]


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def read(folder: Path, split: str) -> list:
    found = Split(folder, split)
    return [found.read(number) for number in range(len(found))]


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


THREADS = ("--runner=DirectRunner", "--direct_num_workers=2")
THREADS += ("--direct_running_mode=multi_threading",)


def test_one_worker_two_workers_and_beam_write_the_same_bytes(tmp_path):
    splits = {"train": CLIPS[:6], "validation": CLIPS[6:9]}
    asked = {"train": [raw_query(index) for index in range(4)]}
    ways = {"one": {}, "two": {"workers": 2}, "threads": {"beam_options": THREADS}}
    for name, how in ways.items():
        build(tmp_path / name / "films", splits, asked, num_shards=3, **how)
    assert files(tmp_path / "one") == files(tmp_path / "two") == files(tmp_path / "threads")
    assert len(QuerySplit(tmp_path / "two" / "films", "train")) == 4


@dataclasses.dataclass
class Films:
    """A source that cannot make some of its clips."""

    broken: tuple[str, ...] = ()
    unheard_of: str = ""
    deadly: str = ""
    endless: str = ""
    slow: float = 0.0
    changed: tuple[str, ...] = ()
    seconds_per_feature: float = 1.5

    def __post_init__(self):
        self.videos = {"train": [clip.clip_id for clip in CLIPS]}
        self.queries, self.query_type, self.report = {}, "", Report()

    def clips(self, video_id: str, report: Report) -> list[RawClip]:
        report.add("films seen", video_id)
        if video_id in self.broken:
            raise InputError(f"{video_id} is broken: mend it")
        if video_id == self.unheard_of:
            raise RuntimeError("unheard of")
        if video_id == self.deadly:
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(600 if video_id == self.endless else self.slow)
        return [raw_clip(int(video_id.removeprefix("clip")))]

    def video_of(self, clip_id):
        return clip_id

    def narrowed(self, videos):
        return self

    def identity(self, videos):
        return [video_id for video_id in videos if video_id in self.changed]


def build_films(folder: Path, source: Films, **building):
    """A clip a shard, so that numbers of shards are places in the order of records."""
    return build_dataset(folder, source, TOKENIZER, Building(num_shards=len(CLIPS), **building))


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """A build that was not interrupted."""
    folder = tmp_path_factory.mktemp("whole") / "films"
    build_films(folder, Films())
    return folder


@pytest.fixture(scope="module")
def order(whole) -> list[str]:
    """Ids of the clips in the order of records."""
    return [clip.clip_id for clip in read(whole, "train")]


def stamps(folder: Path) -> dict[int, int]:
    """When each shard was written, of a dataset that is finished or not."""
    paths = [*folder.glob("building/clips-*-of-*"), *folder.glob("clips/*/films-train.*-of-*")]
    times = {
        path.name.split("-of-")[0][-5:]: path.stat().st_mtime_ns
        for path in paths
        if path.name.endswith("00012")
    }
    return {int(number): time for number, time in times.items()}


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


# The first eight videos in order are read before any worker starts, to estimate sizes.


def test_a_failure_stops_the_other_workers(tmp_path, order, whole):
    folder = tmp_path / "films"
    with pytest.raises(InputError, match=f"^{order[9]} is broken: mend it$"):
        build_films(folder, Films((order[9],), endless=order[10]), workers=2)
    assert multiprocessing.active_children() == []
    build_films(folder, Films(), workers=2)
    assert files(folder) == files(whole)


def test_a_failure_on_beam_is_the_same_sentence(tmp_path, order, whole):
    folder = tmp_path / "films"
    with pytest.raises(InputError, match=f"^{order[9]} is broken: mend it$"):
        build_films(folder, Films((order[9],)), beam_options=THREADS)
    build_films(folder, Films(), beam_options=THREADS)
    assert files(folder) == files(whole)


def test_a_bug_keeps_its_exception_on_a_worker(tmp_path, order):
    with pytest.raises(RuntimeError, match=r"^unheard of$"):
        build_films(tmp_path / "films", Films(unheard_of=order[9]), workers=2)


def test_a_killed_worker_is_reported(tmp_path, order):
    with pytest.raises(InputError, match=r"a worker process ended unexpectedly.* fewer workers"):
        build_films(tmp_path / "films", Films(deadly=order[9], endless=order[10]), workers=2)
    assert multiprocessing.active_children() == []


def test_a_local_build_does_not_import_beam(tmp_path):
    code = (
        "import sys; from tests.data.building.test_shards import Films, build_films; "
        "build_films(sys.argv[1], Films(), workers=2); assert 'apache_beam' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, tmp_path / "films"], cwd=ROOT, check=True)


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


INTERRUPTIBLE = """
import signal
import sys
from pathlib import Path
from data.building.workers import STOPPED
from data.command import ends_with_a_sentence
from tests.data.building.test_shards import Films, build_films
if __name__ == "__main__":
    # A job in the background of a shell ignores SIGINT.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with ends_with_a_sentence(STOPPED):
        build_films(Path(sys.argv[1]), Films(slow=0.2), workers=int(sys.argv[2]))
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
@pytest.mark.parametrize("workers", [1, 2])
def test_an_interrupted_build_continues_to_the_same_bytes(tmp_path, workers, how, whole):
    folder, script = tmp_path / "films", tmp_path / "script.py"
    script.write_text(INTERRUPTIBLE)
    process = subprocess.Popen(
        [sys.executable, script, folder, str(workers)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        start_new_session=True,
        stderr=subprocess.PIPE,
        text=True,
    )
    while process.poll() is None and len(list(folder.glob("building/*.json"))) < 3:
        time.sleep(0.01)
    if how == signal.SIGINT:
        os.killpg(process.pid, how)
    else:
        # The workers have to notice by themselves.
        process.kill()
    # Ends when the last process has closed its end of the pipe.
    _, printed = process.communicate(timeout=60)
    if how == signal.SIGINT:
        *progress, last = printed.splitlines()
        assert last == f"error: {STOPPED}"
        assert all(line.startswith("videos: ") for line in progress)
    assert process.returncode == (1 if how == signal.SIGINT else -signal.SIGKILL)
    done = {
        number: time
        for number, time in stamps(folder).items()
        if (folder / "building" / f"clips-train-{number:05d}-of-00012.json").exists()
    }
    assert 3 <= len(done) < 12
    build_films(folder, Films())
    assert stamps(folder).items() >= done.items()
    assert files(folder) == files(whole)


class Endless(ClipSource):
    """A clip that takes more room than there is."""

    def clips(self, video_id, report):
        return [raw_clip(1, num_frames=5000)] if video_id == "clip1" else super().clips(video_id, 0)


def test_a_full_disk_is_said_and_keeps_what_is_done(tmp_path):
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


def test_refuses_impossible_ways_to_build():
    with pytest.raises(InputError, match="on_bad_video is 'stop'"):
        Building(on_bad_video="stop")
    with pytest.raises(InputError, match="workers is 0"):
        Building(workers=0)
