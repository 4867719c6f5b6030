import numpy as np

from dice_jax.evaluation import reference_predictions


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


def test_no_other_constant_has_a_smaller_squared_error_than_the_mean(whole, mean, rng):
    error = lambda constant: np.square(whole[0].hand_vertices - np.asarray(constant)).sum()
    for _ in range(5):
        other = mean.hand_vertices + rng.normal(size=(778, 3)) * 1e-3
        assert error(mean.hand_vertices) < error(other)


def test_repeat_gives_the_same_prediction_for_each_image(mean):
    repeated = reference_predictions.repeat(mean, 3)
    assert repeated.hand_vertices.shape == (3, 778, 3)
    np.testing.assert_array_equal(repeated.hand_vertices[2], mean.hand_vertices)
