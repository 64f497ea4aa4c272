"""The readers of outside files, each with valid files that the project or its tests write."""

import itertools
import json
import pickle
import struct
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np

from data.errors import InputError
from data.records import tfrecord
from data.records.reader import QuerySplit, Split
from data.report import Report
from data.sources.annotations.registry import read_annotations
from data.sources.features import FeatureParts
from data.sources.splits import read_splits
from data.sources.subtitles import open_subtitles
from data.tokenizer import Tokenizer
from data.torch_files.archive import widened
from hero_jax.conversion.torch.read import read_state_dict
from hero_jax.conversion.torch.write import write_state_dict
from hero_jax.extractors.layouts import LAYOUTS
from hero_jax.extractors.recognition import network_of
from hero_jax.index import Index, Writer
from hero_jax.index.manifest import _checksum
from hero_jax.inference import exported
from hero_jax.retrieval.moments import RankingSettings
from hero_jax.training.checkpoint import Checkpoints
from hero_jax.training.checkpoint_files import ABOUT, METRICS, write_checksums
from tests.data.clip_samples import TOKENIZER, build
from tests.data.raw_samples import raw_clip, raw_query
from tests.data.sources.annotations import annotation_samples as rows
from tests.data.sources.described import describe
from tests.data.sources.subtitle_formats.test_formats import FILES
from tests.fuzz.engine import Reader
from tests.fuzz.stores import STORES
from tests.hero_jax.conversion.torch.torch_archives import save_legacy, save_zip, whole
from tests.hero_jax.extractors.weight_files import (
    save_caffe2,
    save_python2_dict,
    save_torchscript,
    script_of,
)
from tests.hero_jax.index import index_samples

CUES = "1\n00:00:01,000 --> 00:00:02,500\n<i>Hi</i> &amp; you\n\n2\n0:03 --> 0:04\nBye\n"
WEBVTT = (
    "WEBVTT\nKind: captions\n\nNOTE a\n\n00:00.160 --> 00:03.430 align:start\nso\n"
    "so<00:00:00.800><c> do</c>\n\n00:03.430 --> 00:04.000\nso do\nwell\n"
)
CAPTIONS = {"start": [1, 2.5], "end": [2, 4.0], "text": ["Hi", "Bye"]}
FEATURES = np.arange(12, dtype=np.float16).reshape(3, 4)


def messages(report: Report) -> Iterator[str]:
    """Yields the examples of a report."""
    return itertools.chain.from_iterable(report.examples.values())


def make_subtitles(folder: Path) -> None:
    for number, (name, content, _) in enumerate(FILES.values()):
        (folder / f"{number}{name[1:]}").write_text(
            content.replace('<p begin="90s" end="91s"/>', "")
        )
    (folder / "a.srt").write_text(CUES)
    (folder / "b.en.vtt").write_text(WEBVTT)
    (folder / "c.csv").write_text("start,end,text\n1,2.5,Hi\n3,4,Bye\n")
    (folder / "d.srt").write_text(CUES, encoding="utf-16")


def read_subtitles(folder: Path) -> Iterator[str]:
    report = Report()
    subtitles = open_subtitles(folder, report=report)
    for video_id in sorted(subtitles.ids()):
        subtitles.read(video_id, report)
    return messages(report)


def make_captions(folder: Path) -> None:
    (folder / "howto100m.json").write_text(json.dumps({"a": CAPTIONS, "b": CAPTIONS}))
    lines = [{"vid_name": i, "sub": [{"text": "Hi", "start": 1, "end": 2.5}]} for i in "ab"]
    (folder / "tv.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def read_captions(folder: Path) -> Iterator[str]:
    (file,) = folder.iterdir()
    report = Report()
    subtitles = open_subtitles(file)
    for video_id in sorted(subtitles.ids()):
        subtitles.read(video_id, report)
    return messages(report)


def make_annotations(folder: Path) -> None:
    of_lines = {
        "tvr": [rows.TVR],
        "tvc": [rows.TVC],
        "tvqa": [rows.TVQA],
        "violin": [rows.VIOLIN],
        "qvhighlights": [rows.QVHIGHLIGHTS],
        "plain": [rows.PLAIN],
        "charades": [rows.CHARADES],
    }
    for form, lines in of_lines.items():
        rows.File(folder, form).lines(*lines)
    wholes = {
        "didemo": [rows.DIDEMO],
        "msrvtt": {"videos": [rows.MSRVTT_VIDEO], "sentences": [rows.MSRVTT_SENTENCE]},
        "tvqa+": [rows.TVQA_PLUS],
        "violin+": {"a": {"statement": [["yes", "no"]], "split": "train"}},
    }
    for form, content in wholes.items():
        rows.File(folder, form).text(json.dumps(content))
    rows.File(folder, "how2r").text('a,[0:60],[3.5:9],"a dog, jumps"\n')
    rows.File(folder, "how2qa").text('a,[3.5:9],one,two,three,"who, then?",four\n')


def read_annotation_file(folder: Path) -> Iterator[str]:
    (file,) = folder.iterdir()
    report = Report()
    read_annotations(file, file.name.rstrip("+"), report)
    return messages(report)


def make_splits(folder: Path) -> None:
    (folder / "train").write_text('["a", "b"]')
    (folder / "all").write_text('{"train": ["a", "b"], "val": ["c"]}')


def read_split_file(folder: Path) -> Iterator[str]:
    (file,) = folder.iterdir()
    read_splits([("train" if file.name == "train" else "", file)])
    return iter(())


def make_features(folder: Path) -> None:
    np.save(folder / "a.npy", FEATURES)
    np.save(folder / "b.npy", np.asfortranarray(FEATURES.astype(np.float64)))
    np.savez(folder / "c.npz", features=FEATURES)
    np.savez_compressed(folder / "d.npz", x=FEATURES)
    for name, options in {"e": {}, "f": {"chunks": (1, 4), "compression": "gzip"}}.items():
        with h5py.File(folder / f"{name}.h5", "w") as file:
            file.create_dataset("features", data=FEATURES, **options)
    single = FEATURES.astype(np.float32)
    save_zip(folder / "g.pt", whole(FEATURES))
    save_legacy(folder / "h.pt", {"features": whole(single)})
    write_state_dict(folder / "i.pt", {"features": widened(single)})
    (folder / "j.pt").write_bytes(pickle.dumps({"features": FEATURES}, protocol=2))


def read_features(folder: Path) -> Iterator[str]:
    (file,) = folder.iterdir()
    report = Report()
    parts = [FeatureParts([folder])]
    if file.suffix == ".h5":
        parts.append(FeatureParts([file]))
    refused = []
    for features, number in itertools.product(parts, range(2)):
        for video_id in sorted(features.ids()):
            try:
                features.read(video_id, report) if number else features.num_frames(video_id)
            except InputError as error:
                refused.append(str(error))
    return itertools.chain(refused, messages(report))


def make_descriptions(folder: Path) -> None:
    np.savez(folder / "a.npz", features=FEATURES)
    describe(folder / "a.npz")


def read_descriptions(folder: Path) -> Iterator[str]:
    report = Report()
    parts = FeatureParts([folder], report=report)
    refused = []
    for video_id in sorted(parts.ids()):
        parts.origins({video_id}, report)
        try:
            parts.read(video_id, report)
        except InputError as error:
            refused.append(str(error))
    return itertools.chain(refused, messages(report))


def make_weights(folder: Path) -> None:
    values = {"a.weight": whole(FEATURES), "b": whole(FEATURES.astype(np.float32), "1")}
    save_zip(folder / "a.pt", values)
    save_legacy(folder / "b.pt", {"model": values, "epoch": 3})
    np.savez(folder / "c.npz", weight=FEATURES, bias=FEATURES[0])
    exported.safetensors.numpy.save_file({"weight": FEATURES}, folder / "d.safetensors")
    arrays = {"conv1_w": FEATURES, "conv1_b": np.asfortranarray(FEATURES.astype(">f4"))}
    save_caffe2(folder / "e.pkl", arrays)
    save_python2_dict(folder / "f.pyth", arrays)
    for protocol in 2, 5:
        content = {"blobs": arrays, "step": np.float64(1)}
        (folder / f"g{protocol}.pkl").write_bytes(pickle.dumps(content, protocol))
    script = script_of({"visual.proj": FEATURES, "visual.a.b": FEATURES, "scale": FEATURES[0]})
    save_torchscript(folder / "h.pt", script)


def read_weights(folder: Path) -> Iterator[str]:
    (file,) = folder.iterdir()
    arrays = read_state_dict(file)
    for layout in LAYOUTS.values():
        layout(
            arrays, {"visual.proj": (3, 4), "blocks.0.multipathway_blocks.0.conv.weight": (3, 4)}
        )
    assert network_of(arrays)
    return iter(())


def make_dataset(folder: Path) -> None:
    clips = {"train": [raw_clip(number) for number in range(3)]}
    build(folder / "films", clips, {"train": [raw_query(0)]})


def read_dataset(folder: Path) -> Iterator[str]:
    refused = []
    for kind in Split, QuerySplit:
        records = kind(folder / "films", "train", on_corrupt="skip")
        for number in range(len(records)):
            records.read(number)
        refused += records.corrupt.values()
    return iter(refused)


def seal_shard(path: str, content: bytes) -> bytes:
    """Takes all of a changed shard for one record."""
    if not path.endswith("-of-00001"):
        return content
    data = content[tfrecord.HEADER_BYTES : -tfrecord.FOOTER_BYTES]
    length = struct.pack("<Q", len(data))
    ends = [struct.pack("<I", tfrecord.masked_crc(part)) for part in (length, data)]
    return length + ends[0] + data + ends[1]


def make_tokenizers(folder: Path) -> None:
    TOKENIZER.save(folder / "tokenizer.json")
    model = json.loads((folder / "tokenizer.json").read_text())["model"]
    (folder / "folder").mkdir()
    (folder / "folder/vocab.json").write_text(json.dumps(model["vocab"]))
    merges = "".join(f"{first} {second}\n" for first, second in model["merges"])
    (folder / "folder/merges.txt").write_text(f"#version: 0.2\n{merges}")


def read_tokenizers(folder: Path) -> Iterator[str]:
    refused = []
    for path in folder / "tokenizer.json", folder / "folder":
        try:
            tokenizer = Tokenizer.load(path)
            tokenizer.decode(tokenizer.encode("the red square"))
        except InputError as error:
            refused.append(str(error))
    return iter(refused)


def make_index(folder: Path) -> None:
    index_samples.make(folder)
    with Writer(folder) as writer:
        writer.add([index_samples.entry(name, number) for number, name in enumerate("abc")])
        writer.delete(["b"])


def read_index(folder: Path) -> Iterator[str]:
    index = Index(folder)
    index.num_frames()
    for number, _ in index.clip_ids():
        index.describe(number)
        index.frames([number])
    index.block(0, index.capacity)
    index.videos()
    index.text_search("oh a quoted word", 9)
    return iter(())


def seal_index(path: str, content: bytes) -> bytes:
    """Renews the checksum of a manifest that is still JSON with fields."""
    try:
        document = json.loads(content)
        document["crc32"] = _checksum(document["index"])
        return json.dumps(document).encode()
    except (ValueError, LookupError, TypeError, RecursionError):
        return content


def make_export(folder: Path) -> None:
    parts = {
        "model": {"hidden_size": 16},
        "data": {
            "feature_widths": [4, 2],
            "seconds_per_feature": 1.5,
            "tokenizer": TOKENIZER.identity,
            "special_ids": [0, 1, 2, 4],
        },
        "batch": {"max_frames": 9},
        "ranking": {
            name: field.default for name, field in RankingSettings.__dataclass_fields__.items()
        },
        "tasks": {
            kind: {"kind": kind, "settings": settings, "batch": {"max_frames": 9}}
            for kind, settings in (("question_answering", {"span_weight": 0.4}), ("inference", {}))
        },
    }
    params = {"a": np.zeros((2, 3), np.float32)}
    (folder / exported.DESCRIPTION).write_text(
        json.dumps(exported.describe(**parts, params=params))
    )
    exported.safetensors.numpy.save_file(params, folder / exported.WEIGHTS)
    TOKENIZER.save(folder / exported.TOKENIZER)


def read_export(folder: Path) -> Iterator[str]:
    export = exported.read(folder)
    export.tasks()
    for task in ("", *export.description["tasks"]):
        export.batch(task)
    assert export.features.feature_width
    assert export.ranking
    return iter(())


def make_checkpoints(folder: Path) -> None:
    for name in "new", "old":
        checkpoint = folder / name / "checkpoints/5"
        contents = {ABOUT: {"config": {"seed": 1}, "data": {}}, METRICS: {"vsm/r@1": 0.5}}
        for path, content in contents.items():
            (checkpoint / path).parent.mkdir(parents=True)
            (checkpoint / path).write_text(json.dumps(content))
        if name == "new":
            write_checksums(checkpoint)


def read_checkpoints(folder: Path) -> Iterator[str]:
    refused = []
    for name in "new", "old":
        checkpoints = Checkpoints(folder / name, best_metric="vsm/r@1", read_only=True)
        for which in "latest", "best":
            try:
                step = checkpoints.find(which)
                checkpoints.metadata(step)
                checkpoints.metrics(step)
            except InputError as error:
                refused.append(str(error))
    return iter(refused)


READERS = {
    reader.name: reader
    for reader in (
        Reader("subtitles", make_subtitles, read_subtitles, alone=True),
        Reader("captions", make_captions, read_captions, alone=True),
        Reader("annotations", make_annotations, read_annotation_file, alone=True),
        Reader("splits", make_splits, read_split_file, alone=True),
        Reader("features", make_features, read_features, alone=True),
        Reader("descriptions", make_descriptions, read_descriptions),
        Reader("weights", make_weights, read_weights, alone=True),
        Reader("records", make_dataset, read_dataset, seal=seal_shard),
        Reader("tokenizers", make_tokenizers, read_tokenizers),
        Reader("exports", make_export, read_export),
        Reader("indexes", make_index, read_index, seal=seal_index),
        Reader("checkpoints", make_checkpoints, read_checkpoints),
        *STORES,
    )
}
