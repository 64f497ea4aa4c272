"""Examples that a report keeps."""

from data.report import Report


def test_an_example_that_quotes_a_damaged_file_is_cut_in_its_middle():
    report = Report()
    report.add("lines", f"a.srt line 3: {'9' * 5_000} is no time")
    (example,) = report.examples["lines"]
    assert example.startswith("a.srt line 3: 999")
    assert example.endswith("999 is no time")
    assert len(example) < 700
    merged = Report()
    merged.merge([report])
    assert merged.examples == report.examples
