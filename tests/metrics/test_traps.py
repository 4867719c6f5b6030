"""The known mistakes of the authors' evaluation, each with a test that fails if it is made here.

Numbers count the traps of the reference implementation; "loop" are those of its evaluation loop,
which the paper does not tell. Traps of losses, training, data and inference have their tests there.

  1     predicts with random masks: no two evaluations agree        tests/test_evaluate.py
  (..._again_agree) 3     its filter makes the deepest vertices touch and not collide
  test_a_hand_deep_in_the_head_collides... 4     compares hand keypoints in different orders
  test_a_right_network_scores_as_the_truth 5     centers truth on the deformed head
  test_a_right_network_scores_as_the_truth 6     shows the network blue-green-red
  test_the_network_sees_red_green_blue 9     ignores the confidence of keypoints
  test_undetected_keypoints_do_not_count 10    takes means of means; padding counts twice
  test_a_mean_is_over_samples_however_they_are_shared 11    leaves out item 0
  test_every_sample_is_measured_once_and_in_order 18    subtracts the deformation twice
  test_a_right_network_scores_as_the_truth 18    evaluation on its own cannot run
  tests/test_evaluate.py 19    NaN goes by without a name
  tests/test_evaluation.py loop  the per-part PVE stays 0
  test_parts_are_measured loop  the deformation error is an L1
  test_deformations_are_compared_by_distance loop  depth summed over colliding vertices, in another
  unit       test_collision_is_a_mean_over_the_hand loop  contact is told from one half, included
  test_one_half_is_contact
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import trimesh
from support import micro_run

from dice_jax import models
from dice_jax.body_models import assets
from dice_jax.body_models.flame import head_center, pose_head
from dice_jax.body_models.mano import OPENPOSE_FROM_MANO
from dice_jax.evaluation import measure as evaluation
from dice_jax.evaluation import summarize
from dice_jax.input_pipeline import loader, schema
from dice_jax.metrics import contact, interpenetration, pve
from dice_jax.structs import Camera, ContactLogits, NetworkOutput

SIZE, BATCH = 5, 8  # eight virtual devices share a batch, of which three are repeats


@pytest.fixture(scope="module")
def bodies():
    return assets.load_hand(), assets.load_head()


@pytest.fixture(scope="module")
def samples():
    """Random samples in which the skin moves by centimeters; the last two have no 3D labels."""
    rng, made = np.random.default_rng(0), [micro_run.sample(seed) for seed in range(SIZE)]
    for sample in made:
        sample["deformation_values"] = np.float16(
            30 * rng.random(sample["deformation_values"].shape)
        )
    for sample in made[3:]:
        del sample["hand_global_orient"], sample["deformation_ids"], sample["deformation_values"]
    return made


@pytest.fixture(scope="module")
def truth(bodies):
    return jax.jit(lambda batch: evaluation.true_prediction(batch, *bodies))


@pytest.fixture(scope="module")
def measure(bodies, samples):
    """Measures each of the samples; `predict` as in `measure_split`."""
    return lambda predict, samples=samples: evaluation.measure_split(
        predict, loader.sequential_batches(samples, BATCH), *bodies
    )


def shifted(truth):
    """The hand of sample i is i + 1 millimeters off."""
    offsets = (
        0.001 * np.minimum(np.arange(1, BATCH + 1), SIZE)[:, None, None] * np.float32([0, 0, 1])
    )
    return lambda batch: (answer := truth(batch)).replace(
        hand_vertices=answer.hand_vertices + offsets
    )


def right_output(batch, bodies) -> NetworkOutput:
    """What a network puts out that is right: labels, with the hand counted from the head's
    centroid.
    """
    center = head_center(pose_head(bodies[1], batch.head_params).vertices)
    logits = lambda labels: 20.0 * labels - 10.0
    return NetworkOutput(
        rough=None,
        hand_params=batch.hand_params.replace(transl=batch.hand_params.transl - center),
        head_params=batch.head_params,
        camera=Camera(jnp.full(BATCH, 500.0), jnp.full((BATCH, 2), 112.0)),
        deformations=batch.deformations,
        presence_logit=jnp.full(BATCH, 10.0),
        contact_logits=ContactLogits(
            None, logits(batch.hand_contact), None, None, logits(batch.head_contact)
        ),
    )


def test_a_right_network_scores_as_the_truth(measure, bodies):
    predict = jax.jit(
        lambda batch: models.decode(right_output(batch, bodies), *bodies, gate_by_presence=True)
    )
    result = summarize.summarize(summarize.total(measure(predict)))
    for name in ("pve_mm", "pve_hand_mm", "pve_head_mm", "mpjpe_mm", "deformation_error_moved_mm"):
        assert result[name] == pytest.approx(0, abs=2e-3), name
    assert result["contact"]["both"]["f1"] == 1

    def in_another_order(batch):
        answer = predict(batch)
        return answer.replace(
            hand_keypoints_3d=answer.hand_keypoints_3d[:, np.argsort(OPENPOSE_FROM_MANO)]
        )

    assert summarize.summarize(summarize.total(measure(in_another_order)))["mpjpe_mm"] > 1


def test_every_sample_is_measured_once_and_in_order(measure, truth):
    rows = measure(shifted(truth))
    np.testing.assert_allclose(1000 * rows.pve_hand, [1, 2, 3, 0, 0], atol=1e-3)
    np.testing.assert_array_equal(rows.frames, [1, 1, 1, 0, 0])


def test_a_mean_is_over_samples_however_they_are_shared(measure, truth):
    """Over (1, 2, 3); two devices would make it the mean of (1, 2) and 3, and padding is a repeat
    of the last.
    """
    result = summarize.summarize(summarize.total(measure(shifted(truth))))
    assert result["pve_hand_mm"] == pytest.approx(2, rel=1e-3)
    assert result["frames"] == 3


def test_parts_are_measured(measure, truth):
    result = summarize.summarize(summarize.total(measure(shifted(truth))))
    assert result["pve_head_mm"] == pytest.approx(0, abs=1e-4)
    assert result["pve_mm"] == pytest.approx(2 * 778 / 5801, rel=1e-3)


def test_the_network_sees_red_green_blue(measure, samples, truth):
    red = np.zeros((224, 224, 3), np.uint8)
    red[..., 0] = 200
    seen = []
    measure(
        lambda batch: seen.append(batch.images) or truth(batch),
        [samples[0] | {"image": schema.encode_image(red)}],
    )
    np.testing.assert_allclose(seen[0].mean((0, 1, 2)), [200, 0, 0], atol=3)


def test_undetected_keypoints_do_not_count(measure, samples, truth):
    keypoints = samples[0]["hand_keypoints_2d"].copy()
    keypoints[3:9] = [np.nan, 1e6, 0]
    keypoints[9:, 2] = 0.5
    told = {"hand_keypoints_2d": keypoints}

    def off(batch):
        """6 px at every detected keypoint of confidence 1, none at those of 0.5, anything where
        nothing is detected.
        """
        answer, pixels = truth(batch), np.nan_to_num(batch.hand_keypoints_2d[..., :2])
        pixels[:, :3, 0] += 6
        return answer.replace(hand_keypoints_2d=pixels)

    result = summarize.summarize(summarize.total(measure(off, [samples[0] | told])))
    assert result["keypoints_2d_error_hand_px"] == pytest.approx(6 * 3 / (3 + 12 * 0.5), rel=1e-4)


def test_a_hand_deep_in_the_head_collides_and_does_not_touch_unless_filtered_as_by_the_authors(rng):
    ball = trimesh.creation.icosphere(2, 0.1)
    deep = 0.01 * rng.normal(size=(20, 3))  # 5 cm and more from the skin
    measure = jax.jit(
        interpenetration.hand_signed_distance, static_argnames="reference_leak_filter"
    )
    for filtered in (False, True):
        depths = measure(
            np.float32(deep),
            np.float32(ball.vertices),
            ball.faces,
            ball.faces,
            reference_leak_filter=filtered,
        )
        result = interpenetration.interpenetration(depths)
        assert bool(result.non_colliding) == bool(result.touching) == filtered
        assert (result.collision_distance == 0) == filtered


def test_collision_is_a_mean_over_the_hand(measure, truth):
    """One of four vertices is 20 mm deep: 5 mm, as the other three count with 0; then a mean over
    the samples.
    """
    result = interpenetration.interpenetration(jnp.array([0.02, -0.1, -0.1, -0.1]))
    assert float(result.collision_distance) == pytest.approx(0.005)
    rows = measure(truth)
    summary = summarize.summarize(
        summarize.total(rows.replace(collision_distance=np.float32([5e-3, 0, 1e-3, 0, 0])))
    )
    assert summary["collision_distance_mm"] == pytest.approx(2)


def test_deformations_are_compared_by_distance():
    target = np.float32([[[0.006, 0, 0], [0, 0, 0]]])
    error, moved_error, moved = pve.deformation_error(
        target + np.float32([0.003, 0, 0.004]), target
    )
    assert (
        float(error[0]) == float(moved_error[0]) == pytest.approx(0.005)
    )  # an L1 would say 7 mm, or a third of it
    assert moved[0] == 1


def test_one_half_is_contact(measure, samples, truth):
    sure = lambda batch: (answer := truth(batch)).replace(
        hand_contact_probs=0.5 * answer.hand_contact_probs
    )
    assert summarize.summarize(summarize.total(measure(sure)))["contact"]["hand"]["f1"] == 1
    assert contact.THRESHOLD == 0.5
