"""Rows of annotations as they are published, and files of them."""

import json
from pathlib import Path

from data.report import Report
from data.schema import QUERY_TYPES
from data.sources.annotations.base import Annotation
from data.sources.annotations.registry import MISTAKE, read_annotations

TVR = {
    "vid_name": "friends_s01e03_seg02_clip_19",
    "duration": 61.46,
    "ts": [16.48, 33.87],
    "desc": "Phoebe puts a ponytail in her mouth. ",
    "type": "v",
    "desc_id": 90200,
}
TVC = {
    "vid_name": "friends_s01e03_seg02_clip_19",
    "duration": 61.46,
    "ts": [16.48, 33.87],
    "clip_id": 86603,
    "descs": [
        {"desc": "Phoebe bites her hair.", "type": "v", "from": "retrieval", "desc_id": 90200},
        {"desc": "They talk.", "type": "vt", "from": "caption", "desc_id": 90201},
    ],
}
TVQA = {
    "a0": "A martini glass",
    "a1": "Nachos",
    "a2": "Her purse",
    "a3": "",
    "a4": "A beer bottle",
    "answer_idx": 4,
    "q": "What is Robin holding?",
    "qid": 7,
    "show_name": "How I Met You Mother",
    "ts": "1.21-8",
    "vid_name": "met_s06e22_seg01_clip_02",
}
TVQA_PLUS = {
    "answer_idx": "1",
    "qid": 134094,
    "ts": [5.99, 11.98],
    "a0": "To Bernadette",
    "a1": "To Raj and Leonard",
    "a2": "To Sheldon , and Raj",
    "a3": "To Leonard and Penny",
    "a4": "To Penny",
    "q": "Who is Howard talking to when he is in the lab room ?",
    "vid_name": "s05e02_seg02_clip_00",
    "bbox": {"14": [{"img_id": 14, "top": 153, "label": "Howard", "width": 180, "left": 339}]},
}
VIOLIN = {
    "desc_id": "dh_s08e07_clip_1374_1411-2-1",
    "desc": "The woman is glad.",
    "vid_name": "dh_s08e07_clip_1374_1411",
    "label": True,
}
DIDEMO = {
    "annotation_id": 10,
    "description": "a dog jumps",
    "video": "12090392@N02_13482799053_87ef417396.mov",
    "times": [[0, 0], [1, 4], [0, 0], [5, 5]],
    "num_segments": 6,
}
MSRVTT_VIDEO = {
    "category": 9,
    "url": "https://example.org/",
    "video_id": "video0",
    "start time": 137.72,
    "end time": 149.44,
    "split": "train",
    "id": 0,
}
MSRVTT_SENTENCE = {"caption": "a car is shown", "video_id": "video0", "sen_id": 0}
QVHIGHLIGHTS = {
    "qid": 8737,
    "query": "People play ball.",
    "duration": 150,
    "vid": "bP5_660.0_810.0",
    "relevant_windows": [[0, 16], [20, 30.5]],
    "relevant_clip_ids": [0, 1, 2, 3, 4, 5, 6, 7],
    "saliency_scores": [[4, 1, 1], [4, 1, 1]],
}
CHARADES = "3MSZA 24.3 30.4##person turn a light on."
PLAIN = {"id": "q1", "video": "film", "text": "a dog jumps", "start": 3.2, "end": 7.5}


class File:
    """A file of annotations in a temporary folder."""

    def __init__(self, folder: Path, name: str = "rows.json"):
        self.path = folder / name

    def lines(self, *rows) -> "File":
        """Writes JSON lines; a string is a line as it is."""
        return self.text("".join(f"{r if isinstance(r, str) else json.dumps(r)}\n" for r in rows))

    def text(self, content: str) -> "File":
        self.path.write_bytes(content.encode())
        return self

    def read(self, form: str, report: Report | None = None) -> tuple[str, list[Annotation]]:
        return read_annotations(self.path, form, Report() if report is None else report)

    def check(self, form: str, expected: list[Annotation], mistakes: list[str]) -> None:
        """Checks what is read, and the message about each row that is left out."""
        report = Report()
        found_type, found = self.read(form, report)
        assert found == expected
        assert found_type in QUERY_TYPES
        assert report.counts[MISTAKE] == len(mistakes)
        assert report.examples.get(MISTAKE, []) == [f"{self.path} {m}" for m in mistakes[:3]]

    def at(self, place: str) -> str:
        return f"{self.path} {place}"
