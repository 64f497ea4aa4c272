"""A config made ready: its parts' data checked against the model and the mesh."""

from data.errors import InputError
from hero_jax import sharding
from hero_jax.experiment.compatibility import IDENTITY, check_identity, differences, identity, plain
from hero_jax.experiment.task_group import TaskGroup

# A checkpoint may only go on with these, and the blocks of its tasks, as they were.
FIXED = ("model", "batch", "seed", "tasks", "objective", "optimizer")
# What may differ between a model and the checkpoint that its weights come from.
FREE = ("dropout", "attention_dropout", "initializer_range", "dtype", "remat")
# What the parts of a config have from the whole of it.
SHARED = ("model", "seed", "optimizer", "mesh")


class Experiment:
    """What training and evaluation share.

    Attributes: config, parts (by name; one named '' unless the config has parts), metadata (of the
    first dataset, which the model is made for), mesh, tasks (of all parts, by name).

    Raises:
      InputError: data missing, or settings that do not go together.
    """

    def __init__(self, config):
        self.config = config = config.copy_and_resolve_references()
        self.mesh = sharding.make_mesh(config.mesh)
        self.parts = {name: TaskGroup(own, self.mesh, name) for name, own in _part_configs(config)}
        first, *others = self.parts.values()
        self.metadata, self.accepted = first.metadata, first.accepted
        for part in others:
            whose = f"Dataset {first.sources[0].name!r} has"
            check_identity(part.metadata, identity(first.metadata), whose, part.accepted)
        self.tasks = {
            name: task for part in self.parts.values() for name, task in part.tasks.items()
        }

    def part_of(self, task: str) -> str:
        """The name of the part that a task is in; 'all' stands for those of the only part."""
        return next(
            name for name, part in self.parts.items() if task in part.tasks or task == "all"
        )

    def about(self) -> dict:
        """What a checkpoint says of how it came to be, as JSON values."""
        return {
            "config": {name: plain(self.config[name]) for name in FIXED if name in self.config}
            | {name: value for part in self.parts.values() for name, value in _own(part)},
            "data": identity(self.metadata),
            "sources": [mixed for part in self.parts.values() for mixed in part.mixed()],
        }

    def check_model(self, about: dict, whose: str) -> None:
        """InputError if a checkpoint is of a model of another shape, or made for other data."""
        _check_complete(about, whose)
        theirs = about["config"]["model"]
        for field, here, there in differences(plain(self.config.model), theirs):
            if field[1:] not in FREE:
                raise InputError(
                    f"{whose} has config.model{field}={there}, not {here}; set "
                    f"--config.model{field}={there}."
                )
        check_identity(self.metadata, about["data"], f"{whose} was made for", self.accepted)

    def check_same(self, about: dict, directory) -> None:
        """InputError if a run would go on with other settings or other data than it began with."""
        mine, whose = self.about(), f"The run in {directory}"
        _check_complete(about, whose)
        # First the data, on which some of the config depends.
        check_identity(self.metadata, about["data"], f"{whose} was made for", self.accepted)
        if mine["sources"] != about["sources"]:
            raise InputError(
                f"{whose} is trained on {_in_words(about['sources'])}, not on "
                f"{_in_words(mine['sources'])}: set --config.data.name and --config.data.weights "
                "to that, choose another --workdir, or start from its weights with "
                "--config.init_from."
            )
        for name in dict.fromkeys([*mine["config"], *about["config"]]):
            for field, here, there in differences(
                mine["config"].get(name), about["config"].get(name)
            ):
                raise InputError(
                    f"{whose} has config.{name}{field}={there}, not {here}: set it to that, choose "
                    "another --workdir, or start from its weights with --config.init_from."
                )


def _part_configs(config):
    """(name, config) of every part; a config without parts is the only one, named ''."""
    if not config.parts:
        return [("", config)]
    if config.objective != "one_task":
        raise InputError(
            f"config.objective={config.objective!r} does not go with config.parts, whose batches "
            "differ: set it to 'one_task'."
        )
    made = []
    for name, ratio in config.tasks.items():
        if name not in config.parts:
            known = ", ".join(config.parts)
            raise InputError(f"config.tasks.{name}: config.parts has no such part, only {known}.")
        if not ratio >= 0:
            raise InputError(f"config.tasks.{name}={ratio} is negative; set it to 0 or more.")
        if ratio:
            own = config.parts[name].copy_and_resolve_references()
            own.update({field: config[field] for field in SHARED})
            own.data.dir = config.data.dir
            made.append((name, own))
    if not made:
        raise InputError("All of config.tasks are 0; give one of them a ratio.")
    return made


def _own(part):
    """(name, value) of the settings that are a part's own."""
    blocks = {task.block: plain(part.config[task.block]) for task in part.tasks.values()}
    if not part.name:
        return blocks.items()
    return [(f"parts.{part.name}", {"batch": plain(part.config.batch), **blocks})]


def _check_complete(about: dict, whose: str) -> None:
    """InputError if a checkpoint lacks what later versions say of a run."""
    if "sources" not in about or not IDENTITY.keys() <= about["data"].keys():
        raise InputError(
            f"{whose} was made by an earlier version, which did not write down all that has to be "
            "compared; train it again."
        )


def _in_words(sources):
    parts = (f"{s['name']} ({s['clips']} clips, {100 * s['share']:g}%)" for s in sources)
    return " and ".join(parts)
