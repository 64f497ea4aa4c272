"""A run's history and its picture."""

from PIL import Image

from hero_jax.training import curves


def test_history_takes_the_last_of_steps_made_twice_and_leaves_a_cut_line_out(tmp_path):
    curves.record(tmp_path, 10, {"train/mlm/loss": 3.0})
    curves.record(tmp_path, 20, {"train/mlm/loss": 2.0})
    curves.record(tmp_path, 20, {"train/mlm/loss": 1.5, "eval/mlm/loss": 1.0})
    with open(tmp_path / curves.HISTORY, "a") as file:
        file.write('{"step": 30, "train/ml')
    assert curves.history(tmp_path) == {
        "train/mlm/loss": {10: 3.0, 20: 1.5},
        "eval/mlm/loss": {20: 1.0},
    }


def test_a_picture_is_drawn_whatever_tasks_there_are(tmp_path):
    for step in (10, 20):
        curves.record(
            tmp_path,
            step,
            {
                "train/loss": 5.0 / step,
                "train/mlm/loss": 3.0 / step,
                "train/mlm/accuracy": 0.01 * step,
                "eval/mlm/accuracy_without_frames": 0.005 * step,
                "train/mffr/loss": 1.0 / step,
            },
        )
    with Image.open(curves.draw(tmp_path)) as picture:
        colours = picture.convert("RGB").getcolors(picture.width * picture.height)
    # Axes are black and grey; a curve has a colour.
    assert any(max(rgb) - min(rgb) > 100 for _, rgb in colours)
