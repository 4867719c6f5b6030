"""Checkpoints: which stay, what they know, and what is refused."""

import errno
import os

import jax.numpy as jnp
import numpy as np
import pytest

from dice_jax.checkpoints import orbax_checkpoints
from dice_jax.errors import UserError
from dice_jax.training.state import Learner, TrainState


def state_at(step, width=3, name="kernel"):
    learner = Learner({"layer": {name: jnp.full((2, width), float(step))}}, ())
    return TrainState(
        step=jnp.array(step),
        rng=jnp.array([0, step], jnp.uint32),
        generator=learner,
        batch_stats={},
        ema_params={},
        hand_discriminator=learner,
        head_discriminator=learner,
        failed_step=jnp.array(-1),
    )


@pytest.fixture
def open_checkpoints(tmp_path):
    opened = []

    def open_(**options):
        opened.append(orbax_checkpoints.Checkpointer(tmp_path, best_metric="pve_mm", **options))
        return opened[-1]

    yield open_
    for each in opened:
        each._manager.close()


def steps_on_disk(folder):
    return sorted(
        int(path.name) for path in (folder / "checkpoints").iterdir() if path.name.isdigit()
    )


def test_newest_and_best_stay(open_checkpoints, tmp_path):
    checkpointer = open_checkpoints(keep=2)
    figures = {2: 9.0, 3: 5.0, 4: 7.0}
    for step in range(1, 7):
        checkpointer.save(state_at(step), {"pve_mm": figures[step]} if step in figures else None)
    checkpointer.close()
    assert steps_on_disk(tmp_path) == [3, 5, 6]


def test_restored_state_and_what_it_comes_from_are_the_newest(open_checkpoints):
    first = open_checkpoints(about={"git": "abc", "config": {"seed": 3}})
    assert first.restore(state_at(0)) is None and first.about() == {}
    for step in (1, 2):
        first.save(state_at(step))
    first.close()
    again = open_checkpoints(about={"git": "def"})
    restored = again.restore(state_at(0))
    assert int(restored.step) == 2 and restored.rng.tolist() == [0, 2]
    np.testing.assert_array_equal(
        restored.generator.params["layer"]["kernel"], np.full((2, 3), 2.0)
    )
    assert again.about() == {"git": "abc", "config": {"seed": 3}}


@pytest.mark.parametrize(
    "other, told",
    [
        (dict(width=4), r"generator\.params\.layer\.kernel \(\(2, 3\) there, \(2, 4\) now\)"),
        (
            dict(name="weight"),
            r"generator\.params\.layer\.kernel \(\(2, 3\) there, nothing now\), "
            r"generator\.params\.layer\.weight \(nothing there, \(2, 3\) now\).* and 3 more",
        ),
    ],
)
def test_another_network_is_refused_by_the_names_that_differ(open_checkpoints, other, told):
    checkpointer = open_checkpoints()
    checkpointer.save(state_at(1))
    checkpointer.close()
    with pytest.raises(UserError, match=told) as error:
        open_checkpoints().restore(state_at(0, **other))
    assert "\n" not in str(error.value)


def test_what_cannot_be_written_is_one_clear_line_and_the_earlier_one_stays(
    open_checkpoints, monkeypatch, tmp_path
):
    checkpointer = open_checkpoints()
    checkpointer.save(state_at(1))
    checkpointer._manager.wait_until_finished()
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    monkeypatch.setattr(checkpointer._manager, "save", lambda *_, **__: (_ for _ in ()).throw(full))
    told = r"checkpoint 2 .*\(No space left on device\); the newest whole one is 1"
    with pytest.raises(UserError, match=told) as error:
        checkpointer.save(state_at(2))
    assert "\n" not in str(error.value) and steps_on_disk(tmp_path) == [1]
