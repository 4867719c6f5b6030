"""The objective as a whole, on the open body models."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support import loss_scenes

from dice_jax.losses import presets
from dice_jax.losses.total import (
    AFTER_BURN_IN,
    PARTS,
    active_parts,
    center_on_head,
    generator_loss,
    total,
)

WEIGHTS = presets.FIXED
LABEL_MASKS = ("has_2d", "has_3d", "has_params", "has_contact", "has_deformations", "has_depth")
# Not 0 for a perfect network: these compare the scene with itself or the skin with the joints below
# it, and the prior and the adversaries do not know the truth.
FLOORS = {"touch", "collision", "depth", "deformation_prior", "adversarial", "reprojection"}


@pytest.fixture(scope="module")
def evaluate():
    """((loss, parts), gradients of output and prediction) of a scene; compiled once for all tests
    of this file.
    """

    def objective(outputs, targets, batch, hand_model, head_model, burn_in):
        return generator_loss(
            *outputs,
            targets,
            batch,
            hand_model,
            head_model,
            WEIGHTS,
            burn_in=burn_in,
            fake_logits=(jnp.zeros(8), jnp.ones(8)),
        )

    compiled = jax.jit(jax.value_and_grad(objective, has_aux=True))

    def evaluate(output, prediction, targets, batch, hand_model, head_model, burn_in=False):
        return compiled(
            (output, prediction), targets, batch, hand_model, head_model, jnp.array(burn_in)
        )

    return evaluate


@pytest.fixture(scope="module")
def parts_of(evaluate):
    return lambda *scene, **options: {
        name: float(part) for name, part in evaluate(*scene, **options)[0][1].items()
    }


@pytest.fixture(scope="module")
def right(labels, hand_model, head_model):
    batch, targets, camera = labels
    outputs = jax.device_get(loss_scenes.perfect(batch, targets, camera, hand_model, head_model))
    return *outputs, targets, batch, hand_model, head_model


@pytest.fixture(scope="module")
def wrong(right):
    output, prediction, *rest, hand_model, head_model = right
    outputs = loss_scenes.perturb(
        np.random.default_rng(1), output, prediction, hand_model, head_model
    )
    return *jax.device_get(outputs), *rest, hand_model, head_model


def test_a_perfect_network_pays_nothing(parts_of, right):
    parts = parts_of(*right)
    for name in set(parts) - FLOORS:
        assert parts[name] == pytest.approx(0, abs=2e-6), name
    # Joints regressed from a bent hand's mesh are not quite the joints of its skeleton: a third of
    # a pixel here.
    assert parts["reprojection"] < 4 * 0.33 / 224


@pytest.mark.parametrize("part", ["hand_keypoints", "head_keypoints"])
def test_keypoints_have_one_order(parts_of, right, part):
    """Trap 4: the released code compares the hand's rough keypoints in one order with labels in
    another.
    """
    output, *rest = right
    swapped = output.replace(
        rough=output.rough.replace(**{part: getattr(output.rough, part)[:, ::-1]})
    )
    parts = parts_of(swapped, *rest)
    assert parts["keypoints"] > 0.05 and parts["reprojection"] > 10 / 224


def test_a_wrong_network_pays_for_everything(parts_of, wrong):
    batch = wrong[3].replace(has_deformations=np.float32(np.arange(8) == 0))
    parts = parts_of(*wrong[:3], batch, *wrong[4:])
    assert set(parts) == set(PARTS) - {"heatmaps"}
    for name in set(parts) - {"collision"}:
        assert parts[name] > 1e-6, name


def test_the_total_is_the_paper_s_sum(evaluate, parts_of, wrong):
    p = parts_of(*wrong)
    mesh = (
        p["reprojection"]
        + 4 * (4 * p["rough_vertices"] + p["vertices"])
        + 2 * p["keypoints"]
        + 2 * p["params"]
    )
    interaction = (
        0.2 * p["touch"]
        + 0.6 * p["contact"]
        + p["collision"]
        + 6 * p["deformation"]
        + WEIGHTS.presence * p["presence"]
        + WEIGHTS.deformation_prior * p["deformation_prior"]
    )
    expected = 12.5 * mesh + 5 * interaction + p["adversarial"] + 2.5 * p["depth"]
    assert float(evaluate(*wrong)[0][0]) == pytest.approx(expected, rel=1e-5)
    assert p["adversarial"] == pytest.approx(np.log(2) + np.log1p(np.exp(-1)), rel=1e-5)


def test_a_part_of_weight_zero_is_not_there():
    assert set(active_parts(presets.PAPER)) == set(PARTS) - {
        "heatmaps",
        "presence",
        "deformation_prior",
    }
    assert "adversarial" not in active_parts(WEIGHTS, with_adversarial=False)
    off = dataclasses.replace(WEIGHTS, mesh=0.0, touch=0.0, depth=0.0)
    assert set(active_parts(off)) == {
        "contact",
        "collision",
        "deformation",
        "presence",
        "deformation_prior",
        "adversarial",
    }
    assert total({}, WEIGHTS) == 0


@pytest.mark.parametrize("preset", ["paper", "release"])
def test_other_presets_run_and_are_finite(wrong, preset):
    value, parts = jax.eval_shape(lambda *a: generator_loss(*a, presets.PRESETS[preset]), *wrong)
    assert value.shape == () and set(parts) == set(
        active_parts(presets.PRESETS[preset], with_adversarial=False)
    )


def test_burn_in_turns_off_what_needs_good_meshes(parts_of, wrong):
    before, after = parts_of(*wrong, burn_in=True), parts_of(*wrong)
    for name in before:
        assert before[name] == pytest.approx(
            0.0 if name in AFTER_BURN_IN else after[name], rel=1e-5
        ), name
    assert after["depth"] > 0 and after["touch"] > 0


def test_absent_labels_have_no_influence_even_if_nan(evaluate, wrong):
    output, prediction, targets, batch, *bodies = wrong
    absent = np.arange(8) % 2 == 1
    spoil = lambda x: np.where(absent.reshape(-1, *[1] * (x.ndim - 1)), np.float32(np.nan), x)
    blank = batch.replace(**{name: np.float32(~absent) for name in LABEL_MASKS})
    labels = [
        field.name
        for field in dataclasses.fields(batch)
        if field.name not in (*LABEL_MASKS, "images")
    ]
    spoiled = blank.replace(**{name: jax.tree.map(spoil, getattr(blank, name)) for name in labels})
    clean = evaluate(output, prediction, targets, blank, *bodies)
    dirty = evaluate(output, prediction, jax.tree.map(spoil, targets), spoiled, *bodies)
    jax.tree.map(np.testing.assert_array_equal, clean, dirty)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(dirty))
    # Rough meshes are taught by labels alone; touch, collision and the prior see the refined ones.
    gradient = dirty[1][0].rough.hand_vertices
    np.testing.assert_array_equal(gradient[1::2], 0)
    assert (np.abs(gradient[::2]).max((1, 2)) > 0).all()


def test_images_without_3d_are_taught_by_the_scene_and_the_prior(parts_of, wrong):
    batch = wrong[3].replace(**{name: np.zeros(8, np.float32) for name in LABEL_MASKS})
    parts = parts_of(*wrong[:3], batch, *wrong[4:])
    taught = {name for name, value in parts.items() if value != 0}
    assert taught - {"collision"} == {"touch", "adversarial", "deformation_prior"}


def test_rough_meshes_are_compared_in_their_own_head_centerd_frame(parts_of, wrong):
    """Trap 5: both sides are centerd on the UNDEFORMED head; where the network puts the scene does
    not matter.
    """
    output, *rest = wrong
    moved = jax.tree.map(lambda x: x + np.float32([0.3, -0.2, 1.0]), output.rough)
    expected, actual = parts_of(output, *rest), parts_of(output.replace(rough=moved), *rest)
    for name in expected:
        assert actual[name] == pytest.approx(expected[name], rel=1e-4), name
    np.testing.assert_allclose(center_on_head(moved).head_vertices.mean(1), 0, atol=1e-5)


def test_a_dent_in_the_ground_truth_does_not_move_it(parts_of, right):
    """Trap 5: a one-sided deformation shifts the mean of the deformed head, but no vertex or
    keypoint of the target.
    """
    output, prediction, targets, *rest = right
    dent = np.where(np.arange(5023)[:, None] < 500, np.float32(0.02), np.float32(0))
    dented = targets.replace(deformed_head_vertices=targets.deformed_head_vertices + dent)
    assert parts_of(output, prediction, dented, *rest) == parts_of(*right)


def test_heatmaps_are_a_part_for_networks_that_have_them(wrong):
    off = {
        name: 0.0
        for name in ("reprojection", "vertices", "keypoints", "params", "interaction", "depth")
    }
    weights = presets.LossWeights(**off, heatmaps=0.1)
    output, *rest = wrong
    with pytest.raises(
        ValueError, match=r"losses\.heatmaps wants a network with model\.fine_features"
    ):
        generator_loss(output, *rest, weights)
    blank = output.replace(heatmaps=np.zeros((8, 28, 28, 89), np.float32))
    loss, parts = jax.jit(lambda output: generator_loss(output, *rest, weights))(blank)
    seen = np.concatenate([rest[2].hand_keypoints_2d, rest[2].head_keypoints_2d], axis=1)[
        ..., 2
    ].sum(1)
    assert parts["heatmaps"] == pytest.approx(
        np.log(784) * (seen / np.maximum(seen, 1)).mean(), rel=1e-5
    )
    assert loss == pytest.approx(12.5 * 0.1 * float(parts["heatmaps"]), rel=1e-5)


@pytest.mark.parametrize("part", ["hand", "head"])
def test_depth_compares_each_keypoint_with_its_own_label(parts_of, right, part):
    batch, name = right[3], f"{part}_keypoints_depth"
    shuffled = batch.replace(**{name: getattr(batch, name)[:, ::-1]})
    assert parts_of(*right[:3], shuffled, *right[4:])["depth"] > 1.2 * parts_of(*right)["depth"]


def test_eight_devices_agree_with_one(evaluate, wrong):
    """Trap 10, with labels spread unevenly over the devices; the parts that render and collide are
    left out for time.
    """
    weights = dataclasses.replace(WEIGHTS, touch=0.0, collision=0.0, depth=0.0)
    output, prediction, targets, batch, hand_model, head_model = wrong
    batch = batch.replace(
        has_3d=np.float32([1, 0, 0, 1, 0, 0, 0, 1]),
        has_contact=np.arange(8) % np.float32(2),
        has_deformations=np.float32([1, 0, 0, 0, 0, 0, 0, 0]),
    )
    (_, expected), _ = evaluate(output, prediction, targets, batch, hand_model, head_model)

    def on_device(output, prediction, targets, batch):
        return generator_loss(
            output, prediction, targets, batch, hand_model, head_model, weights, axis_name="batch"
        )[1]

    per_device = jax.tree.map(lambda x: x[:, None], (output, prediction, targets, batch))
    for name, part in jax.pmap(on_device, axis_name="batch")(*per_device).items():
        np.testing.assert_allclose(
            part, np.full(8, expected[name]), rtol=1e-4, atol=1e-6, err_msg=name
        )
