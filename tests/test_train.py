"""Whole trainings of the micro run: interrupted, resumed, started from weights, and misused."""

import json
import re
import time

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support import micro_run
from support.train_process import SCRIPT, STEPS, TrainProcess, metrics, uninterrupted_run

from dice_jax import train
from dice_jax.body_models import assets
from dice_jax.checkpoints import npz_weights
from dice_jax.errors import UserError
from dice_jax.evaluation import measure, reference_predictions
from dice_jax.input_pipeline import loader, pose_priors
from dice_jax.tools import export_weights
from dice_jax.training import progress
from dice_jax.training.real_samples import real_samples


@pytest.fixture(scope="module")
def unbroken():
    return uninterrupted_run()


# A run and its log


def test_every_logged_line_has_all_metrics_and_they_are_finite(unbroken):
    lines = [json.loads(line) for line in (unbroken / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(1, STEPS + 1))
    assert list((unbroken / "tensorboard").glob("events.out.tfevents.*"))
    terms = {f"loss/{name}" for name in ("params", "contact", "adversarial", "discriminator_hand")}
    for line in lines:
        assert {"loss", "lr", "grad_norm", "images_per_second"} | terms <= set(line)
        assert all(np.isfinite(value) for value in line.values())


def test_the_same_seed_gives_the_same_run_and_another_seed_another(unbroken, tmp_path):
    again = TrainProcess(tmp_path / "again")
    other = TrainProcess(tmp_path / "other", "--config.seed=1", "--config.total_steps=1")
    again.succeed()
    other.succeed()
    assert metrics(again.workdir) == metrics(unbroken)
    assert metrics(other.workdir)[0]["loss"] != metrics(unbroken)[0]["loss"]


# Interruption


def test_a_run_killed_three_times_has_the_losses_of_the_unbroken_run(unbroken, tmp_path):
    """It is killed at random moments, for example while a checkpoint is being written."""
    random = np.random.default_rng()
    steps = np.sort(random.choice(range(2, STEPS - 2), 3, replace=False))
    for step in steps:
        process = TrainProcess(tmp_path, pause=0.03)
        process.wait_for_step(step)
        time.sleep(random.uniform(0.0, 0.3))
        process.kill()
    before = metrics(tmp_path)[-1]["step"]
    done = TrainProcess(tmp_path).succeed()
    restored = resumed_from(done)
    # No more is lost than the updates after the last complete checkpoint, of one every four.
    assert before - 4 - 4 <= restored <= before < STEPS
    assert metrics(tmp_path) == metrics(unbroken), steps


def test_a_terminated_run_saves_first_and_a_full_disk_loses_nothing(unbroken, tmp_path):
    """Only the signal makes this run save. Resumed on a full disk, it keeps that checkpoint."""
    process = TrainProcess(tmp_path, "--config.checkpoint_every=1000", pause=0.03)
    process.wait_for_step(6)
    process.terminate()
    assert "the same command resumes from there" in process.succeed().stdout
    saved = metrics(tmp_path)[-1]["step"]
    assert saved < STEPS

    # Logs stay below this size, checkpoints do not.
    error = TrainProcess(tmp_path, max_file_bytes=65536).error_line()
    assert re.match(
        r"error: checkpoint \d+ could not be written .*\(File too large\); "
        rf"the latest complete one is {saved}",
        error,
    )

    assert resumed_from(TrainProcess(tmp_path).succeed()) == saved
    assert metrics(tmp_path) == metrics(unbroken)


def resumed_from(done):
    return int(re.search(rf"steps (\d+) to {STEPS}", done.stdout).group(1))


def test_a_finished_run_has_nothing_left_to_do(unbroken):
    before = metrics(unbroken)
    assert train.train(micro_run.get_config(), unbroken, **micro_run.inputs()).step == STEPS
    assert metrics(unbroken) == before


def test_a_run_is_not_resumed_with_another_network(unbroken):
    config = micro_run.get_config()
    config.model.masking = 0.75
    with pytest.raises(UserError, match=r"model\.masking \(0\.1 there, 0\.75 now\)") as error:
        train.train(config, unbroken, **micro_run.inputs())
    assert "\n" not in str(error.value)


# Mistakes


@pytest.mark.parametrize(
    "flags, words",
    [
        ("--config.no_such_field=1", "unknown config field 'no_such_field'"),
        ("--config.optimizer.speed=1", "unknown config field 'speed'"),
        ("--config.batch_size=many", "invalid literal"),
        ("--config=nowhere.py", "nowhere.py"),
        ("--config.data.name=nothing", "unknown data set 'nothing'"),
        ("--config.optimizer.schedule=linear", "optimizer.schedule is 'linear'"),
        ("--config.batch_size=7", "batch_size 7 is not a multiple of the 2 devices"),
        ("--config.accumulate_steps=3", "of the 2 devices times 3 accumulate_steps"),
        ("--config.data.priors=nowhere.npz", "python -m dice_jax.tools.prepare_priors"),
        (f"--workdir={SCRIPT}/run", "cannot write to the folder"),
    ],
)
def test_a_mistake_on_the_command_line_is_reported_in_one_line(tmp_path, flags, words):
    assert words in TrainProcess(tmp_path, flags, devices=2).error_line()


@pytest.mark.parametrize("split", ["train", "validation"])
def test_an_empty_split_is_reported_in_one_line(tmp_path, split):
    inputs = micro_run.inputs(**{split: []})
    with pytest.raises(UserError, match=rf"the split '{split}' of random_samples in .* is empty"):
        train.train(micro_run.get_config(), tmp_path, **inputs)


def test_the_depth_loss_requires_data_with_depth(tmp_path):
    flat = {name: value for name, value in micro_run.sample(0).items() if "depth" not in name}
    config = micro_run.get_config()
    config.losses.depth = 2.5
    with pytest.raises(UserError, match="the samples of random_samples have no depth"):
        train.train(config, tmp_path, **micro_run.inputs(train=[flat] * 40))


# Initial weights


def test_a_run_may_start_from_the_weights_of_another(unbroken, tmp_path, capsys):
    trained, _ = npz_weights.load_weights(unbroken)
    config = micro_run.get_config(total_steps=1, init_from=str(unbroken), ema_decay=0.0)
    train.train(config, tmp_path, **micro_run.inputs())
    assert f"starts from {unbroken}: all weights" in capsys.readouterr().out
    moved, _ = npz_weights.load_weights(tmp_path)
    # One step of AdamW changes a weight by about the learning rate, 1e-3. Random weights differ
    # by far more.
    close = lambda a, b: np.testing.assert_allclose(a, b, atol=3e-3)
    jax.tree.map(close, moved["params"], trained["params"])


@pytest.mark.parametrize(
    "weights, words",
    [
        ({"hand": {"kernel": np.ones((3, 3))}}, r"params/hand/kernel has shape \(3, 3\)"),
        ({"x": np.ones(3)}, "no name matches"),
    ],
)
def test_weights_of_another_network_are_refused_as_a_start(tmp_path, weights, words):
    npz_weights.save_weights(tmp_path / "other", {"params": weights}, micro_run.get_config())
    config = micro_run.get_config(init_from=str(tmp_path / "other"))
    with pytest.raises(UserError, match=words):
        train.train(config, tmp_path / "run", **micro_run.inputs())


# Results


def test_a_workdir_can_be_loaded_as_weights(unbroken):
    variables, config = npz_weights.load_weights(unbroken)
    assert config.to_dict() == micro_run.get_config().to_dict()
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(variables))


def test_a_finished_run_can_be_released(unbroken, tmp_path):
    bodies = assets.load_hand(), assets.load_head()
    batches = loader.sequential_batches(micro_run.RandomSource(2), 2)
    summary = measure.summarize_split(
        lambda batch: reference_predictions.true_prediction(batch, *bodies), batches, *bodies
    )
    results = {"about": "ground truth of 2 samples", "model": summary, "mean_prediction": summary}
    (tmp_path / "metrics.json").write_text(json.dumps(results))
    (tmp_path / "failures.md").write_text("- blinks")
    export_weights.release(
        unbroken, tmp_path, "one abacus", tmp_path / "failures.md", tmp_path / "release"
    )
    card = (tmp_path / "release/README.md").read_text()
    for words in ("24 of 24 steps of batch 8", "seen 16.0 times", "one abacus", "- blinks"):
        assert words in card
    assert "ground truth of 2 samples" in card
    stored, config = npz_weights.load_weights(tmp_path / "release")
    trained, _ = npz_weights.load_weights(unbroken)
    assert config.to_dict() == micro_run.get_config().to_dict()
    close = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-6)
    jax.tree.map(close, stored, trained)


def test_the_hours_of_a_release_are_computed_from_the_logged_speed():
    log = [{"step": 50, "images_per_second": 8.0}, {"step": 150, "images_per_second": 4.0}]
    assert export_weights.hours(log, 16) == pytest.approx((50 * 16 / 8 + 100 * 16 / 4) / 3600)


# The loop


@pytest.fixture
def priors_file(tmp_path, rng):
    sizes = {**pose_priors.HAND, **pose_priors.HEAD}
    source = lambda names: {
        name: rng.normal(size=(5, sizes[name])).astype(np.float32) for name in names
    }
    parts = ({x: source(names) for x in "ab"} for names in (pose_priors.HAND, pose_priors.HEAD))
    pose_priors.save(tmp_path / "pose_priors.npz", pose_priors.Priors(*parts))
    return tmp_path / "pose_priors.npz"


def test_pose_priors_train_the_discriminators_and_validation_is_logged(tmp_path, priors_file):
    config = micro_run.get_config(total_steps=1, validate_every=1, sheet_every=1, sheet_samples=1)
    config.data.update(priors=str(priors_file), prior_shares="a:3+b")
    train.train(config, tmp_path / "run", **micro_run.inputs())
    (line,) = metrics(tmp_path / "run")
    assert np.isfinite(line["loss/discriminator_hand"]) and "loss/adversarial" in line
    (validation,) = (tmp_path / "run/validation.jsonl").read_text().splitlines()
    assert json.loads(validation)["pve_mm"] > 0
    sheet = cv2.imread(str(tmp_path / "run/sheets/0000001.png"))
    assert sheet.shape[0] > 2 * 224 and sheet.shape[1] > 6 * 224


def test_real_samples_depend_on_the_step_and_are_split_between_processes(monkeypatch, priors_file):
    options = dict(seed=0, batch_size=8)
    whole = real_samples(priors_file, "a:3+b", **options)
    parts = []
    for process in range(2):
        monkeypatch.setattr(jax, "process_index", lambda process=process: process)
        monkeypatch.setattr(jax, "process_count", lambda: 2)
        parts.append(real_samples(priors_file, "a:3+b", **options)(5))
    joined = jax.tree.map(lambda *x: np.concatenate(x), *parts)
    jax.tree.map(np.testing.assert_array_equal, whole(5), joined)
    hand, head = whole(5)
    assert hand.hand_pose.shape == (8, 45) and head.expression.shape == (8, 50)
    assert (hand.hand_pose != whole(6)[0].hand_pose).any()
    with pytest.raises(UserError, match="no hand of nobody"):
        real_samples(priors_file, "nobody", **options)
    with pytest.raises(UserError, match="a positive share after a colon"):
        real_samples(priors_file, "a:none", **options)


def test_a_loss_that_is_not_finite_stops_the_run_and_saves_all_inputs_of_the_update(tmp_path):
    poisoned = micro_run.sample(3)
    poisoned["hand_betas"] = np.full(10, np.nan, np.float32)
    inputs = micro_run.inputs(train=[micro_run.sample(i) for i in range(12)] + [poisoned])
    with pytest.raises(UserError, match=r"not finite in update \d+: .*loss/params") as error:
        train.train(micro_run.get_config(log_every=5), tmp_path, **inputs)
    (file,) = tmp_path.glob("failed_batch_*.npz")
    step = int(file.stem.rsplit("_", 1)[1])
    assert f"update {step + 1}:" in str(error.value) and str(file) in str(error.value)
    with np.load(file) as batch:
        assert np.isnan(batch["hand_params.betas"]).any() and len(batch["images"]) == 8
    assert (tmp_path / "checkpoints" / str(step)).is_dir()
    variables, _ = npz_weights.load_weights(tmp_path)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(variables))


def test_the_loop_makes_no_implicit_transfers(monkeypatch, tmp_path):
    """An implicit transfer, such as a print of a loss, would make every update wait for it."""
    monkeypatch.setattr(progress.Progress, "advance", lambda self: jnp.sin(np.ones(3)))
    with pytest.raises(Exception, match="Disallowed host-to-device transfer"):
        train.train(micro_run.get_config(total_steps=2), tmp_path, **micro_run.inputs())
