"""Whole evaluations: of the truth, of the truth with noise, of a constant; over batches and
devices.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support import metric_oracles as oracles
from support import micro_run
from support.metric_oracles import flat

from dice_jax import models
from dice_jax.body_models import assets
from dice_jax.errors import UserError
from dice_jax.evaluation import measure
from dice_jax.input_pipeline import loader, schema

SIZE, BATCH = 5, 8  # the batch is ragged, and shared by eight virtual devices
POINTS = (
    "hand_vertices",
    "head_vertices",
    "deformed_head_vertices",
    "deformations",
    "hand_keypoints_3d",
    "head_keypoints_3d",
)


@pytest.fixture(scope="module")
def bodies():
    return assets.load_hand(), assets.load_head()


@pytest.fixture(scope="module")
def source(bodies):
    """Random samples, the hand moved before the face: at a distance, at the skin, and ever deeper
    in it.
    """
    samples = [micro_run.sample(i) for i in range(SIZE)]
    batch = loader.collate([schema.decode(sample) for sample in samples])
    hands = np.asarray(models.pose_targets(batch, *bodies).hand_vertices)
    for sample, hand, before in zip(samples, hands, (0.25, 0.16, 0.13, 0.11, 0.05)):
        sample["hand_transl"] = np.float32(sample["hand_transl"] - hand.mean(0) - [0, 0, before])
    return samples


@pytest.fixture
def batches(source):
    return lambda size=BATCH: loader.sequential_batches(source, size)


@pytest.fixture(scope="module")
def mean(source, bodies):
    return measure.mean_prediction(loader.sequential_batches(source, BATCH), *bodies)


@pytest.fixture(scope="module")
def truth(bodies):
    return jax.jit(lambda batch: measure.true_prediction(batch, *bodies))


@pytest.fixture(scope="module")
def whole(source, bodies):
    """All samples as (truth, targets, batch), as the oracle takes them."""
    ((batch, _),) = loader.sequential_batches(source, SIZE)
    answer, targets = measure.true_prediction(batch, *bodies), models.pose_targets(batch, *bodies)
    return *jax.device_get((answer, targets)), batch


def repeat(answer):
    return lambda batch: jax.tree.map(
        lambda x: jnp.broadcast_to(x, (len(batch.images), *x.shape)), answer
    )


def test_truth_scores_as_truth_and_where_that_is_not_perfect_as_its_own_floor(
    truth, batches, bodies, whole
):
    """Some hands reach into heads: that collides though it is true, and a prediction of it can
    score no better.
    """
    summary = measure.evaluate(truth, batches(), *bodies)
    assert summary["frames"] == SIZE
    floors = ("collision_distance_mm", "non_collision_ratio", "f_score")
    for name, value in flat(summary).items():
        if name not in floors:
            perfect = 0.0 if name.endswith(("_mm", "_px")) else 1.0
            assert value == pytest.approx(perfect, abs=1e-3), name
    pairs = zip(whole[0].hand_vertices, whole[0].deformed_head_vertices)
    depths = np.stack([oracles.signed_distance(hand, head, bodies[1]) for hand, head in pairs])
    free = np.mean(depths.max(-1) < 0.005)
    assert 0 < free < 1
    assert summary["non_collision_ratio"] == pytest.approx(free)
    assert summary["collision_distance_mm"] == pytest.approx(
        1000 * np.maximum(depths, 0).mean(), rel=1e-4
    )
    assert summary["f_score"] == pytest.approx(2 * free / (1 + free))


def test_five_millimeters_of_noise_measure_five_millimeters(truth, batches, bodies, whole):
    """Every point is moved by exactly 5 mm in a random direction: every distance is 5 mm, whatever
    the direction.

    Aligned errors are a little smaller. The similarity takes up 7 of the 3 n degrees of freedom of
    n points, and its scale shrinks what the noise has blown up: with points at r millimeters (root
    mean square) from their center, by r^2 / (r^2 + 25).
    """

    def noisy(batch):
        rng = np.random.default_rng(0)

        def push(x):
            direction = rng.normal(size=x.shape)
            return np.float32(
                x + 0.005 * direction / np.linalg.norm(direction, axis=-1, keepdims=True)
            )

        answer = truth(batch)
        return answer.replace(**{name: push(np.asarray(getattr(answer, name))) for name in POINTS})

    summary = measure.evaluate(noisy, batches(), *bodies)
    exact = (
        "pve_mm",
        "pve_hand_mm",
        "pve_head_mm",
        "mpjpe_mm",
        "deformation_error_mm",
        "deformation_error_moved_mm",
    )
    for name in exact:
        assert summary[name] == pytest.approx(5, rel=1e-4), name
    t = whole[0]
    for name, parts in {
        "pa_pve_mm": (t.hand_vertices, t.deformed_head_vertices),
        "pa_pve_hand_mm": (t.hand_vertices,),
        "pa_pve_head_mm": (t.deformed_head_vertices,),
        "pa_mpjpe_mm": (t.hand_keypoints_3d, t.head_keypoints_3d),
    }.items():
        points = 1000 * np.concatenate(parts, axis=1)
        spread = np.square(points - points.mean(1, keepdims=True)).sum(-1).mean(1)
        expected = 5 * np.sqrt((1 - 7 / (3 * points.shape[1])) * spread / (spread + 25)).mean()
        assert summary[name] == pytest.approx(expected, rel=2e-3), name
        assert summary[name] < 5, name
    assert summary["keypoints_2d_error_px"] == 0 and summary["contact"]["both"]["f1"] == 1


def test_gaussian_noise_measures_its_mean_length(truth, batches, bodies):
    """The length of a normal vector with deviation s along each axis has the mean s sqrt(8 / pi)."""
    rng = np.random.default_rng(1)
    noise = 0.005 * rng.normal(size=(BATCH, 778, 3)).astype(np.float32)
    shaken = lambda batch: (answer := truth(batch)).replace(
        hand_vertices=answer.hand_vertices + noise
    )
    summary = measure.evaluate(shaken, batches(), *bodies)
    assert summary["pve_hand_mm"] == pytest.approx(5 * np.sqrt(8 / np.pi), rel=0.02)
    assert summary["pve_mm"] == pytest.approx(summary["pve_hand_mm"] * 778 / 5801, rel=1e-3)


def test_a_constant_answer_scores_what_numpy_says(mean, batches, bodies, whole):
    summary = measure.evaluate(repeat(mean), batches(), *bodies)
    _, targets, batch = whole
    expected = oracles.figures(jax.device_get(repeat(mean)(batch)), targets, batch, bodies[1])
    assert None not in flat(expected).values()
    assert flat(summary) == pytest.approx(flat(expected), rel=1e-3, abs=1e-5)


def test_mean_prediction_is_the_mean_of_every_sample_once(mean, whole):
    for name in (
        "hand_vertices",
        "deformed_head_vertices",
        "head_keypoints_3d",
        "deformations",
        "hand_contact_probs",
    ):
        expected = np.mean(getattr(whole[0], name), axis=0)
        np.testing.assert_allclose(getattr(mean, name), expected, atol=1e-5, err_msg=name)


def test_no_constant_answer_is_closer_in_the_square_than_the_mean(whole, mean, rng):
    error = lambda answer: np.square(whole[0].hand_vertices - answer).sum()
    for _ in range(5):
        assert error(mean.hand_vertices) < error(
            mean.hand_vertices + rng.normal(size=(778, 3)) * 1e-3
        )


def test_figures_do_not_depend_on_batches_nor_devices(batches, bodies, mean):
    """Eight virtual devices share a batch of 8, of which 3 are repeats; a batch of 5 is not to be
    shared evenly.
    """
    used = []

    def spy(batch):
        halves = measure.on_local_devices(_half, (), batch.images)
        used.append(len(halves.sharding.device_set))
        return repeat(mean)(batch)

    one, eight = (measure.measure_split(spy, batches(size), *bodies) for size in (5, 8))
    assert used == [1, 8]
    for (path, expected), other in zip(jax.tree.leaves_with_path(one), jax.tree.leaves(eight)):
        assert len(expected) == SIZE
        np.testing.assert_allclose(
            other, expected, rtol=1e-4, atol=1e-6, err_msg=jax.tree_util.keystr(path)
        )


def _half(shared, images):
    return images // 2


def test_empty_split_is_one_clear_line(bodies):
    with pytest.raises(UserError, match="empty"):
        measure.evaluate(None, [], *bodies)


def test_an_answer_that_is_not_finite_is_told_and_not_averaged(truth, batches, bodies):
    def broken(batch):
        answer = truth(batch)
        return answer.replace(hand_vertices=answer.hand_vertices.at[1].set(jnp.nan))

    with pytest.raises(UserError, match="sample 1 is not finite"):
        measure.evaluate(broken, batches(), *bodies)
