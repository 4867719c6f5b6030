"""Checkpoints: which are kept, what they hold, and what is refused."""

import contextlib
import resource

import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct

from dice_jax.checkpoints.orbax_checkpoints import Checkpointer, best_step, latest_step
from dice_jax.errors import UserError


class State(struct.PyTreeNode):
    """A training state as small as possible."""

    step: jnp.ndarray
    rng: jnp.ndarray
    params: dict


def state_at(step, width=3, name="kernel"):
    params = {"layer": {name: jnp.full((2, width), float(step))}}
    return State(jnp.array(step), jnp.array([0, step], jnp.uint32), params)


@pytest.fixture
def open_checkpoints(tmp_path):
    """A function that opens the checkpoints of one workdir; all are closed at the end."""
    with contextlib.ExitStack() as stack:

        def open_(**options):
            checkpointer = Checkpointer(tmp_path, best_metric="pve_mm", **options)
            stack.enter_context(contextlib.suppress(UserError))
            stack.callback(checkpointer.close)
            return checkpointer

        yield open_


def steps_on_disk(folder):
    names = [path.name for path in (folder / "checkpoints").iterdir()]
    return sorted(int(name) for name in names if name.isdigit())


def test_the_latest_and_the_best_are_kept(open_checkpoints, tmp_path):
    checkpointer = open_checkpoints(keep=2)
    pve_mm = {2: 9.0, 3: 5.0, 4: 7.0}
    for step in range(1, 7):
        checkpointer.save(state_at(step), {"pve_mm": pve_mm[step]} if step in pve_mm else None)
    checkpointer.close()
    assert steps_on_disk(tmp_path) == [3, 5, 6]
    assert (best_step(tmp_path), latest_step(tmp_path)) == (3, 6)


def test_a_resumed_run_keeps_the_best_of_its_first_part(open_checkpoints, tmp_path):
    for steps in (range(1, 4), range(4, 7)):
        checkpointer = open_checkpoints(keep=1)
        for step in steps:
            checkpointer.save(state_at(step), {"pve_mm": abs(step - 2) + 1.0})
        checkpointer.close()
    assert steps_on_disk(tmp_path) == [2, 6] and best_step(tmp_path) == 2


def test_without_validations_the_latest_checkpoint_is_the_best(open_checkpoints, tmp_path):
    checkpointer = open_checkpoints(keep=2)
    for step in (1, 2):
        checkpointer.save(state_at(step))
    checkpointer.close()
    assert best_step(tmp_path) == 2


def test_the_latest_state_is_restored_together_with_its_origin(open_checkpoints):
    first = open_checkpoints(about={"git": "abc", "config": {"seed": 3}})
    assert first.restore(state_at(0)) is None and first.about() == {}
    for step in (1, 2):
        first.save(state_at(step))
    first.close()
    again = open_checkpoints(about={"git": "def"})
    restored = again.restore(state_at(0))
    assert int(restored.step) == 2 and restored.rng.tolist() == [0, 2]
    np.testing.assert_array_equal(restored.params["layer"]["kernel"], np.full((2, 3), 2.0))
    assert again.about() == {"git": "abc", "config": {"seed": 3}}


@pytest.mark.parametrize(
    "other, message",
    [
        (dict(width=4), r"params\.layer\.kernel \(\(2, 3\) there, \(2, 4\) now\)"),
        (
            dict(name="weight"),
            r"params\.layer\.kernel \(\(2, 3\) there, nothing now\), "
            r"params\.layer\.weight \(nothing there, \(2, 3\) now\)",
        ),
    ],
)
def test_a_state_of_another_network_is_refused_with_the_names_that_differ(
    open_checkpoints, other, message
):
    checkpointer = open_checkpoints()
    checkpointer.save(state_at(1))
    checkpointer.close()
    with pytest.raises(UserError, match=message) as error:
        open_checkpoints().restore(state_at(0, **other))
    assert "\n" not in str(error.value)


def test_a_failure_to_write_is_reported_in_one_line_and_earlier_checkpoints_stay(
    open_checkpoints, tmp_path
):
    checkpointer = open_checkpoints()
    checkpointer.save(state_at(1))
    checkpointer.close()
    checkpointer = open_checkpoints()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))  # as a full disk
    try:
        message = r"checkpoint 2 .*\(File too large\); the latest complete one is 1"
        with pytest.raises(UserError, match=message) as error:
            checkpointer.save(state_at(2))
            checkpointer.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "\n" not in str(error.value) and steps_on_disk(tmp_path) == [1]


def test_a_truncated_checkpoint_is_reported_in_one_line(open_checkpoints, tmp_path, capfd, rng):
    """Nothing else is printed, although several threads of tensorstore fail."""
    checkpointer = open_checkpoints()
    state = State(jnp.array(4), jnp.zeros(2, jnp.uint32), {"noise": rng.normal(size=(100, 100))})
    checkpointer.save(state)
    checkpointer.close()
    files = [path for path in (tmp_path / "checkpoints/4").rglob("*") if path.is_file()]
    largest = max(files, key=lambda path: path.stat().st_size)
    with largest.open("r+b") as file:
        file.truncate(largest.stat().st_size // 2)
    capfd.readouterr()
    with pytest.raises(UserError, match="checkpoints/4 is damaged: delete that folder") as error:
        open_checkpoints().restore(state)
    assert "\n" not in str(error.value) and capfd.readouterr().err == ""
