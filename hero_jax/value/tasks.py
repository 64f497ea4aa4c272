"""The eleven tasks of VALUE: groups, splits, files and the forms of their annotations."""

import dataclasses

# In the order in which scores are shown.
GROUPS = ("retrieval", "qa", "captioning")
# Splits of a benchmark that count as VALUE's validation and as its test.
PHASES = ("val", "test")


@dataclasses.dataclass(frozen=True)
class ValueTask:
    """A task of the benchmark.

    Attributes:
      name: as VALUE has it, also that of the dataset here.
      group: one of GROUPS.
      form: form of its annotations; see `data.sources.annotations`.
      splits: VALUE's names of the splits that count, by phase.
      has_moments: whether its score is that of moments in the corpus, not of clips.
    """

    name: str
    group: str
    form: str
    splits: dict[str, str]
    has_moments: bool = False

    def file(self, phase: str) -> str:
        """Returns the file of predictions in a submission."""
        ending = "jsonl" if self.group == "captioning" else "json"
        return f"{self.name}/{self.name}_{self.splits[phase]}_predictions.{ending}"


def _task(name: str, group: str, form: str, splits: str, has_moments: bool = False) -> ValueTask:
    return ValueTask(name, group, form, dict(zip(PHASES, splits.split(), strict=True)), has_moments)


TASKS = {
    task.name: task
    for task in (
        _task("tvr", "retrieval", "tvr", "val test", has_moments=True),
        _task("how2r", "retrieval", "tvr", "val test_public", has_moments=True),
        _task("yc2r", "retrieval", "yc2r", "val test"),
        _task("vatex_en_r", "retrieval", "vatex_en_r", "val test_public"),
        _task("tvqa", "qa", "tvqa", "val test"),
        _task("how2qa", "qa", "value_how2qa", "val test_public"),
        _task("violin", "qa", "value_violin", "test test_private"),
        _task("vlep", "qa", "vlep", "dev test"),
        _task("tvc", "captioning", "tvc", "val test"),
        _task("yc2c", "captioning", "yc2c", "val test"),
        _task("vatex_en_c", "captioning", "vatex_en_c", "test_public test_private"),
    )
}
