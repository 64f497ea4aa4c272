"""Requests to end a run, and losses that are not finite."""

import os
import signal

import numpy as np
import pytest

from data.errors import InputError
from hero_jax.training.loop import Interruption, check_finite


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_asks_for_the_end_after_the_step(number):
    before = signal.getsignal(number)
    with Interruption() as interruption:
        assert not interruption.at(1)
        os.kill(os.getpid(), number)
        assert interruption.at(1)
        assert interruption.by_keyboard == (number == signal.SIGINT)
    assert signal.getsignal(number) == before


def test_the_second_ctrl_c_ends_at_once(capsys):
    with Interruption():
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert capsys.readouterr().err.splitlines() == [
        "stopping after this step, to save it; Ctrl-C again ends at once"
    ]


@pytest.mark.parametrize("quantity", ["loss", "gradient_norm", "parameter_norm"])
def test_a_step_that_is_not_finite_is_named(quantity):
    metrics = {
        "loss": np.float32(1),
        "gradient_norm": np.float32(1),
        "parameter_norm": np.float32(1),
    }
    check_finite(7, "mlm", metrics)
    words = quantity.replace("_", " ")
    with pytest.raises(InputError, match=rf"^the {words} of step 7 \(task mlm\) is nan"):
        check_finite(7, "mlm", metrics | {quantity: np.float32("nan")})
