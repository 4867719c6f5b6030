import jax
import numpy as np
from support import micro_run

from dice_jax.evaluation import mean_file, reference_predictions
from dice_jax.input_pipeline import loader


def test_mean_prediction_averages_every_sample_once(mean, whole):
    """The repeats that fill up the last batch must not count."""
    for name in (
        "hand_vertices",
        "deformed_head_vertices",
        "head_keypoints_3d",
        "deformations",
        "hand_contact_probs",
    ):
        expected = np.mean(getattr(whole[0], name), axis=0)
        np.testing.assert_allclose(getattr(mean, name), expected, atol=1e-5, err_msg=name)


def test_samples_without_a_label_do_not_move_its_mean(bodies, rng):
    """A picture without a hand has no hand in it, wherever its zero parameters would put one."""
    samples = [micro_run.sample(seed) for seed in range(4)]
    ((batch, valid),) = loader.sequential_batches(samples, 4)
    whole = reference_predictions.mean_prediction([(batch, valid)], *bodies)
    without = np.float32([1, 1, 1, 0])
    far = jax.tree.map(lambda x: x + 50 * (1 - without.reshape(-1, 1)), batch.hand_params)
    confidences = batch.hand_keypoints_2d * without.reshape(-1, 1, 1)
    absent = batch.replace(
        hand_params=far, hand_keypoints_2d=confidences, has_3d=without, has_contact=without
    )
    mean = reference_predictions.mean_prediction([(absent, valid)], *bodies)
    first = jax.tree.map(lambda x: x[:3], batch)
    expected = reference_predictions.mean_prediction([(first, valid[:3])], *bodies)
    for name in ("hand_vertices", "head_vertices", "hand_contact_probs", "hand_keypoints_2d"):
        np.testing.assert_allclose(getattr(mean, name), getattr(expected, name), atol=1e-4)
    np.testing.assert_allclose(mean.deformations, whole.deformations, atol=1e-6)


def test_the_mean_is_the_same_after_a_file(mean, tmp_path):
    path = tmp_path / mean_file.FILE
    mean_file.save(path, mean, "data 1.0", 7)
    loaded, count = mean_file.load(path, "data 1.0")
    assert count == 7
    jax.tree.map(np.testing.assert_array_equal, loaded, mean)
    assert mean_file.load(path, "data 2.0") is None
    assert mean_file.load(tmp_path / "none.npz", "data 1.0") is None


def test_no_other_constant_has_a_smaller_squared_error_than_the_mean(whole, mean, rng):
    error = lambda constant: np.square(whole[0].hand_vertices - np.asarray(constant)).sum()
    for _ in range(5):
        other = mean.hand_vertices + rng.normal(size=(778, 3)) * 1e-3
        assert error(mean.hand_vertices) < error(other)


def test_repeat_gives_the_same_prediction_for_each_image(mean):
    repeated = reference_predictions.repeat(mean, 3)
    assert repeated.hand_vertices.shape == (3, 778, 3)
    np.testing.assert_array_equal(repeated.hand_vertices[2], mean.hand_vertices)
