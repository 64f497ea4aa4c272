"""An exported model: a folder with all that is needed to use it, and nothing of its training.

  model.json            the description; see `Exported`
  weights.safetensors   parameters by path, float32
  weights/              the same for Orbax
  tokenizer.json
  compiled/             functions for other programs (see `hero_jax.inference.compiled`)
  README.md             a model card

Weights and description are the archive. Reading it needs neither TensorFlow nor a config framework.
"""

import dataclasses
import hashlib
import json
import os
from pathlib import Path
from typing import Any

import jax
import numpy as np
import safetensors
import safetensors.numpy
from flax import nnx

from data.arguments import user_path
from data.errors import InputError, reason
from data.schema import FeatureIdentity, SpecialIds, feature_identities
from data.text import parse_json
from data.tokenizer import Tokenizer
from hero_jax.experiment.compatibility import complete_model
from hero_jax.models.hero import HERO
from hero_jax.models.params import flatten, unflatten
from hero_jax.retrieval.moments import RankingSettings
from hero_jax.tasks.base import Task, Tokens
from hero_jax.tasks.registry import make_task
from hero_jax.tasks.sharing import make_heads

FORMAT_VERSION = 1
DESCRIPTION = "model.json"
WEIGHTS = "weights.safetensors"
TOKENIZER = "tokenizer.json"


class Settings(dict):
    """A JSON object whose fields are attributes as well, as in a config."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None

    def changed(self, **fields: Any) -> "Settings":
        """Returns a copy with some fields changed."""
        return Settings({**self, **fields})


@dataclasses.dataclass(frozen=True)
class Features:
    """Properties of the model's input: the part of `data.schema.DatasetMetadata` for packing.

    Attributes:
      widths: widths of the parts that are concatenated in a frame's features.
      seconds_per_feature: seconds between two frames.
      special_ids: special tokens of the tokenizer.
      query_type: type of the annotations, '' for none.
      networks: the network that makes each part, None if it is unknown.
    """

    widths: tuple[int, ...]
    seconds_per_feature: float
    special_ids: SpecialIds
    query_type: str = ""
    networks: tuple[FeatureIdentity | None, ...] = ()

    @property
    def feature_width(self) -> int:
        """Width of a frame's features."""
        return sum(self.widths)


@dataclasses.dataclass(frozen=True)
class Exported:
    """A model that was read from an export, or is about to be written to one.

    Attributes:
      description: JSON values: `format`, `identity` (a hash of the weights and of what they mean),
        `model` (the config's block), `data` (see `hero_jax.experiment.compatibility.identity`:
        its `features` say which networks make them, those of earlier versions do not),
        `batch` (limits of clips and queries that are searched), `ranking` (`RankingSettings`),
        `tasks` (by name: `kind`, `settings`, `batch`).
      params: by path.
      tokenizer: that the model was trained with.
    """

    description: dict[str, Any]
    params: dict[str, np.ndarray]
    tokenizer: Tokenizer

    @property
    def features(self) -> Features:
        """Meaning of features and words."""
        data = self.description["data"]
        return Features(
            tuple(data["feature_widths"]),
            data["seconds_per_feature"],
            SpecialIds(*data["special_ids"]),
            networks=feature_identities(data.get("features"), len(data["feature_widths"])),
        )

    @property
    def ranking(self) -> RankingSettings:
        """Settings of the ranking of moments."""
        return RankingSettings(**self.description["ranking"])

    def batch(self, task: str = "") -> Settings:
        """Returns the limits of a task's batches, or of clips and queries that are searched."""
        owner = self.description["tasks"][task] if task else self.description
        return Settings(owner["batch"])

    def tasks(self) -> dict[str, Task]:
        """Returns the tasks of the run, by name."""
        ids = self.features.special_ids
        tokens = Tokens(ids.cls, ids.pad, ids.sep, ids.mask, *self.tokenizer.word_ids)
        return {
            name: make_task(task["kind"], task["settings"], tokens, name)
            for name, task in self.description["tasks"].items()
        }

    def abstract(self) -> tuple[nnx.GraphDef, nnx.State]:
        """Returns structure and shapes of the model, as `nnx.split` gives them."""
        config = Settings(complete_model(self.description["model"]))
        heads = make_heads(self.tasks(), config)
        abstract = nnx.eval_shape(lambda: HERO(config, heads, rngs=nnx.Rngs(0)))
        return nnx.split(abstract, nnx.Param)

    def model(self) -> HERO:
        """Returns the model with its weights, on the first device.

        Raises:
          InputError: the weights are of another model.
        """
        graphdef, state = self.abstract()
        needed = flatten(state)
        for path in sorted(needed.keys() | self.params.keys()):
            expected, actual = (
                arrays[path].shape if path in arrays else None for arrays in (needed, self.params)
            )
            if expected != actual:
                raise InputError(
                    f"{WEIGHTS} has {path} of shape {actual}, where {DESCRIPTION} makes it "
                    f"{expected}: they are not of one export, export the run again"
                )
        nnx.replace_by_pure_dict(state, unflatten(jax.device_put(self.params)))
        return nnx.merge(graphdef, state)


def describe(
    *,
    model: dict[str, Any],
    data: dict[str, Any],
    batch: dict[str, Any],
    ranking: dict[str, Any],
    tasks: dict[str, Any],
    params: dict[str, np.ndarray],
) -> dict[str, Any]:
    """Returns the description of a model; see `Exported`."""
    description = {
        "format": FORMAT_VERSION,
        "model": model,
        "data": data,
        "batch": batch,
        "ranking": ranking,
        "tasks": tasks,
    }
    return {**description, "identity": _identity(description, params)}


def _meaning(description: dict) -> bytes:
    """Returns the fields of a description that decide what embeddings mean."""
    fields = {name: description[name] for name in ("model", "data", "batch")}
    return json.dumps(fields, sort_keys=True).encode()


def _identity(description: dict, params: dict[str, np.ndarray]) -> str:
    """Returns a hash of weights, features and limits, which comparable embeddings share."""
    digest = hashlib.sha256(_meaning(description))
    for path in sorted(params):
        digest.update(path.encode())
        digest.update(np.ascontiguousarray(params[path]).data)
    return digest.hexdigest()


def read(folder: str | os.PathLike) -> Exported:
    """Reads an export.

    Raises:
      InputError: there is none, it is of another format, or its files do not go together.
    """
    folder = user_path(folder)
    try:
        description = parse_json((folder / DESCRIPTION).read_bytes())
        version = description["format"]
    except FileNotFoundError as error:
        if not folder.exists():
            raise InputError(f"{folder} does not exist: check the name of the model") from error
        raise InputError(
            f"{folder} is not an exported model, it has no {DESCRIPTION}: export a run first"
        ) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{folder / DESCRIPTION} cannot be read ({reason(error)}): export the run again"
        ) from error
    if version != FORMAT_VERSION:
        raise InputError(
            f"{folder} is an export of format {version}, and this version reads format "
            f"{FORMAT_VERSION}: export the run again"
        )
    tokenizer = Tokenizer.load(folder / TOKENIZER)
    _check(Exported(description, {}, tokenizer), folder / DESCRIPTION)
    if tokenizer.identity != description["data"]["tokenizer"]:
        raise InputError(
            f"{folder / TOKENIZER} is not the tokenizer that the model was trained with: copy the "
            "export whole, or export the run again"
        )
    try:
        params = safetensors.numpy.load_file(folder / WEIGHTS)
    except (OSError, safetensors.SafetensorError) as error:
        raise InputError(
            f"{folder / WEIGHTS} cannot be read ({reason(error)}): copy the export whole, or "
            "export the run again"
        ) from error
    # Half a second for the weights of the paper's model; a bit that has changed shows nowhere else.
    if description["identity"] != _identity(description, params):
        raise InputError(
            f"{folder / DESCRIPTION} or {folder / WEIGHTS} is not as it was exported: copy the "
            "export whole, or export the run again"
        )
    return Exported(description, params, tokenizer)


def _check(export: Exported, file: Path) -> None:
    """Raises InputError if a description has no features, tasks or limits that can be read."""
    try:
        for task in ("", *export.tasks()):
            export.batch(task)
        features, description = export.features, export.description
        features.feature_width, export.ranking, description["data"]["tokenizer"]
        if not isinstance(description["identity"], str):
            raise TypeError("its identity is no text")
        _meaning(description)
    except InputError as error:
        raise InputError(f"{file}: {error}; or export the run again") from error
    except (LookupError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise InputError(
            f"{file} does not describe a model ({type(error).__name__}: {reason(error)}): copy the "
            "export whole, or export the run again"
        ) from error
