"""Whole evaluations: of the truth, of the mean, and by the command line."""

import json

import jax
import jax.numpy as jnp
import micro_run
import numpy as np
import pytest
from absl import flags
from absl.testing import flagsaver
from tiny_model import save_tiny_weights

from dice_jax import datasets, evaluate, evaluation
from dice_jax.body_models import assets
from dice_jax.data import loader
from dice_jax.errors import UserError

SIZE = 5  # not a multiple of the batch below: the last one is ragged


@pytest.fixture(scope="module")
def bodies():
  return assets.load_hand(), assets.load_head()


@pytest.fixture(scope="module")
def source():
  return micro_run.RandomSource(SIZE)


@pytest.fixture
def batches(source):
  return lambda: loader.sequential_batches(source, 2)


@pytest.fixture(scope="module")
def mean(source, bodies):
  return evaluation.mean_prediction(loader.sequential_batches(source, 2), *bodies)


def test_truth_scores_as_truth(batches, bodies):
  truth = jax.jit(lambda batch: evaluation.true_prediction(batch, *bodies))
  summary = evaluation.evaluate(truth, batches(), *bodies)
  assert summary["frames"] == SIZE
  for name in ("pve_mm", "mpjpe_mm", "deformation_error_mm", "keypoints_2d_error_px"):
    assert summary[name] == pytest.approx(0.0, abs=1e-3), name
  for part in ("hand", "head"):
    assert summary["contact"][part]["f1"] == summary["contact"][part]["accuracy"] == 1.0


def test_mean_prediction_is_the_mean_of_every_sample_once(source, bodies, mean):
  (batch, valid), = loader.sequential_batches(source, SIZE)
  assert valid.all()
  truth = evaluation.true_prediction(batch, *bodies)
  for name in ("hand_vertices", "deformed_head_vertices", "head_keypoints_3d", "deformations", "hand_contact_probs"):
    np.testing.assert_allclose(getattr(mean, name), np.mean(getattr(truth, name), axis=0), atol=1e-5, err_msg=name)


def test_no_constant_answer_is_closer_in_the_square_than_the_mean(source, bodies, mean, rng):
  (batch, _), = loader.sequential_batches(source, SIZE)
  truth = np.asarray(evaluation.true_prediction(batch, *bodies).hand_vertices)
  error = lambda answer: np.square(truth - answer).sum()
  for _ in range(5):
    assert error(mean.hand_vertices) < error(mean.hand_vertices + rng.normal(size=(778, 3)) * 1e-3)


def test_figures_do_not_depend_on_the_batch_size(source, bodies, mean):
  repeat = lambda batch: jax.tree.map(lambda x: jnp.broadcast_to(x, (len(batch.images), *x.shape)), mean)
  one, other = (evaluation.evaluate(repeat, loader.sequential_batches(source, size), *bodies) for size in (2, 3))
  one, other = jax.tree.leaves(one), jax.tree.leaves(other)
  np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_empty_split_is_one_clear_line(bodies):
  with pytest.raises(UserError, match="empty"):
    evaluation.evaluate(None, [], *bodies)


def test_command_line_writes_tables_and_figures(monkeypatch, source, tmp_path, capsys):
  monkeypatch.setitem(datasets.DATASETS, micro_run.NAME, lambda folder, split, size: source)
  weights, out = save_tiny_weights(tmp_path / "weights"), tmp_path / "out"
  flags.FLAGS.mark_as_parsed()
  with flagsaver.flagsaver(
    weights=str(weights), data=micro_run.NAME, out=str(out), batch_size=2, max_samples=3, mean_samples=4
  ):
    evaluate.main([])
  figures = json.loads((out / "metrics.json").read_text())
  for name in ("model", "mean_prediction"):
    row = figures[name]
    assert row["frames"] == 3
    assert {"pve_mm", "mpjpe_mm", "pa_mpjpe_mm", "collision_distance_mm", "non_collision_ratio", "touchness_ratio",
            "f_score"} <= set(row)  # fmt: skip
    for part in ("hand", "head"):
      assert {"f1", "precision", "recall", "accuracy"} <= set(row["contact"][part])
  tables = (out / "tables.md").read_text()
  assert tables in capsys.readouterr().out
  assert f"{figures['model']['pve_mm']:.2f}" in tables and "3 samples" in tables and "over 4 training" in tables
