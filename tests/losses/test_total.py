"""The objective as a whole, on the open body models."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support import loss_scenes

from dice_jax.constants import NUM_HEAD_VERTICES
from dice_jax.losses import presets
from dice_jax.losses.terms import active_terms, build_terms
from dice_jax.losses.total import center_on_head, generator_loss, label_counts

WEIGHTS = presets.FIXED
LABEL_MASKS = ("has_2d", "has_3d", "has_params", "has_contact", "has_deformations", "has_depth")
ALL_TERMS = {term.name for term in build_terms(WEIGHTS)}
AFTER_BURN_IN = {term.name for term in build_terms(WEIGHTS) if term.after_burn_in}
# Not 0 for a perfect prediction: touch, collision, the prior and the discriminators do not use the
# ground truth; depth compares joints with the skin above them; for reprojection see the test.
NOT_ZERO = {"touch", "collision", "depth", "deformation_prior", "adversarial", "reprojection"}


def names_of(terms):
    return {term.name for term in terms}


@pytest.fixture(scope="module")
def evaluate():
    """((loss, terms), gradients of output and prediction) of a scene, compiled once."""

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

    def evaluate(output, prediction, *rest, burn_in=False):
        return compiled((output, prediction), *rest, jnp.array(burn_in))

    return evaluate


@pytest.fixture(scope="module")
def terms_of(evaluate):
    """The un-weighted terms of a scene by name."""
    return lambda *scene, **options: {
        name: float(value) for name, value in evaluate(*scene, **options)[0][1].items()
    }


@pytest.fixture(scope="module")
def right(labels, hand_model, head_model):
    """The arguments of `evaluate` with a perfect prediction."""
    batch, targets, camera = labels
    outputs = jax.device_get(loss_scenes.perfect(batch, targets, camera, hand_model, head_model))
    return *outputs, targets, batch, hand_model, head_model


@pytest.fixture(scope="module")
def wrong(right):
    """The arguments of `evaluate` with a prediction that is wrong everywhere."""
    output, prediction, *rest, hand_model, head_model = right
    outputs = loss_scenes.perturb(
        np.random.default_rng(1), output, prediction, hand_model, head_model
    )
    return *jax.device_get(outputs), *rest, hand_model, head_model


def test_a_perfect_prediction_has_loss_zero(terms_of, right):
    terms = terms_of(*right)
    for name in set(terms) - NOT_ZERO:
        assert terms[name] == pytest.approx(0, abs=2e-6), name
    # Joints regressed from the mesh of a bent hand are not exactly those of its skeleton: they
    # differ by a third of a pixel here.
    assert terms["reprojection"] < 4 * 0.33 / 224


@pytest.mark.parametrize("part", ["hand_keypoints", "head_keypoints"])
def test_keypoints_have_one_order(terms_of, right, part):
    """The reference compares the hand's rough keypoints with labels in another order."""
    output, *rest = right
    reversed_order = output.rough.replace(**{part: getattr(output.rough, part)[:, ::-1]})
    terms = terms_of(output.replace(rough=reversed_order), *rest)
    assert terms["keypoints"] > 0.05 and terms["reprojection"] > 10 / 224


def test_a_wrong_prediction_has_a_loss_in_every_term(terms_of, wrong):
    batch = wrong[3].replace(has_deformations=np.float32(np.arange(8) == 0))
    terms = terms_of(*wrong[:3], batch, *wrong[4:])
    assert set(terms) == ALL_TERMS - {"heatmaps", "hand_depth", "hand_presence"}
    for name in set(terms) - {"collision"}:
        assert terms[name] > 1e-6, name


def test_the_total_is_the_paper_s_sum(evaluate, terms_of, wrong):
    t = terms_of(*wrong)
    mesh = (
        t["reprojection"]
        + 4 * (4 * t["rough_vertices"] + t["vertices"])
        + 2 * t["keypoints"]
        + 2 * t["params"]
    )
    interaction = (
        0.2 * t["touch"]
        + 0.6 * t["contact"]
        + WEIGHTS.collision * t["collision"]
        + 6 * t["deformation"]
        + WEIGHTS.presence * t["presence"]
        + WEIGHTS.deformation_prior * t["deformation_prior"]
    )
    expected = 12.5 * mesh + 5 * interaction + t["adversarial"] + 2.5 * t["depth"]
    assert float(evaluate(*wrong)[0][0]) == pytest.approx(expected, rel=1e-5)
    assert t["adversarial"] == pytest.approx(np.log(2) + np.log1p(np.exp(-1)), rel=1e-5)


def test_a_term_of_weight_zero_is_left_out():
    not_in_the_paper = {"heatmaps", "presence", "deformation_prior"}
    not_in_the_paper |= {"hand_depth", "hand_presence"}
    assert names_of(active_terms(presets.PAPER)) == ALL_TERMS - not_in_the_paper
    assert "adversarial" not in names_of(active_terms(WEIGHTS, with_adversarial=False))
    off = dataclasses.replace(WEIGHTS, mesh=0.0, touch=0.0, depth=0.0)
    assert names_of(active_terms(off)) == {
        "contact",
        "collision",
        "deformation",
        "presence",
        "deformation_prior",
        "adversarial",
    }


@pytest.mark.parametrize("preset", ["paper", "release"])
def test_other_presets_compute_the_terms_that_they_weight(wrong, preset):
    weights = presets.PRESETS[preset]
    value, terms = jax.eval_shape(lambda *scene: generator_loss(*scene, weights), *wrong)
    assert value.shape == ()
    assert set(terms) == names_of(active_terms(weights, with_adversarial=False))


def test_a_factor_weighs_only_the_terms_after_burn_in(wrong):
    """So that an update that is one of several may stand for all of them."""
    *scene, hand_model, head_model = wrong
    off = {name: 0.0 for name, value in vars(WEIGHTS).items() if isinstance(value, float)}
    on = dict(mesh=1.0, keypoints=1.0, interaction=1.0, touch=1.0)
    weights = dataclasses.replace(WEIGHTS, **off | on)
    loss = lambda factor: jax.jit(
        lambda *scene: generator_loss(
            *scene, hand_model, head_model, weights, after_burn_in_factor=factor
        )
    )(*scene)
    (once, terms), (five_times, _) = loss(1.0), loss(5.0)
    assert set(terms) == {"keypoints", "touch"} and terms["touch"] > 0
    np.testing.assert_allclose(five_times - once, 4 * terms["touch"], rtol=1e-4)


def test_burn_in_turns_off_the_terms_that_need_good_meshes(terms_of, wrong):
    before, after = terms_of(*wrong, burn_in=True), terms_of(*wrong)
    assert {"touch", "collision", "depth"} == AFTER_BURN_IN
    for name in before:
        expected = 0.0 if name in AFTER_BURN_IN else after[name]
        assert before[name] == pytest.approx(expected, rel=1e-5), name
    assert after["depth"] > 0 and after["touch"] > 0


def test_absent_labels_have_no_influence_even_if_nan(evaluate, wrong):
    output, prediction, targets, batch, *models = wrong
    absent = np.arange(8) % 2 == 1
    spoil = lambda x: np.where(absent.reshape(-1, *[1] * (x.ndim - 1)), np.float32(np.nan), x)
    blank = batch.replace(**{name: np.float32(~absent) for name in LABEL_MASKS})
    labels = {field.name for field in dataclasses.fields(batch)} - {*LABEL_MASKS, "images"}
    spoiled = blank.replace(**{name: jax.tree.map(spoil, getattr(blank, name)) for name in labels})
    clean = evaluate(output, prediction, targets, blank, *models)
    dirty = evaluate(output, prediction, jax.tree.map(spoil, targets), spoiled, *models)
    jax.tree.map(np.testing.assert_array_equal, clean, dirty)
    assert all(np.isfinite(array).all() for array in jax.tree.leaves(dirty))
    # Labels alone supervise the rough meshes; touch, collision and the prior use the refined ones.
    gradient = dirty[1][0].rough.hand_vertices
    np.testing.assert_array_equal(gradient[1::2], 0)
    assert (np.abs(gradient[::2]).max((1, 2)) > 0).all()


def test_without_labels_touch_discriminators_and_prior_remain(terms_of, wrong):
    batch = wrong[3].replace(**{name: np.zeros(8, np.float32) for name in LABEL_MASKS})
    terms = terms_of(*wrong[:3], batch, *wrong[4:])
    remaining = {name for name, value in terms.items() if value != 0}
    assert remaining - {"collision"} == {"touch", "adversarial", "deformation_prior"}


def test_rough_meshes_are_compared_in_their_own_head_centered_frame(terms_of, wrong):
    """Both sides are centered on the UNDEFORMED head, so a translation of the output has no loss.

    The reference centers the ground truth on the deformed head.
    """
    output, *rest = wrong
    moved = jax.tree.map(lambda x: x + np.float32([0.3, -0.2, 1.0]), output.rough)
    expected, actual = terms_of(output, *rest), terms_of(output.replace(rough=moved), *rest)
    for name in expected:
        assert actual[name] == pytest.approx(expected[name], rel=1e-4), name
    np.testing.assert_allclose(center_on_head(moved).head_vertices.mean(1), 0, atol=1e-5)


def test_a_one_sided_deformation_does_not_move_the_targets(terms_of, right):
    """It shifts the mean of the DEFORMED head, on which the reference centers the ground truth."""
    output, prediction, targets, *rest = right
    one_side = np.arange(NUM_HEAD_VERTICES)[:, None] < 500
    shift = np.where(one_side, np.float32(0.02), np.float32(0))
    deformed = targets.replace(deformed_head_vertices=targets.deformed_head_vertices + shift)
    assert terms_of(output, prediction, deformed, *rest) == terms_of(*right)


def test_heatmaps_are_a_term_for_networks_that_have_them(wrong):
    other_terms = ("reprojection", "vertices", "keypoints", "params", "interaction", "depth")
    weights = presets.LossWeights(**dict.fromkeys(other_terms, 0.0), heatmaps=0.1)
    output, *rest = wrong
    uniform = output.replace(heatmaps=np.zeros((8, 28, 28, 89), np.float32))
    loss, terms = jax.jit(lambda output: generator_loss(output, *rest, weights))(uniform)
    batch = rest[2]
    detected = np.concatenate([batch.hand_keypoints_2d, batch.head_keypoints_2d], axis=1)
    confidence = detected[..., 2].sum(1)
    expected = np.log(28 * 28) * (confidence / np.maximum(confidence, 1)).mean()
    assert terms["heatmaps"] == pytest.approx(expected, rel=1e-5)
    assert loss == pytest.approx(12.5 * 0.1 * float(terms["heatmaps"]), rel=1e-5)


@pytest.mark.parametrize(
    ("term", "output", "field"),
    [
        ("presence", "presence_logit", "model.presence"),
        ("hand_presence", "hand_presence_logit", "model.hand_presence"),
        ("hand_depth", "hand_depth_sigma", "model.mesh_net.depth_sigma"),
        ("heatmaps", "heatmaps", "model.fine_features"),
    ],
)
def test_a_term_whose_output_the_network_lacks_is_one_clear_line(wrong, term, output, field):
    first, *rest = wrong
    off = {name: 0.0 for name, value in vars(WEIGHTS).items() if isinstance(value, float)}
    weights = dataclasses.replace(WEIGHTS, **off | {"mesh": 1.0, "interaction": 1.0, term: 1.0})
    with pytest.raises(ValueError, match=rf"losses\.{term} .* or {field} ") as error:
        generator_loss(first.replace(**{output: None}), *rest, weights)
    assert "\n" not in str(error.value)


def test_presence_is_a_term_for_networks_that_predict_it(wrong):
    output, *rest = wrong
    headless = output.replace(presence_logit=None)
    weights = presets.PAPER
    terms = jax.eval_shape(lambda output: generator_loss(output, *rest, weights), headless)[1]
    assert "presence" not in terms


@pytest.mark.parametrize("part", ["hand", "head"])
def test_depth_compares_each_keypoint_with_its_own_label(terms_of, right, part):
    batch, name = right[3], f"{part}_keypoints_depth"
    reversed_order = batch.replace(**{name: getattr(batch, name)[:, ::-1]})
    terms = terms_of(*right[:3], reversed_order, *right[4:])
    assert terms["depth"] > 1.2 * terms_of(*right)["depth"]


@pytest.mark.parametrize("deformed", [True, False])
def test_depth_is_rendered_of_the_head_that_the_camera_sees(right, deformed):
    """A dent in the prediction matters to the deformed head only."""
    others = ("mesh", "interaction", "adversarial")
    weights = presets.LossWeights(**dict.fromkeys(others, 0.0), depth_deformed=deformed)
    output, prediction, *rest = right
    front = prediction.head_vertices[..., 2:] < 0
    dent = np.where(front, np.float32([0, 0, -0.02]), np.float32(0))  # away from the camera
    dented = prediction.replace(deformed_head_vertices=prediction.head_vertices - dent)
    value = jax.jit(lambda prediction: generator_loss(output, prediction, *rest, weights)[0])
    same = float(value(dented)) == float(value(prediction))
    assert same == (not deformed)


def test_eight_devices_equal_one(evaluate, wrong):
    """The devices have different labels. Terms that render or collide are left out for time."""
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
    for name, term in jax.pmap(on_device, axis_name="batch")(*per_device).items():
        everywhere = np.full(8, expected[name])
        np.testing.assert_allclose(term, everywhere, rtol=1e-4, atol=1e-6, err_msg=name)


def test_losses_of_micro_batches_add_up_to_the_whole(wrong):
    off = ("reprojection", "vertices", "keypoints", "touch", "collision", "depth", "adversarial")
    weights = dataclasses.replace(WEIGHTS, **dict.fromkeys(off, 0.0))
    output, prediction, targets, batch, *models = wrong
    batch = batch.replace(has_contact=np.float32([1, 1, 1, 0, 1, 0, 0, 0]))
    scene = (output, prediction, targets, batch)
    counts = label_counts(batch, weights)
    assert counts["contact"] == 4 and set(counts) == names_of(active_terms(weights))
    loss = jax.jit(lambda *scene: generator_loss(*scene, *models, weights, counts=counts)[0])
    halves = [
        jax.tree.map(lambda x, rows=rows: x[rows], scene) for rows in ([*range(4)], [*range(4, 8)])
    ]
    whole = generator_loss(*scene, *models, weights)[0]
    assert sum(float(loss(*half)) for half in halves) == pytest.approx(float(whole), rel=1e-5)


def test_another_batch_size_is_an_error(wrong):
    output, *rest = wrong
    single = jax.tree.map(lambda x: x[:1], output)
    with pytest.raises(AssertionError, match="presence_logit"):
        generator_loss(single, *rest, WEIGHTS)
    logits = np.zeros(1, np.float32)
    with pytest.raises(AssertionError, match="shape"):
        generator_loss(output, *rest, WEIGHTS, fake_logits=(logits, logits))
