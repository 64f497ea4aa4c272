"""The training and evaluation step: pure functions of parameters, batch, seed and step."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from data.config import Config
from hero_jax import division, sharding
from hero_jax.models.batch import Batch
from hero_jax.models.hero import HERO
from hero_jax.models.ops import fold_in, shard_key
from hero_jax.models.params import flatten, unflatten
from hero_jax.tasks.base import Context, Task
from hero_jax.tasks.sharing import make_heads
from hero_jax.training import optimizer
from hero_jax.training.state import TrainState

# Evaluation draws as a training step of this number would.
EVALUATION_STEP = 0


def sum_over(function: Callable[[Any], Any], count: int) -> Any:
    """Returns the sum of pytrees `function(0) ... function(count - 1)`, compiled once."""
    if count == 1:
        return function(0)
    zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(function, 0))
    return jax.lax.fori_loop(
        0, count, lambda number, sums: jax.tree.map(jnp.add, sums, function(number)), zeros
    )


class Program:
    """The compiled functions of an experiment on a mesh.

    Attributes:
      tasks: by name.
      shardings: a TrainState of shardings.
    """

    def __init__(self, config: Config, tasks: Mapping[str, Task], mesh: jax.sharding.Mesh):
        """Makes the model's structure; functions are compiled when they are first called.

        Args:
          config: of the experiment: `model`, `optimizer`, `seed`, and `tasks` with their weights.
          tasks: by name.
        """
        self.config = config
        self.mesh = mesh
        self.tasks = tasks
        sharding.check_heads(mesh, config.model.num_heads)
        self.graphdef, abstract = nnx.split(nnx.eval_shape(self._module), nnx.Param)
        self.transform = optax.chain(
            optimizer.clip_by_global_norm(config.optimizer.max_gradient_norm),
            optimizer.adamw(
                optimizer.schedule(config.optimizer),
                config.optimizer.betas,
                config.optimizer.weight_decay,
                optimizer.decay_mask(abstract),
                optimizer.rate_scales(abstract, config.optimizer.head_rate_multiplier),
            ),
        )
        self._params = abstract
        params = sharding.parameter_shardings(abstract, mesh)
        whole = sharding.replicated(mesh)
        self._dimensions = jax.tree.map(lambda _: -1, params)
        if config.mesh.shard_optimizer and division.by_hand(mesh):
            self._dimensions = sharding.optimizer_dimensions(abstract, params, mesh)
        self._moments = jax.tree.map(sharding.with_data, params, self._dimensions)
        adam: Any = optimizer.AdamWState(cast(Any, whole), self._moments, self._moments)
        self.shardings = TrainState(cast(Any, whole), params, (optax.EmptyState(), adam))
        self._draw = jax.jit(lambda: nnx.split(self._module(), nnx.Param)[1], out_shardings=params)
        self._gradient_steps: dict[str, Callable] = {}
        self._update = jax.jit(
            self._updated,
            donate_argnums=0,
            out_shardings=(self.shardings, sharding.replicated(mesh)),
        )
        self._evaluate_steps: dict[tuple[str, int], Callable] = {}

    def init(self) -> TrainState:
        """Returns a new state, drawn from the seed."""
        return self.start_from(self._draw())

    def host_params(self) -> dict[str, np.ndarray]:
        """Returns parameters drawn from the seed, by path, whole on every host."""
        whole = jax.jit(lambda params: params, out_shardings=sharding.replicated(self.mesh))
        return jax.device_get(flatten(whole(self._draw())))

    def place_params(self, flat: dict[str, np.ndarray]) -> nnx.State:
        """Puts parameters, by path, where they belong on the mesh."""
        params = jax.tree.map(lambda place: place, self.shardings.params)
        places: dict[str, Any] = dict(flatten(params))
        placed = {
            path: jax.make_array_from_callback(
                flat[path].shape, places[path], flat[path].__getitem__
            )
            for path in places
        }
        nnx.replace_by_pure_dict(params, unflatten(placed))
        return params

    def _module(self):
        config = self.config.model
        return HERO(config, make_heads(self.tasks, config), rngs=nnx.Rngs(self.config.seed))

    def model(self, params: nnx.State) -> HERO:
        """Returns the model with given parameters."""
        return nnx.merge(self.graphdef, params)

    def start_from(self, params: nnx.State) -> TrainState:
        """Returns a new state with given parameters, whose memory it takes over."""
        start = jax.jit(self._state, donate_argnums=0, out_shardings=self.shardings)
        return start(params)

    def abstract_state(self) -> TrainState:
        """Returns shapes and shardings of a state."""
        shapes = jax.eval_shape(self._state, self._params)
        return jax.tree.map(
            lambda s, place: jax.ShapeDtypeStruct(s.shape, s.dtype, sharding=place),
            shapes,
            self.shardings,
        )

    def _state(self, params):
        return TrainState(jnp.zeros([], jnp.int32), params, self.transform.init(params))

    def train_step(
        self, state: TrainState, batches: Batch, name: str
    ) -> tuple[TrainState, dict[str, jax.Array]]:
        """Makes one update.

        Args:
          batches: arrays of an update's batches, as `Division.to_devices` lays them out.
          name: a task, or 'all' for the weighted sum.

        Returns:
          The new state, and metrics: those of the tasks as sums and counts under `task/metric`, and
          the scalars `loss`, `gradient_norm`, `parameter_norm` (after the update) and
          `learning_rate`.
        """
        metrics, gradients = self._gradient_step(name)(state.params, state.step, batches)
        state, more = self._update(state, gradients)
        return state, metrics | more

    def lower(self, name: str, batches: Mapping[str, jax.ShapeDtypeStruct]) -> jax.stages.Lowered:
        """Lowers the part of `train_step` that is a task's: losses, metrics and gradients.

        It is for the devices of the mesh, which need not be there: `jax.experimental.topologies`
        describes devices to compile for.

        Args:
          name: a task, or 'all'.
          batches: shapes of the arrays of an update's batches, `[accumulation, G, ...]`.
        """
        state = self.abstract_state()
        laid_out = self.lay_out(name, batches)
        return self._gradient_step(name).lower(state.params, state.step, laid_out)

    def lower_update(self) -> jax.stages.Lowered:
        """Lowers the part of `train_step` that all tasks share: the optimizer's, of gradients."""
        state = self.abstract_state()
        # Gradients have the shapes, dtypes and places of the moments.
        return self._update.lower(state, state.opt_state[1].mu)

    def lay_out(
        self, name: str, batches: Mapping[str, jax.ShapeDtypeStruct]
    ) -> dict[str, jax.ShapeDtypeStruct]:
        """Returns the shapes and shardings of a task's batches as `Division.to_devices` has them.

        Args:
          batches: shapes of the arrays of an update's batches, `[accumulation, G, ...]`.
        """
        place, at_once = sharding.batch_sharding(self.mesh, leading=1), self._division(name).at_once
        return {
            key: jax.ShapeDtypeStruct(
                (x.shape[0] // at_once, x.shape[1] * at_once, *x.shape[2:]), x.dtype, sharding=place
            )
            for key, x in batches.items()
        }

    def is_known(self, name: str, number: int | None = None) -> bool:
        """Returns whether a function was lowered or called before.

        Args:
          number: of a pass of the task's evaluation; None stands for its gradients.
        """
        if number is None:
            return name in self._gradient_steps
        return (name, number) in self._evaluate_steps

    def _updated(self, state, gradients):
        # Each device updates its part of the parameters, and they are gathered.
        old = self._parts(state.params)
        updates, opt_state = self.transform.update(gradients, state.opt_state, old)
        params = self._parts(optax.apply_updates(old, updates))
        metrics = {
            "gradient_norm": optax.tree.norm(gradients),
            "parameter_norm": optax.tree.norm(params),
            "learning_rate": optimizer.schedule(self.config.optimizer)(state.step),
        }
        return TrainState(state.step + 1, params, opt_state), metrics

    def _parts(self, params):
        """Returns parameters sharded as the optimizer's state is."""
        if self.shardings.params == self._moments:
            return params
        return jax.lax.with_sharding_constraint(params, self._moments)

    def _gradient_step(self, name):
        if name not in self._gradient_steps:
            self._gradient_steps[name] = self._compile_gradient_step(name)
        return self._gradient_steps[name]

    def _compile_gradient_step(self, name):
        """Returns the function of an update's batches that gives metrics and gradients.

        Gradients stay on their shard until all batches are done; they are float32 and leave it in
        the parts that the optimizer's state has.
        """
        loss, divided = self._loss(name), self._division(name)
        gradient = jax.value_and_grad(loss, has_aux=True)

        def of_shard(params, step, batches):
            key = jax.random.fold_in(jax.random.key(self.config.seed), step)
            rounds = jax.tree.leaves(batches)[0].shape[0]
            shards = divided.shards

            def accumulate(number):
                dropout_key = jax.random.fold_in(
                    jax.random.fold_in(key, 1), number * divided.at_once + shards.batch
                )
                context = Context(
                    key=jax.random.fold_in(key, 0),
                    dropout_key=shard_key(dropout_key, shards.number)
                    if shards.count > 1
                    else dropout_key,
                    step=step,
                    shards=shards,
                )
                batch = jax.tree.map(lambda x: x[number], batches)
                return gradient(params, batch, context)

            mean = 1 / (rounds * divided.at_once)
            (total, metrics), gradients = sum_over(accumulate, rounds)
            gradients = jax.tree.map(divided.reduce, gradients, self._dimensions)
            gradients = jax.tree.map(lambda g: g * mean, gradients)
            total, metrics = jax.tree.map(divided.reduce, (total, metrics))
            return metrics | {"loss": total * mean}, gradients

        whole = NamedSharding(self.mesh, P())
        parts = jax.tree.map(lambda n: sharding.with_data(whole, n).spec, self._dimensions)
        step = divided.on_shards(of_shard, (P(), P(), P(None, division.AXIS)), (P(), parts))
        return jax.jit(step, out_shardings=(sharding.replicated(self.mesh), self._moments))

    def _loss(self, name):
        """Returns the weighted loss of a shard of a batch, and its metrics."""
        weights = {name: 1.0}
        if name == "all":
            weights = {task: self.config.tasks[task] for task in self.tasks}

        def loss(params, batch, context):
            module = nnx.merge(self.graphdef, params)
            total: jax.Array | float = 0.0
            metrics: dict[str, jax.Array] = {}
            for number, (task_name, weight) in enumerate(weights.items()):
                own = dataclasses.replace(context, dropout_key=fold_in(context.dropout_key, number))
                value, own_metrics = self.tasks[task_name].loss(module, batch, own)
                total += weight * value
                metrics |= {f"{task_name}/{key}": m for key, m in own_metrics.items()}
            return total, metrics

        return loss

    def _division(self, name: str) -> division.Division:
        """Returns the division of the batches of a task, or of 'all'."""
        return division.divide(self.mesh, self.config.parts.get(name, self.config))

    def evaluate_step(
        self, params: nnx.State, batches: Batch, name: str, number: int = 0
    ) -> tuple[dict[str, jax.Array], Any]:
        """Returns a task's metrics and predictions on batches, without dropout.

        A downstream task has no metrics of one batch, and looks at no label to predict.

        Args:
          batches: arrays `[1, ...]` of as many batches as are on the mesh at once, as
            `Division.to_devices` lays them out.
          number: of the task's pass that the batch is for.
        """
        return self._evaluate_step(name, number)(params, batches)

    def lower_evaluation(
        self, params: nnx.State, batches: Batch, name: str, number: int = 0
    ) -> jax.stages.Lowered:
        """Lowers the function that `evaluate_step` calls; takes the same arguments."""
        return self._evaluate_step(name, number).lower(params, batches)

    def _evaluate_step(self, name, number):
        if (name, number) not in self._evaluate_steps:
            self._evaluate_steps[name, number] = self._compile_evaluate_step(name, number)
        return self._evaluate_steps[name, number]

    def _compile_evaluate_step(self, name, number):
        task, divided = self.tasks[name], self._division(name)
        predict = task.passes[number].predict

        def of_shard(params, batches):
            batch = jax.tree.map(lambda x: x[0], batches)
            module = nnx.merge(self.graphdef, params)
            if task.downstream:
                return {}, predict(module, batch)
            key = jax.random.fold_in(jax.random.key(self.config.seed), 0)
            shards = divided.shards
            context = Context(key=key, dropout_key=None, step=EVALUATION_STEP, shards=shards)
            # The last batches at once may be empty, and do not count.
            counts = shards.sum(jnp.sum(batch["num_frames"])) > 0
            metrics = jax.tree.map(
                lambda m: divided.reduce(jnp.where(counts, m, 0)),
                task.evaluate(module, batch, context),
            )
            return metrics, predict(module, batch)

        step = divided.on_shards(of_shard, (P(), P(None, division.AXIS)), (P(), P(division.AXIS)))
        return jax.jit(step, out_shardings=sharding.replicated(self.mesh))
