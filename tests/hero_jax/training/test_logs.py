"""Event files, read as TensorBoard reads them."""

import pytest
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.tensorflow_stub import errors
from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import PyRecordReader_New

from hero_jax.training import curves
from hero_jax.training.logs import Log


def events(path):
    """Yields the events of a file with TensorBoard's reader, which checks each checksum."""
    reader = PyRecordReader_New(str(path))
    while True:
        try:
            reader.GetNext()
        except errors.OutOfRangeError:
            return
        yield Event.FromString(reader.record())


def test_event_files_and_history_hold_what_is_logged(tmp_path, capsys):
    logged = {
        4: {"train/loss": 2.5, "train/mlm/accuracy": 0.125},
        8: {"train/loss": 0.75},
    }
    for step, values in logged.items():
        # As two runs, of which the second resumes.
        log = Log(tmp_path, step - 1, 8)
        log.scalars(step, values, headline=f"loss {values['train/loss']}")
        log.close()
    assert capsys.readouterr().err.splitlines() == ["step 4: loss 2.5", "step 8: loss 0.75"]
    found = {}
    for path in tmp_path.glob("events.out.tfevents.*"):
        first, *others = events(path)
        assert first.file_version == "brain.Event:2"
        # Two runs of one process in one second share a file.
        for event in (event for event in others if not event.file_version):
            found[event.step] = {one.tag: one.simple_value for one in event.summary.value}
    assert found == logged
    history = curves.history(tmp_path)
    assert history["train/loss"] == pytest.approx({4: 2.5, 8: 0.75})
