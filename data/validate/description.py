"""Describes what a validation found, as text."""

from data.networks import in_words
from data.report import Report
from data.validate.checks import Validation
from data.validate.distribution import Distribution

QUANTILES = {"min": 0.0, "5%": 0.05, "median": 0.5, "95%": 0.95, "max": 1.0}


def describe(validation: Validation, max_frames: int, max_tokens: int) -> str:
    """Returns the report as text.

    Args:
      max_frames: number of frames at which packing cuts clips.
      max_tokens: number of tokens at which packing cuts subtitles and queries.
    """
    metadata = validation.metadata
    widths = " + ".join(map(str, metadata.feature_widths))
    return "\n\n".join(
        [
            f"dataset {metadata.name}: a frame of {widths} values every "
            f"{metadata.seconds_per_feature:g} s, a vocabulary of {metadata.vocab_size:,}\n"
            f"features of {in_words(metadata.features)}",
            _describe_counts(validation),
            _describe_lengths(validation.lengths),
            _describe_shares(validation, max_frames, max_tokens),
            _describe_faults("Warnings", validation.warnings),
            _describe_faults("Errors", validation.errors),
        ]
    )


def _describe_counts(validation: Validation) -> str:
    splits = list(validation.metadata.clips | validation.metadata.queries)
    rows = [["Counts", *splits, "all"]]
    for what, by_split in validation.counts.items():
        if by_split.total():
            numbers = [*(by_split[split] for split in splits), by_split.total()]
            rows.append([what, *(f"{number:,}" for number in numbers)])
    return _table(rows)


def _describe_lengths(lengths: dict[str, Distribution]) -> str:
    rows = [["Lengths", "number", *QUANTILES]]
    for what, distribution in lengths.items():
        if distribution.counts:
            values = distribution.quantiles(QUANTILES.values())
            numbers = [f"{value:,.{distribution.decimals}f}" for value in values]
            rows.append([what, f"{distribution.counts.total():,}", *numbers])
    return _table(rows)


def _describe_shares(validation: Validation, max_frames: int, max_tokens: int) -> str:
    totals = {what: by_split.total() for what, by_split in validation.counts.items()}
    # A label, a count, and the name of the total that it is a share of.
    shares = [
        (part, totals.get(part, 0), total)
        for part, total in (
            ("frames under a subtitle", "frames"),
            ("subtitles that have no frames", "subtitles"),
            ("clips without subtitles", "clips"),
        )
    ]
    for distribution, items, parts, limit in (
        ("frames per clip", "clips", "frames", max_frames),
        ("tokens per subtitle", "subtitles", "subtitle tokens", max_tokens),
        ("tokens per query", "queries", "query tokens", max_tokens),
    ):
        longer, cut = validation.lengths[distribution].beyond(limit)
        shares.append((f"{items} of more than {limit} {parts.split()[-1]}", longer, items))
        shares.append((f"{parts} cut by that", cut, parts))
    rows = [["Shares", "", "of", ""]]
    for what, count, total in shares:
        if totals.get(total):
            share = f"{100 * count / totals[total]:.1f}%"
            rows.append([what, f"{count:,}", f"{totals[total]:,}", share])
    return _table(rows)


def _describe_faults(title: str, faults: Report) -> str:
    rows = [f"{title}: {faults.counts.total():,}" if faults.counts else f"{title}: none"]
    for what, count in faults.counts.items():
        rows.append(f"{count:>9,}  {what}")
        rows += [f"{'':>13}{example}" for example in faults.examples[what]]
    return "\n".join(rows)


def _table(rows: list[list[str]]) -> str:
    """Aligns columns of text, the first to the left and the others to the right."""
    first, *others = (max(map(len, column)) for column in zip(*rows, strict=True))
    return "\n".join(
        "  ".join(
            [row[0].ljust(first)]
            + [cell.rjust(max(width, 6)) for cell, width in zip(row[1:], others, strict=True)]
        ).rstrip()
        for row in rows
    )
