"""Annotations of Charades-STA: lines of text."""

import pytest

from data.report import Report
from data.schema import RawQuery
from data.sources.annotations.base import Annotation
from data.sources.annotations.registry import MISTAKE
from tests.data.sources.annotations.annotation_samples import File


@pytest.fixture
def file(tmp_path):
    return File(tmp_path, "charades_sta_test.txt")


def test_reads_lines_of_text(file):
    file.text(
        "3MSZA 24.3 30.4##person turn a light on.\n"
        "\n"
        "-rzQ5 -1 7##  person puts a #1 ## sign up \r\n"
        "3MSZA  0.0  5 ##a person sits down."
    )
    rows = [
        (1, "3MSZA", "person turn a light on.", (24.3, 30.4)),
        (3, "-rzQ5", "person puts a #1 ## sign up", (-1.0, 7.0)),
        (4, "3MSZA", "a person sits down.", (0.0, 5.0)),
    ]
    expected = [
        Annotation(
            RawQuery(f"charades_sta_test-{line}", video, text, (moment,)), file.at(f"line {line}")
        )
        for line, video, text, moment in rows
    ]
    file.check("charades", expected, [])


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("3MSZA 24.3##person", "it has to be VIDEO start end##sentence, not '3MSZA 24.3##person'"),
        ("3MSZA 1 2 person", "it has to be VIDEO start end##sentence, not '3MSZA 1 2 person'"),
        ("3MSZA nan 2##person", "it has to be VIDEO start end##sentence, not '3MSZA nan"),
        ("3MSZA 3 2##person", "start to end goes from 3.0 to 2.0"),
        ("3MSZA 3 " + "9" * 400 + "##person", "start to end goes from 3.0 to inf"),
        ("3MSZA 1 2## ", "sentence is empty"),
    ],
)
def test_a_line_with_a_mistake_is_left_out_and_counted(file, line, said):
    file.text(f"{line}\nAMT7R 1 2##person")
    _, found = file.read("charades", report := Report())
    assert [annotation.query.clip_id for annotation in found] == ["AMT7R"]
    assert report.counts == {MISTAKE: 1}
    assert report.examples[MISTAKE][0].startswith(file.at(f"line 1: {said}"))
