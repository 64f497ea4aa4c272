"""Files as VALUE publishes them, and submissions, each of two clips."""

import json
from pathlib import Path

NUMBERS = {"train": {"b": [9.0, 4]}, "val": {"a": [60.0, 7], "c": [60.0, 9]}}


def write_lines(path: Path, rows) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def write_references(folder: Path) -> None:
    """Labelled annotations of the splits that count as VALUE's validation."""

    def query(number, clip, **more):
        return {"desc_id": number, "desc": "stir", "vid_name": clip, "duration": 60, **more}

    moments = [query(n, clip, ts=[10, 20]) for n, clip in ((1, "a"), (2, "c"), (3, "a"))]
    clips = [query(1, "a"), query(2, "c"), query(3, "a")]
    for name, rows in (
        ("tvr_val_release", moments),
        ("how2r_val_1k_release", moments),
        ("yc2r_val_release", clips),
        ("vatex_en_r_val_release", clips),
    ):
        write_lines(folder / f"{name}.jsonl", rows)
        task = name.partition("_val")[0]
        (folder / f"{task}_video2dur_idx.json").write_text(json.dumps(NUMBERS))
    answers = {f"a{number}": "x" for number in range(4)}
    question = {"q": "what?", "vid_name": "a", "ts": "1-2", **answers}
    rights = enumerate((3, 0, 2))
    questions = [question | {"qid": n, "answer_idx": right} for n, right in rights]
    write_lines(folder / "how2qa_val_release.jsonl", questions)
    write_lines(folder / "tvqa_val.jsonl", [one | {"a4": "y"} for one in questions])
    event = {"vid_name": "a", "events": ["He sits.", "He goes."], "ts": [1, 2]}
    rows = [event | {"example_id": n, "answer": n % 2} for n in range(4)]
    write_lines(folder / "vlep_dev_release.jsonl", rows)
    statement = {"vid_name": "a", "statement": "He sits."}
    rows = [statement | {"example_id": n, "answer": n % 2} for n in range(4)]
    write_lines(folder / "violin_test_release.jsonl", rows)
    texts = {40: ["the dog jumps over it", "a dog jumps"], 41: ["she cuts the onion finely"]}
    rows = [
        {"vid_name": "a", "clip_id": clip, "ts": [1, 2], "duration": 60}
        | {"descs": [{"desc": text, "desc_id": 10 * clip + n} for n, text in enumerate(of_clip)]}
        for clip, of_clip in texts.items()
    ]
    write_lines(folder / "tvc_val_release.jsonl", rows)
    whole = [{key: row[key] for key in row if key != "ts"} for row in rows]
    write_lines(folder / "yc2c_val_release.jsonl", whole)
    write_lines(folder / "vatex_en_c_test_public_release.jsonl", whole)


def write_submission(folder: Path) -> None:
    """Predictions of each format; the scores are in the tests."""
    # The right moment is first, sixth, and not among the predictions.
    wrong = [4, 10, 20]
    ranked = {1: [[7, 10, 20, 0.9]], 2: [*[wrong] * 5, [9, 10.5, 20]], 3: [[7, 14, 20], wrong]}
    content = {
        "VCMR": [{"desc_id": n, "predictions": rows} for n, rows in ranked.items()],
        "VR": [{"desc_id": n, "predictions": [7, 9]} for n in ranked],
    }
    clips = {"VR": [{"desc_id": str(n), "predictions": [7, 4, 9]} for n in ranked]}
    answers = {str(n): answer for n, answer in enumerate((3, 1, 2))}
    choices = {str(n): 1 for n in range(4)}
    captions = [
        {"clip_id": 40, "vid_name": "a", "descs": [{"desc": "a dog jumps"}, {"desc": "no"}]},
        {"clip_id": 41, "video_id": "a", "descs": [{"desc": "she cuts the onion finely"}]},
    ]
    for name, value in (
        ("tvr/tvr_val", content),
        ("how2r/how2r_val", content),
        ("yc2r/yc2r_val", clips),
        ("vatex_en_r/vatex_en_r_val", clips),
        ("tvqa/tvqa_val", answers),
        ("how2qa/how2qa_val", answers),
        ("vlep/vlep_dev", choices),
        ("violin/violin_test", choices),
    ):
        path = folder / f"{name}_predictions.json"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(value))
    for name in ("tvc/tvc_val", "yc2c/yc2c_val", "vatex_en_c/vatex_en_c_test_public"):
        write_lines(folder / f"{name}_predictions.jsonl", captions)
