"""The table that a build prints."""

from data.networks import in_words
from data.report import Report
from data.schema import DatasetMetadata


def summary(metadata: DatasetMetadata, report: Report) -> str:
    """Returns a table of what is in the dataset and what was left out of it, with examples.

    The last line names the networks of its features.
    """
    rows = [(f"clips in {split}", count) for split, count in metadata.clips.items()]
    rows += [(f"queries in {split}", count) for split, count in metadata.queries.items()]
    rows += [*metadata.totals.items(), *metadata.left_out.items()]
    if not metadata.left_out:
        rows.append(("skipped or cut", 0))
    width = max(len(label) for label, _ in rows)
    lines = []
    for label, count in rows:
        examples = report.examples.get(label, []) if label in metadata.left_out else []
        lines.append(f"{label:<{width}}  {count:>10,}")
        lines += [f"    {example}" for example in examples]
        if 0 < len(examples) < count:
            lines.append("    ...")
    lines.append(f"features of {in_words(metadata.features)}")
    return "\n".join(lines)
