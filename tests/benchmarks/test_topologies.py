"""Compiled programs are read as they are; a small step compiles for a TPU and shards as it should."""

import math

import jax
import pytest

from benchmarks import step
from benchmarks.topologies import __main__ as command
from benchmarks.topologies.chips import TOPOLOGIES
from benchmarks.topologies.hlo import Compiled
from benchmarks.topologies.products import executed_flops
from configs import pretrain
from hero_jax import sharding
from hero_jax.models.params import flatten
from hero_jax.tasks.registry import make_tasks
from hero_jax.training.step import Program

TPU = TOPOLOGIES["v5e-4"]
needs_libtpu = pytest.mark.skipif(
    bool(TPU.missing()),
    reason="libtpu is not installed: pip install --no-deps -r requirements-topologies.txt",
)

# ruff: noqa: E501
HLO = """HloModule update

FunctionNames
1 "LayerNorm.__call__"
2 "Block.__call__"

FileLocations
1 {file_name_id=1 function_name_id=2 line=1 end_line=1 column=1 end_column=1}
2 {file_name_id=1 function_name_id=1 line=2 end_line=2 column=1 end_column=1}

StackFrames
1 {file_location_id=1 parent_frame_id=1}
2 {file_location_id=2 parent_frame_id=2}

%body (p: (s32[], f32[4])) -> (s32[], f32[4]) {
  %r = (f32[4]{0:T(128)S(1)}, bf16[2,3]{1,0}) all-reduce(%a, %b), channel_id=5, to_apply=%add
  %f = f32[4]{0} fusion(%a), calls=%x, metadata={op_name="f/mul" stack_frame_id=2}, backend_config={"estimated_cycles":"10"}
}

%twice (p: (s32[], f32[4])) -> (s32[], f32[4]) {
  %f.1 = f32[4]{0} fusion(%a), kind=kCustom, calls=%scatter, metadata={op_name="f/mul" stack_frame_id=2}, backend_config={"estimated_cycles":"10"}
}

%scatter (p: f32[8]) -> f32[4] {
  ROOT %s = f32[4]{0} reduce-scatter(%p), channel_id=5, to_apply=%add
}

%condition (p: (s32[], f32[4])) -> pred[] {
  %c = s32[]{:T(128)} constant(3)
  ROOT %less = pred[] compare(%i, %c), direction=LT
}

%open (p: (s32[], f32[4])) -> pred[] {
  ROOT %less = pred[] compare(%i, %j), direction=LT
}

ENTRY %main (p: f32[4]) -> f32[4] {
  %w = (s32[], f32[4]) while(%t), condition=%condition, body=%body
  %o = (s32[], f32[4]) while(%t), condition=%open, body=%body
  %k = (s32[], f32[4]) while(%t), condition=%open, body=%twice, backend_config={"known_trip_count":{"n":"2"}}
  %g = (f32[4]{0}, f32[16]{0}) all-gather-start(%p), dimensions={0}
  %e = f32[4]{0} copy(%p), backend_config={"estimated_cycles":"7"}
}
"""


def test_loops_count_as_often_as_they_run():
    program = Compiled(HLO)
    assert program.cycles() == {"norms and dropout": (3 + 2) * 10, "copies, others": 7}
    assert program.open_loops == 1
    assert program.largest(1) == [
        (30, 3, "norms and dropout", "mul LayerNorm.__call__ < Block.__call__")
    ]


def test_collectives_have_the_bytes_of_their_results():
    reduced, scattered, gather = Compiled(HLO).collectives()
    assert reduced.arrays == (("f32", (4,)), ("bf16", (2, 3)))
    assert (reduced.times, reduced.bytes, reduced.overlaps) == (3, 3 * (16 + 12), False)
    assert (scattered.kind, scattered.times, scattered.bytes) == ("reduce-scatter", 2, 2 * 16)
    assert (gather.kind, gather.bytes, gather.overlaps) == ("all-gather", 64, True)


def small_config():
    config = pretrain.get_config()
    pretrain.small(config)
    config.model.update(cross_modal_layers=1, temporal_layers=1, dtype="bfloat16", dropout=0.1)
    config.batch.update(groups=4, clips_per_group=4, accumulation=2)
    return config


def make_program(config, devices):
    mesh = sharding.make_mesh(config.mesh, devices)
    return Program(config, make_tasks(config, step.tokens_of(config)), mesh)


def test_executed_operations_are_those_of_every_batch_of_an_update():
    config = small_config()
    shapes, _ = command.published_batch(config)
    program = make_program(config, jax.devices()[:1])
    once = {name: jax.ShapeDtypeStruct((1, *x.shape[1:]), x.dtype) for name, x in shapes.items()}
    both = executed_flops(program, "fom", shapes)
    assert both == 2 * executed_flops(make_program(config, jax.devices()[:1]), "fom", once)
    # The layers of slots and frames alone, three products each: forward, and two of the gradient.
    model, batch = config.model, config.batch
    slots = batch.groups * (
        batch.rows_per_group * batch.row_length + batch.clips_per_group * batch.max_frames
    )
    layer = 4 * model.hidden_size**2 + 2 * model.hidden_size * model.intermediate_size
    assert 1 < both / (2 * 3 * 2 * slots * layer) < 2


def test_what_cannot_be_compiled_for_is_said(capsys, monkeypatch):
    command.main(["--topologies=v9-4", "--tasks=mlm"])
    assert capsys.readouterr().out.startswith("\nv9-4: it is unknown: choose of v5e-4, ")
    monkeypatch.setattr(type(TPU), "missing", lambda self: "libtpu")
    command.main(["--topologies=v5e-4", "--tasks=mlm"])
    assert capsys.readouterr().out == (
        "\nv5e-4: libtpu is not installed, which compiles for v5e:2x2: pip install --no-deps "
        "-r requirements-topologies.txt\n"
    )


@pytest.fixture(scope="module")
def on_four_chips():
    """Returns the program of a small model, and its compiled parts: MLM's gradients, the update.

    They are compiled as users do; the other tests leave most optimizations out.
    """
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", False)
    try:
        config = small_config()
        shapes, _ = command.published_batch(config)
        program = make_program(config, TPU.devices())
        yield program, program.lower("mlm", shapes).compile(), program.lower_update().compile()
    finally:
        jax.config.update("jax_disable_most_optimizations", before)


def parameter_sizes(program):
    return [math.prod(x.shape) for x in flatten(program.abstract_state().params).values()]


def whole_size(one, shape, mesh):
    """The number of entries that a collective works on, of which scattering leaves a part."""
    return math.prod(shape) * (mesh.size if one.kind == "reduce-scatter" else 1)


def collectives(*parts):
    return [one for part in parts for one in Compiled(part.as_text()).collectives()]


@needs_libtpu
def test_a_step_on_four_chips_keeps_activations_where_they_are(on_four_chips):
    program, gradients, update = on_four_chips
    sizes, batch = parameter_sizes(program), program.config.batch
    memory = gradients.memory_analysis()
    frames = batch.clips_per_group * batch.max_frames * program.config.model.feature_size
    # Parameters, a group's float16 frames, and the batch's small arrays.
    arguments = 4 * sum(sizes) + batch.accumulation * 2 * frames
    assert memory.argument_size_in_bytes < 1.5 * arguments
    assert memory.temp_size_in_bytes < 2**26
    # Parameters are whole on a chip, gradients and moments are in parts.
    assert command.bytes_of_moments(program) < 1.1 * 2 * 4 * sum(sizes) / program.mesh.size
    state = update.memory_analysis().argument_size_in_bytes
    assert state < 1.1 * 4 * sum(sizes) * (1 + 3 / program.mesh.size)
    assert Compiled(gradients.as_text()).cycles()["dense products"] > 0
    moved = [
        whole_size(one, shape, program.mesh)
        for one in collectives(gradients, update)
        if one.kind != "all-reduce"
        for _, shape in one.arrays
    ]
    # Parts of parameters may be gathered, and gradients scattered.
    assert {size for size in moved if size >= batch.row_length * batch.rows_per_group} <= {*sizes}


@needs_libtpu
def test_a_step_on_four_chips_reduces_each_gradient_once(on_four_chips):
    program, *parts = on_four_chips
    reduced = [
        (dtype, whole_size(one, shape, program.mesh))
        for one in collectives(*parts)
        if one.kind in ("all-reduce", "reduce-scatter")
        for dtype, shape in one.arrays * one.times
        if len(shape) > 1
    ]
    assert {dtype for dtype, _ in reduced} == {"f32"}
    assert sum(size for _, size in reduced) <= 1.1 * sum(parameter_sizes(program))
