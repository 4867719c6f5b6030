"""Whole evaluations of predictions whose metrics are known, over batches and devices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support import metric_oracles
from support.metric_oracles import flat

from dice_jax import models
from dice_jax.body_models.flame import head_center, pose_head
from dice_jax.body_models.mano import OPENPOSE_FROM_MANO
from dice_jax.constants import CROP_SIZE
from dice_jax.errors import UserError
from dice_jax.evaluation import measure, reference_predictions, summarize
from dice_jax.input_pipeline import schema
from dice_jax.structs import Camera, ContactLogits, NetworkOutput, RoughMeshes
from dice_jax.training.data_parallel import on_local_devices

POINTS = (
    "hand_vertices",
    "head_vertices",
    "deformed_head_vertices",
    "deformations",
    "hand_keypoints_3d",
    "head_keypoints_3d",
)


@pytest.fixture(scope="module")
def summary_of(read_batches, bodies):
    """Summarizes the predictions of a function over all samples, or over `samples`."""
    return lambda predict, **options: measure.summarize_split(
        predict, read_batches(**options), *bodies
    )


@pytest.fixture(scope="module")
def partly_labeled(source):
    """The samples, of which the last two have no 3D labels and no deformations."""
    absent = ("hand_global_orient", "deformation_ids", "deformation_values")
    without = lambda sample: {key: x for key, x in sample.items() if key not in absent}
    return [*source[:3], *map(without, source[3:])]


@pytest.fixture(scope="module")
def shifted(partly_labeled, perfect, read_batches, bodies):
    """Measured samples whose predicted hands are off by 1, 2, 3, 4 and 5 mm, in this order."""

    def predict(batch):
        prediction = perfect(batch)
        offsets = 0.001 * np.minimum(np.arange(1, len(batch.images) + 1), 5)
        offsets = np.float32(offsets[:, None, None] * [0, 0, 1])
        return prediction.replace(hand_vertices=prediction.hand_vertices + offsets)

    return measure.measure_split(predict, read_batches(samples=partly_labeled), *bodies)


def correct_output(batch, bodies) -> NetworkOutput:
    """The network output that decodes to the ground truth; the hand is relative to the head."""
    size = len(batch.images)
    center = head_center(pose_head(bodies[1], batch.head_params).vertices)
    logits = lambda labels: 20.0 * labels - 10.0
    zeros = lambda *shape: jnp.zeros((size, *shape))
    meshes = (zeros(count, 3) for count in (21, 68, 195, 778, 559, 1675, 5023))
    return NetworkOutput(
        rough=RoughMeshes(*meshes),
        hand_params=batch.hand_params.replace(transl=batch.hand_params.transl - center),
        head_params=batch.head_params,
        camera=Camera(jnp.full(size, 500.0), jnp.full((size, 2), CROP_SIZE / 2)),
        deformations=jnp.asarray(batch.deformations),
        presence_logit=jnp.full(size, 10.0),
        contact_logits=ContactLogits(
            zeros(195),
            logits(batch.hand_contact),
            zeros(559),
            zeros(1675),
            logits(batch.head_contact),
        ),
    )


def test_the_ground_truth_scores_perfectly_except_for_its_own_collisions(
    perfect, summary_of, bodies, whole
):
    """Some true hands reach into heads, so a perfect prediction collides as well."""
    summary = summary_of(perfect)
    assert summary["frames"] == len(whole[2].images)
    imperfect = ("collision_distance_mm", "non_collision_ratio", "f_score")
    for name, value in flat(summary).items():
        if name not in imperfect:
            best = 0.0 if name.endswith(("_mm", "_px", "calibration_error")) else 1.0
            # Probabilities of 0 and 1 count as those of the middle of their bin.
            assert value == pytest.approx(best, abs=3e-3 if "calibration" in name else 1e-3), name
    pairs = zip(whole[0].hand_vertices, whole[0].deformed_head_vertices)
    depths = np.stack([metric_oracles.signed_distance(*pair, bodies[1]) for pair in pairs])
    free = np.mean(depths.max(-1) < 0.005)
    assert 0 < free < 1
    assert summary["non_collision_ratio"] == pytest.approx(free)
    expected = 1000 * np.maximum(depths, 0).mean()
    assert summary["collision_distance_mm"] == pytest.approx(expected, rel=1e-4)
    assert summary["f_score"] == pytest.approx(2 * free / (1 + free))


def test_a_correct_network_output_scores_perfectly(summary_of, bodies):
    """The deformation is subtracted once, and labels are centered on the undeformed head."""

    @jax.jit
    def predict(batch):
        return models.decode(correct_output(batch, bodies), *bodies, gate_by_presence=True)

    summary = summary_of(predict)
    for name in ("pve_mm", "pve_hand_mm", "pve_head_mm", "mpjpe_mm", "deformation_error_moved_mm"):
        assert summary[name] == pytest.approx(0, abs=2e-3), name
    assert summary["contact"]["both"]["f1"] == 1


def test_hand_keypoints_in_the_order_of_mano_are_an_error(perfect, summary_of):
    """Predictions and labels must have the same keypoint order, that of OpenPose."""

    def predict(batch):
        prediction = perfect(batch)
        mano_order = prediction.hand_keypoints_3d[:, np.argsort(OPENPOSE_FROM_MANO)]
        return prediction.replace(hand_keypoints_3d=mano_order)

    assert summary_of(predict)["mpjpe_mm"] > 1


def test_five_millimeters_of_noise_measure_five_millimeters(perfect, summary_of, whole):
    """Each point is moved by exactly 5 mm in a random direction.

    Aligned errors are a little smaller: the similarity takes up 7 of the 3 n degrees of freedom of
    n points, and its scale undoes the growth of the point set by r^2 / (r^2 + 25), where r is the
    root mean square distance of the points to their center in mm.
    """

    def noisy(batch):
        rng = np.random.default_rng(0)

        def push(x):
            direction = rng.normal(size=x.shape)
            unit = direction / np.linalg.norm(direction, axis=-1, keepdims=True)
            return np.float32(x + 0.005 * unit)

        prediction = perfect(batch)
        pushed = {name: push(np.asarray(getattr(prediction, name))) for name in POINTS}
        return prediction.replace(**pushed)

    summary = summary_of(noisy)
    for name in (
        "pve_mm",
        "pve_hand_mm",
        "pve_head_mm",
        "mpjpe_mm",
        "deformation_error_mm",
        "deformation_error_moved_mm",
    ):
        assert summary[name] == pytest.approx(5, rel=1e-4), name
    p = whole[0]
    for name, parts in {
        "pa_pve_mm": (p.hand_vertices, p.deformed_head_vertices),
        "pa_pve_hand_mm": (p.hand_vertices,),
        "pa_pve_head_mm": (p.deformed_head_vertices,),
        "pa_mpjpe_mm": (p.hand_keypoints_3d, p.head_keypoints_3d),
    }.items():
        points = 1000 * np.concatenate(parts, axis=1)
        spread = np.square(points - points.mean(1, keepdims=True)).sum(-1).mean(1)
        expected = 5 * np.sqrt((1 - 7 / (3 * points.shape[1])) * spread / (spread + 25)).mean()
        assert summary[name] == pytest.approx(expected, rel=2e-3), name
        assert summary[name] < 5, name
    assert summary["keypoints_2d_error_px"] == 0
    assert summary["contact"]["both"]["f1"] == 1


def test_gaussian_noise_measures_its_mean_length(perfect, summary_of):
    """A normal vector with deviation s along each axis has the mean length s sqrt(8 / pi)."""

    def noisy(batch):
        prediction = perfect(batch)
        rng = np.random.default_rng(1)
        noise = 0.005 * rng.normal(size=prediction.hand_vertices.shape).astype(np.float32)
        return prediction.replace(hand_vertices=prediction.hand_vertices + noise)

    summary = summary_of(noisy)
    assert summary["pve_hand_mm"] == pytest.approx(5 * np.sqrt(8 / np.pi), rel=0.02)
    assert summary["pve_mm"] == pytest.approx(summary["pve_hand_mm"] * 778 / 5801, rel=1e-3)


def test_metrics_of_the_mean_prediction_equal_the_oracle(mean, summary_of, bodies, whole):
    predict = lambda batch: reference_predictions.repeat(mean, len(batch.images))
    _, targets, batch = whole
    prediction = jax.device_get(predict(batch))
    expected = flat(metric_oracles.metrics(prediction, targets, batch, bodies[1]))
    assert None not in expected.values()
    assert flat(summary_of(predict)) == pytest.approx(expected, rel=1e-3, abs=1e-5)


def test_every_sample_is_measured_once_and_in_order(shifted):
    """No sample is skipped, and the repeats that fill up the last batch are left out."""
    np.testing.assert_allclose(1000 * shifted.pve_hand, [1, 2, 3, 0, 0], atol=1e-3)
    np.testing.assert_array_equal(shifted.frames, [1, 1, 1, 0, 0])


def test_the_mean_is_over_samples_and_not_over_batches_or_devices(shifted):
    """The mean of 1, 2 and 3 mm is 2 mm, however samples are distributed and padded."""
    summary = summarize.summarize(summarize.total(shifted))
    assert summary["pve_hand_mm"] == pytest.approx(2, rel=1e-3)
    assert summary["frames"] == 3


def test_errors_of_hand_and_head_are_measured_separately(shifted):
    summary = summarize.summarize(summarize.total(shifted))
    assert summary["pve_head_mm"] == pytest.approx(0, abs=1e-4)
    assert summary["pve_mm"] == pytest.approx(2 * 778 / 5801, rel=1e-3)


def test_the_network_receives_rgb_images(source, perfect, summary_of):
    red = np.zeros((CROP_SIZE, CROP_SIZE, 3), np.uint8)
    red[..., 0] = 200
    images = []

    def predict(batch):
        images.append(batch.images)
        return perfect(batch)

    summary_of(predict, samples=[source[0] | {"image": schema.encode_image(red)}])
    np.testing.assert_allclose(images[0].mean((0, 1, 2)), [200, 0, 0], atol=3)


def test_image_errors_are_weighted_by_the_confidence_of_each_keypoint(source, perfect, summary_of):
    """3 keypoints of confidence 1 are 6 px off, 6 are not detected, 12 of confidence 0.5 match."""
    keypoints = source[0]["hand_keypoints_2d"].copy()
    keypoints[3:9] = [np.nan, 1e6, 0]
    keypoints[9:, 2] = 0.5

    def predict(batch):
        pixels = np.nan_to_num(batch.hand_keypoints_2d[..., :2])
        pixels[:, :3, 0] += 6
        return perfect(batch).replace(hand_keypoints_2d=pixels)

    summary = summary_of(predict, samples=[source[0] | {"hand_keypoints_2d": keypoints}])
    expected = 6 * 3 / (3 + 12 * 0.5)
    assert summary["keypoints_2d_error_hand_px"] == pytest.approx(expected, rel=1e-4)


def test_a_probability_of_one_half_is_contact(perfect, summary_of):
    def predict(batch):
        prediction = perfect(batch)
        return prediction.replace(hand_contact_probs=0.5 * prediction.hand_contact_probs)

    assert summary_of(predict)["contact"]["hand"]["f1"] == 1


def test_metrics_do_not_depend_on_batches_or_devices(read_batches, bodies, mean, whole):
    """Eight virtual devices share a batch of 8; a batch of 5 runs on one device."""
    used = []

    def predict(batch):
        halves = on_local_devices(_half, (), batch.images)
        used.append(len(halves.sharding.device_set))
        return reference_predictions.repeat(mean, len(batch.images))

    one, eight = (measure.measure_split(predict, read_batches(size), *bodies) for size in (5, 8))
    assert used == [1, 8]
    for (path, expected), other in zip(jax.tree.leaves_with_path(one), jax.tree.leaves(eight)):
        assert len(expected) == len(whole[2].images)
        name = jax.tree_util.keystr(path)
        np.testing.assert_allclose(other, expected, rtol=1e-4, atol=1e-6, err_msg=name)


def _half(shared, images):
    del shared
    return images // 2


def test_an_empty_split_is_a_one_line_error(bodies, perfect):
    with pytest.raises(UserError, match="the split to evaluate is empty"):
        measure.summarize_split(perfect, [], *bodies)


def test_a_prediction_that_is_not_finite_is_an_error_that_names_the_sample(perfect, summary_of):
    def predict(batch):
        prediction = perfect(batch)
        return prediction.replace(hand_vertices=prediction.hand_vertices.at[1].set(jnp.nan))

    with pytest.raises(UserError, match="sample 1 is not finite"):
        summary_of(predict)
