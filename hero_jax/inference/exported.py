"""An exported model: a folder with all that is needed to use it, and nothing of its training.

  model.json            what this module calls the description
  weights.safetensors   parameters by path, float32
  weights/              the same for Orbax
  tokenizer.json
  compiled/             functions for other programs (see `hero_jax.inference.compiled`)
  README.md             a card for people

Weights and description are the archive. Neither TensorFlow nor a config framework is needed to read
it.
"""

import dataclasses
import hashlib
import json
import os
from pathlib import Path

import jax
import numpy as np
import safetensors
import safetensors.numpy
from flax import nnx

from data.errors import InputError
from data.schema import SpecialIds
from data.tokenizer import Tokenizer
from hero_jax.models.hero import HERO
from hero_jax.models.params import flatten, unflatten
from hero_jax.retrieval.moments import RankingSettings
from hero_jax.tasks.base import Task, Tokens
from hero_jax.tasks.registry import TASKS

FORMAT_VERSION = 1
DESCRIPTION = "model.json"
WEIGHTS = "weights.safetensors"
TOKENIZER = "tokenizer.json"
# Tasks of pre-training, which answer nothing by themselves.
PRETRAINING = ("mlm", "mfm_nce", "mffr", "fom", "vsm")


class Settings(dict):
    """A JSON object whose fields are attributes as well, as in a config."""

    def __getattr__(self, name):
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None

    def changed(self, **fields) -> "Settings":
        """A copy in which some fields are others."""
        return Settings({**self, **fields})


@dataclasses.dataclass(frozen=True)
class Features:
    """What the model reads: `data.schema.DatasetMetadata` as far as packing wants it.

    widths: of the parts that stand side by side in a frame's features.
    """

    widths: tuple[int, ...]
    seconds_per_feature: float
    special_ids: SpecialIds
    query_type: str = ""

    @property
    def feature_width(self) -> int:
        """Of a frame's features."""
        return sum(self.widths)


@dataclasses.dataclass(frozen=True)
class Exported:
    """A model that was read from an export, or is about to be written to one.

    description: JSON values: `format`, `identity` (a hash of weights and of what they mean),
      `model` (the config's block), `data` (`hero_jax.experiment.compatibility`),
      `batch` (limits of what is searched), `ranking` (`RankingSettings`), `tasks` (by name: `kind`,
      `settings`, `batch`).
    params: by path.
    """

    description: dict
    params: dict[str, np.ndarray]
    tokenizer: Tokenizer

    @property
    def features(self) -> Features:
        """What features and words mean."""
        data = self.description["data"]
        return Features(
            tuple(data["feature_widths"]),
            data["seconds_per_feature"],
            SpecialIds(*data["special_ids"]),
        )

    @property
    def ranking(self) -> RankingSettings:
        """How moments are ranked, unless somebody wants it otherwise."""
        return RankingSettings(**self.description["ranking"])

    def batch(self, task: str = "") -> Settings:
        """The limits of a task, or without one those of clips and queries that are searched."""
        whose = self.description["tasks"][task] if task else self.description
        return Settings(whose["batch"])

    def tasks(self) -> dict[str, Task]:
        """The tasks of the run, by name."""
        ids = self.features.special_ids
        tokens = Tokens(ids.cls, ids.pad, ids.sep, ids.mask, *self.tokenizer.word_ids)
        return {
            name: TASKS[task["kind"]](Settings(task["settings"]), tokens, name, task["kind"])
            for name, task in self.description["tasks"].items()
        }

    def abstract(self):
        """Structure and shapes of the model, as `nnx.split` gives them."""
        config = Settings(self.description["model"])
        heads = {name: task.make_head for name, task in self.tasks().items() if task.has_head}
        abstract = nnx.eval_shape(lambda: HERO(config, heads, rngs=nnx.Rngs(0)))
        return nnx.split(abstract, nnx.Param)

    def model(self) -> HERO:
        """The model with its weights, on the first device; InputError if they are others."""
        graphdef, state = self.abstract()
        needed = flatten(state)
        for path in sorted(needed.keys() | self.params.keys()):
            here, there = (x[path].shape if path in x else None for x in (needed, self.params))
            if here != there:
                raise InputError(
                    f"{WEIGHTS} has {path} of shape {there}, where {DESCRIPTION} makes it {here}: "
                    "the two are not of one export; export the run again."
                )
        nnx.replace_by_pure_dict(state, unflatten(jax.device_put(self.params)))
        return nnx.merge(graphdef, state)


def describe(*, model: dict, data: dict, batch: dict, ranking: dict, tasks: dict, params) -> dict:
    """The description of a model; see `Exported`."""
    description = {
        "format": FORMAT_VERSION,
        "model": model,
        "data": data,
        "batch": batch,
        "ranking": ranking,
        "tasks": tasks,
    }
    return {**description, "identity": _identity(description, params)}


def _identity(description: dict, params: dict[str, np.ndarray]) -> str:
    """What embeddings have to share to be compared: a hash of weights, features and limits."""
    digest = hashlib.sha256()
    means = {name: description[name] for name in ("model", "data", "batch")}
    digest.update(json.dumps(means, sort_keys=True).encode())
    for path in sorted(params):
        digest.update(path.encode())
        digest.update(np.ascontiguousarray(params[path]).data)
    return digest.hexdigest()


def read(folder: str | os.PathLike) -> Exported:
    """Reads an export.

    Raises:
      InputError: there is none, it is of another format, or its files do not go together.
    """
    folder = Path(folder)
    try:
        description = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
        version = description["format"]
    except FileNotFoundError as error:
        raise InputError(
            f"{folder} is no exported model, it has no {DESCRIPTION}: make one of a run with "
            "`python main.py --mode=export --workdir=RUN --out=DIR`."
        ) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{folder / DESCRIPTION} cannot be read ({error}): export the run again."
        ) from error
    if version != FORMAT_VERSION:
        raise InputError(
            f"{folder} is an export of format {version}, and this version reads format "
            f"{FORMAT_VERSION}: export the run again."
        )
    tokenizer = Tokenizer.load(folder / TOKENIZER)
    expected = description["data"]["tokenizer"]
    if tokenizer.identity != expected:
        raise InputError(
            f"{folder / TOKENIZER} is not the tokenizer that the model was trained with: copy the "
            "export whole, or export the run again."
        )
    try:
        params = safetensors.numpy.load_file(folder / WEIGHTS)
    except (OSError, safetensors.SafetensorError) as error:
        raise InputError(
            f"{folder / WEIGHTS} cannot be read ({error}): copy the export whole, or export the "
            "run again."
        ) from error
    return Exported(description, params, tokenizer)
