"""Runs of `dice_jax.train` in processes of their own: broken off, resumed, misused."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import jax
import numpy as np
import pytest
from support import micro_run

from dice_jax import train
from dice_jax.body_models import assets
from dice_jax.checkpoints import npz_weights
from dice_jax.errors import UserError
from dice_jax.evaluation import measure
from dice_jax.input_pipeline import loader
from dice_jax.input_pipeline import pose_priors as priors
from dice_jax.tools import export_weights

SCRIPT = str(Path(micro_run.__file__))
STEPS = 24
DRAW_SHEET = train.watch.draw_sheet  # before anything takes its place


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """One device, and one compilation for all runs of this file."""
    compiled = os.environ.get("JAX_COMPILATION_CACHE_DIR") or str(
        tmp_path_factory.mktemp("compiled")
    )
    return {
        **os.environ,
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": "",
        "JAX_COMPILATION_CACHE_DIR": compiled,
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }


def command(workdir, *flags):
    return [sys.executable, SCRIPT, f"--config={SCRIPT}", f"--workdir={workdir}", *flags]


def start(environment, workdir, pause, *flags):
    return subprocess.Popen(
        command(workdir, *flags),
        env={**environment, "MICRO_RUN_PAUSE": str(pause)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(environment, workdir, *flags):
    done = subprocess.run(
        command(workdir, *flags), env=environment, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done


def lines(workdir):
    """metrics.jsonl without what the clock decides."""
    path = Path(workdir) / "metrics.jsonl"
    read = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    for line in read:
        line.pop("images_per_second")
    return read


def wait_for_step(process, workdir, step):
    limit = time.monotonic() + 500
    while not (seen := lines(workdir)) or seen[-1]["step"] < step:
        assert process.poll() is None and time.monotonic() < limit, process.communicate(timeout=5)
        time.sleep(0.02)


@pytest.fixture(scope="module")
def unbroken(environment, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("unbroken")
    finish(environment, workdir)
    return workdir


def test_metrics_file(unbroken):
    read = [json.loads(line) for line in (unbroken / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in read] == list(range(2, STEPS + 1, 2))
    assert list((unbroken / "tensorboard").glob("events.out.tfevents.*"))
    for line in read:
        assert {
            "loss",
            "loss/params",
            "loss/contact",
            "loss/discriminator_hand",
            "lr",
            "images_per_second",
        } <= set(line)
        assert all(np.isfinite(value) for value in line.values())


def test_run_is_a_pure_function_of_its_seed(environment, unbroken, tmp_path):
    finish(environment, tmp_path / "again")
    finish(environment, tmp_path / "other", "--config.seed=1")
    assert lines(tmp_path / "again") == lines(unbroken)
    assert lines(tmp_path / "other")[0]["loss"] != lines(unbroken)[0]["loss"]


def test_run_killed_five_times_has_the_losses_of_the_unbroken_one(environment, unbroken, tmp_path):
    """At random steps and random moments of them, in the middle of writing a checkpoint for
    instance.
    """
    random = np.random.default_rng()
    steps = np.sort(random.choice(range(2, STEPS - 2), 5, replace=False))
    for step in steps:
        process = start(environment, tmp_path, 0.03)
        wait_for_step(process, tmp_path, step)
        time.sleep(random.uniform(0.0, 0.3))
        process.send_signal(signal.SIGKILL)
        assert process.wait(10) == -signal.SIGKILL
    before = lines(tmp_path)[-1]["step"]
    done = finish(environment, tmp_path)
    restored = int(re.search(rf"steps (\d+) to {STEPS}", done.stdout).group(1))
    assert before - 4 - 4 <= restored <= before < STEPS, (
        "no more is lost than what came after the last checkpoint"
    )
    assert lines(tmp_path) == lines(unbroken), steps


def test_terminated_run_saves_first(environment, unbroken, tmp_path):
    process = start(environment, tmp_path, 0.03, "--config.checkpoint_every=1000")
    wait_for_step(process, tmp_path, 4)
    process.terminate()
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0 and "the same command goes on" in output
    reached = lines(tmp_path)[-1]["step"]
    assert reached < STEPS
    finish(environment, tmp_path)
    assert lines(tmp_path) == lines(unbroken)


def test_full_disk_at_a_checkpoint_is_one_clear_line(environment, unbroken, tmp_path):
    """No file may grow beyond 64 KiB (128 blocks): logs stay below that, checkpoints do not."""
    process = start(environment, tmp_path, 0.03)
    wait_for_step(process, tmp_path, 10)
    process.terminate()
    process.communicate(timeout=60)
    saved = lines(tmp_path)[-1]["step"]
    limited = ["sh", "-c", 'ulimit -f 128; exec "$@"', "sh", *command(tmp_path)]
    done = subprocess.run(limited, env=environment, capture_output=True, text=True, timeout=600)
    last = done.stderr.strip().splitlines()[-1]
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert re.match(
        r"error: checkpoint \d+ could not be written .*\(File too large\); the newest whole one is",
        last,
    )
    done = finish(environment, tmp_path)
    assert int(re.search(rf"steps (\d+) to {STEPS}", done.stdout).group(1)) in (saved, saved + 1)
    assert lines(tmp_path) == lines(unbroken)


def test_truncated_checkpoint_is_one_clear_line(environment, unbroken, tmp_path):
    workdir = tmp_path / "run"
    finish(environment, workdir, "--config.total_steps=4")
    files = [path for path in (workdir / "checkpoints/4").rglob("*") if path.is_file()]
    largest = max(files, key=lambda path: path.stat().st_size)
    os.truncate(largest, largest.stat().st_size // 2)
    done = subprocess.run(
        command(workdir), env=environment, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert "checkpoints/4 is damaged" in done.stderr.strip().splitlines()[-1]


@pytest.mark.parametrize(
    "flags, words",
    [
        (
            ["--config.no_such_field=1"],
            "unknown config field 'no_such_field' in --config.no_such_field=1",
        ),
        (
            ["--config.optimizer.speed=1"],
            "unknown config field 'speed' in --config.optimizer.speed=1",
        ),
        (["--config.batch_size=many"], "invalid literal"),
        (["--config=nowhere.py"], "nowhere.py"),
        (["--config.data.name=nothing"], "unknown data set 'nothing': there is hand_face_synth"),
        (["--config.optimizer.schedule=linear"], "optimizer.schedule is 'linear'"),
        (["--config.batch_size=7"], "batch_size 7 is not a multiple of the 2 devices"),
        (
            ["--config.accumulate_steps=3"],
            "batch_size 8 is not a multiple of the 2 devices times 3 accumulate_steps",
        ),
        (
            ["--config.data.priors=nowhere.npz"],
            "make it with python -m dice_jax.tools.prepare_priors",
        ),
        ([f"--workdir={SCRIPT}/run"], "cannot write to the folder"),
    ],
)
def test_mistakes_are_one_clear_line(environment, tmp_path, flags, words):
    two_devices = {**environment, "XLA_FLAGS": "--xla_force_host_platform_device_count=2"}
    done = subprocess.run(
        command(tmp_path, *flags), env=two_devices, capture_output=True, text=True, timeout=600
    )
    last = done.stderr.strip().splitlines()[-1]
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert last.startswith("error: ") and words in last


class TestInProcess:
    @pytest.fixture
    def pose_priors(self, tmp_path, rng):
        sizes = {**priors.HAND, **priors.HEAD}
        source = lambda names: {
            name: rng.normal(size=(5, sizes[name])).astype(np.float32) for name in names
        }
        parts = ({name: source(names) for name in "ab"} for names in (priors.HAND, priors.HEAD))
        priors.save(tmp_path / "pose_priors.npz", priors.Priors(*parts))
        return tmp_path / "pose_priors.npz"

    @pytest.fixture(autouse=True)
    def micro(self, monkeypatch):
        micro_run.install(monkeypatch.setattr)

    def test_another_network_is_refused_by_name(self, unbroken):
        config = micro_run.get_config()
        config.model.masking = 0.75
        with pytest.raises(UserError, match=r"model\.masking \(0\.1 there, 0\.75 now\)") as error:
            train.train(config, unbroken)
        assert "\n" not in str(error.value)

    def test_finished_run_has_nothing_left_to_do(self, unbroken):
        before = lines(unbroken)
        assert train.train(micro_run.get_config(), unbroken).step == STEPS
        assert lines(unbroken) == before

    def test_workdir_serves_as_weights(self, unbroken):
        variables, config = npz_weights.load_weights(unbroken)
        assert config.to_dict() == micro_run.get_config().to_dict()
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(variables))

    def test_finished_run_becomes_a_release(self, unbroken, tmp_path):
        truth = micro_run.RandomSource(2)
        bodies = assets.load_hand(), assets.load_head()
        batches = loader.sequential_batches(truth, 2)
        summary = measure.evaluate(
            lambda batch: measure.true_prediction(batch, *bodies), batches, *bodies
        )
        figures = {"about": "the truth on 2 samples", "model": summary, "mean_prediction": summary}
        (tmp_path / "metrics.json").write_text(json.dumps(figures))
        (tmp_path / "failures.md").write_text("- blinks")
        export_weights.release(
            unbroken, tmp_path, "one abacus", tmp_path / "failures.md", tmp_path / "release"
        )
        card = (tmp_path / "release/README.md").read_text()
        for words in (
            "24 of 24 steps of batch 8",
            "seen 16.0 times",
            "one abacus",
            "the truth on 2 samples",
            "- blinks",
        ):
            assert words in card
        stored, config = npz_weights.load_weights(tmp_path / "release")
        trained, _ = npz_weights.load_weights(unbroken)
        assert config.to_dict() == micro_run.get_config().to_dict()
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-6), stored, trained
        )

    def test_hours_are_those_that_the_log_tells(self):
        log = [{"step": 50, "images_per_second": 8.0}, {"step": 150, "images_per_second": 4.0}]
        assert export_weights.hours(log, 16) == pytest.approx((50 * 16 / 8 + 100 * 16 / 4) / 3600)

    def test_a_run_may_start_from_the_weights_of_another(self, unbroken, tmp_path, capsys):
        trained, _ = npz_weights.load_weights(unbroken)
        train.train(
            micro_run.get_config(total_steps=1, init_from=str(unbroken), ema_decay=0.0), tmp_path
        )
        assert "every weight of it" in capsys.readouterr().out
        moved, _ = npz_weights.load_weights(tmp_path)
        # One step of AdamW moves a weight by the learning rate, 1e-3; random ones would be far
        # away.
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, atol=3e-3),
            moved["params"],
            trained["params"],
        )

    def test_weights_of_another_network_to_start_from_are_one_clear_line(self, tmp_path):
        npz_weights.save_weights(
            tmp_path / "odd",
            {"params": {"hand": {"kernel": np.ones((3, 3))}}},
            micro_run.get_config(),
        )
        with pytest.raises(UserError, match=r"params/hand/kernel is \(3, 3\) there"):
            train.train(micro_run.get_config(init_from=str(tmp_path / "odd")), tmp_path / "run")
        npz_weights.save_weights(
            tmp_path / "other", {"params": {"x": np.ones(3)}}, micro_run.get_config()
        )
        with pytest.raises(UserError, match="nothing of them fits"):
            train.train(micro_run.get_config(init_from=str(tmp_path / "other")), tmp_path / "run")

    @pytest.mark.parametrize("split", ["train", "validation"])
    def test_an_empty_split_is_one_clear_line(self, monkeypatch, tmp_path, split):
        read = lambda folder, name, size: [] if name == split else [micro_run.sample(0)]
        monkeypatch.setitem(train.datasets.DATASETS, micro_run.NAME, read)
        with pytest.raises(
            UserError, match=rf"the split '{split}' of random_samples in .* is empty"
        ):
            train.train(micro_run.get_config(), tmp_path)

    def test_data_without_depth_are_refused_where_depth_is_to_teach(self, monkeypatch, tmp_path):
        flat = {name: value for name, value in micro_run.sample(0).items() if "depth" not in name}
        samples = {"train": [flat] * 40, "validation": [flat]}
        monkeypatch.setitem(
            train.datasets.DATASETS, micro_run.NAME, lambda folder, name, size: samples[name]
        )
        config = micro_run.get_config()
        config.losses.depth = 2.5
        with pytest.raises(
            UserError, match=r"losses.depth is 2.5 but the samples of random_samples have no depth"
        ):
            train.train(config, tmp_path)
        samples["train"] = [flat] * 39 + [
            micro_run.sample(0)
        ]  # a mixture has photographs at its end
        train.require_depth(config, samples["train"])
        config.losses.depth = 0.0
        train.require_depth(config, [flat])

    def test_discriminators_are_shown_poses_of_a_file_and_sheets_are_drawn(
        self, monkeypatch, tmp_path, pose_priors
    ):
        monkeypatch.setattr(train.watch, "draw_sheet", DRAW_SHEET)
        config = micro_run.get_config(total_steps=1, log_every=1, sheet_every=1, sheet_samples=1)
        config.data.update(priors=str(pose_priors), prior_shares="a:3+b")
        train.train(config, tmp_path / "run")
        (line,) = lines(tmp_path / "run")
        assert np.isfinite(line["loss/discriminator_hand"]) and "loss/adversarial" in line
        sheet = cv2.imread(str(tmp_path / "run/sheets/0000001.png"))
        assert sheet.shape[0] > 2 * 224 and sheet.shape[1] > 6 * 224

    def test_real_poses_are_a_function_of_the_step_shared_among_processes(
        self, monkeypatch, pose_priors
    ):
        config = micro_run.get_config()
        config.data.update(priors=str(pose_priors), prior_shares="a:3+b")
        whole = train.real_samples(config)
        parts = []
        for process in range(2):
            monkeypatch.setattr(jax, "process_index", lambda process=process: process)
            monkeypatch.setattr(jax, "process_count", lambda: 2)
            parts.append(train.real_samples(config)(5))
        jax.tree.map(
            np.testing.assert_array_equal,
            whole(5),
            jax.tree.map(lambda *x: np.concatenate(x), *parts),
        )
        hand, head = whole(5)
        assert hand.hand_pose.shape == (8, 45) and head.expression.shape == (8, 50)
        assert (hand.hand_pose != whole(6)[0].hand_pose).any()
        config.data.prior_shares = "nobody"
        with pytest.raises(UserError, match="no hand of nobody"):
            train.real_samples(config)
        config.data.prior_shares = "a:none"
        with pytest.raises(UserError, match="a positive share after a colon"):
            train.real_samples(config)

    def test_not_finite_loss_stops_and_leaves_what_it_takes_to_replay(self, monkeypatch, tmp_path):
        poisoned = micro_run.sample(3)
        poisoned["hand_betas"] = np.full(10, np.nan, np.float32)
        samples = [micro_run.sample(i) for i in range(40)] + [poisoned]
        monkeypatch.setitem(train.datasets.DATASETS, micro_run.NAME, lambda *_: samples)
        with pytest.raises(UserError, match=r"not finite in update \d+: .*loss/params") as error:
            train.train(micro_run.get_config(log_every=5), tmp_path)
        (file,) = tmp_path.glob("failed_batch_*.npz")
        step = int(file.stem.rsplit("_", 1)[1])
        assert f"update {step + 1}:" in str(error.value) and str(file) in str(error.value)
        with np.load(file) as batch:
            assert np.isnan(batch["hand_params.betas"]).any() and len(batch["images"]) == 8
        assert (tmp_path / "checkpoints" / str(step)).is_dir()
        variables, _ = npz_weights.load_weights(tmp_path)
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(variables))
