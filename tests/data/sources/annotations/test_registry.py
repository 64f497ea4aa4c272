"""The registry: a new annotation form is one module with one object."""

import importlib.util

import pytest

from data import build
from data.records.reader import QuerySplit, Split
from data.report import Report
from data.sources.annotations import registry
from data.sources.annotations.base import Annotation
from data.sources.annotations.registry import FORMS, MISTAKE, read_annotations
from tests.data.sources.raw_samples import Raw

TOY = """
from data.schema import RawQuery
from data.sources.annotations.base import Annotation, AnnotationForm
from data.sources.json_files import Mistake, open_text

def _rows(path):
    with open_text(path) as lines:
        for number, line in enumerate(lines, 1):
            yield f"{path} line {number}", line.strip().split("|")

def _parse(row, where):
    if len(row) != 3:
        raise Mistake(f"it has {len(row)} fields instead of 3")
    query_id, video, text = row
    return Annotation(RawQuery(query_id, video, text), where, in_video=True)

FORM = AnnotationForm(
    name="toy",
    help="fields with bars between",
    query_type="query",
    rows=_rows,
    parse=_parse,
    whole_video=True,
    without_moment="toys without a moment",
)
"""


@pytest.fixture
def toy_form(tmp_path, monkeypatch):
    """Registers a form that lives in a module of its own."""
    path = tmp_path / "toy_form.py"
    path.write_text(TOY)
    spec = importlib.util.spec_from_file_location("toy_form", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setitem(registry.FORMS, module.FORM.name, module.FORM)


@pytest.fixture
def toy_file(tmp_path):
    path = tmp_path / "toys.txt"
    path.write_text("t1|a|a dog jumps\nt2|a\nt3|d|a cat sleeps\n")
    return path


def test_reads_a_file_of_a_registered_form(toy_form, toy_file):
    report = Report()
    query_type, annotations = read_annotations(toy_file, "toy", report)
    assert query_type == "query"
    assert all(isinstance(annotation, Annotation) for annotation in annotations)
    assert [(a.query.query_id, a.query.text) for a in annotations] == [
        ("t1", "a dog jumps"),
        ("t3", "a cat sleeps"),
    ]
    assert report.counts == {MISTAKE: 1, "toys without a moment": 2}
    assert report.examples[MISTAKE] == [f"{toy_file} line 2: it has 2 fields instead of 3"]


def test_the_command_knows_a_registered_form(toy_form, toy_file, tmp_path, capsys):
    with pytest.raises(SystemExit):
        build.main(["raw", "--help"])
    printed = " ".join(capsys.readouterr().out.split())
    assert "toy: fields with bars between" in printed
    assert "60 with the forms plain, how2r, how2qa, toy, else 0" in printed
    raw = Raw(tmp_path)
    raw.build(f"--queries={toy_file}", form="toy")
    # Whole videos are cut into clips.
    clips = Split(raw.out, "train")
    assert [clips.read(number).video_id for number in range(len(clips))].count("a") == 1
    assert QuerySplit(raw.out, "train").read(0).clip_id == "a.0"


def test_forms_have_names_of_their_own():
    assert len(FORMS) == len(registry._MODULES)
    assert all(form.name == name for name, form in FORMS.items())
