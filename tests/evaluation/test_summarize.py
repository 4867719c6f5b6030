"""Whole summaries, on a ball for a head and a small ball for a hand."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import trimesh
from support import metric_oracles
from support.metric_oracles import flat

from dice_jax.evaluation import summarize
from dice_jax.evaluation.report import tables
from dice_jax.structs import Batch, Prediction, Targets

RADIUS, HAND_RADIUS = 0.1, 0.03
SIZE = 6
REQUIRED = {
    "pve_mm",
    "mpjpe_mm",
    "pa_mpjpe_mm",
    "collision_distance_mm",
    "non_collision_ratio",
    "touchness_ratio",
    "f_score",
    "contact",
}


@pytest.fixture(scope="module")
def head_model():
    ball = trimesh.creation.icosphere(3, RADIUS)
    faces = jnp.asarray(ball.faces)
    return SimpleNamespace(
        vertices=np.asarray(ball.vertices, np.float32),
        faces=faces,
        closed_faces=faces,
        cavity=np.zeros(len(ball.vertices), bool),
    )


@pytest.fixture(scope="module")
def measure(head_model):
    compiled = jax.jit(lambda *scene, valid: summarize.measure(*scene, head_model, valid=valid))
    return lambda *scene, valid=(1,) * SIZE: compiled(*scene, valid=np.float32(valid))


@pytest.fixture
def scene(rng, head_model):
    """(prediction, targets, batch): six hands at rising distance from the head, predicted without a
    mistake.
    """
    gaps = np.float32([-0.05, -0.02, -0.004, 0.0, 0.004, 0.02])  # between the two balls
    hand = np.asarray(trimesh.creation.icosphere(2, HAND_RADIUS).vertices, np.float32)
    places = np.stack([np.zeros(SIZE), np.zeros(SIZE), -(RADIUS + HAND_RADIUS + gaps)], -1).astype(
        np.float32
    )
    hand_vertices = hand + places[:, None]
    head_vertices = np.broadcast_to(head_model.vertices, (SIZE, *head_model.vertices.shape))
    deformations = np.zeros_like(head_vertices)
    hand_keypoints, head_keypoints = hand_vertices[:, :21], head_vertices[:, :68]
    project = lambda points: 1000 * points[..., :2] + 112
    detect = lambda points: np.concatenate([project(points), np.ones_like(points[..., :1])], -1)
    label = lambda n: np.float32(rng.uniform(size=(SIZE, n)) < 0.2)
    hand_contact, head_contact = label(hand.shape[0]), label(head_vertices.shape[1])
    ones = np.ones(SIZE, np.float32)
    targets = Targets(hand_vertices, head_vertices, head_vertices, hand_keypoints, head_keypoints)
    prediction = Prediction(
        hand_vertices=hand_vertices,
        head_vertices=head_vertices,
        deformations=deformations,
        deformed_head_vertices=head_vertices,
        hand_keypoints_3d=hand_keypoints,
        head_keypoints_3d=head_keypoints,
        hand_keypoints_2d=project(hand_keypoints),
        head_keypoints_2d=project(head_keypoints),
        hand_contact_probs=hand_contact,
        head_contact_probs=head_contact,
        contact_presence=ones,
        hand_params=None,
        head_params=None,
        camera=None,
    )
    batch = Batch(
        images=None,
        hand_keypoints_2d=detect(hand_keypoints),
        head_keypoints_2d=detect(head_keypoints),
        hand_keypoints_depth=None,
        head_keypoints_depth=None,
        hand_params=None,
        head_params=None,
        deformations=deformations,
        hand_contact=hand_contact,
        head_contact=head_contact,
        has_2d=ones,
        has_3d=ones,
        has_params=ones,
        has_contact=ones,
        has_deformations=ones,
        has_depth=ones,
    )
    return prediction, targets, batch


def summary(measure, scene, **options):
    return summarize.summarize(summarize.total(measure(*scene, **options)))


def test_the_ground_truth_scores_perfectly(measure, scene):
    result = summary(measure, scene)
    assert set(result) >= REQUIRED and result["frames"] == SIZE
    for name in (
        "pve_mm",
        "mpjpe_mm",
        "pa_mpjpe_mm",
        "pve_hand_mm",
        "pve_head_mm",
        "keypoints_2d_error_px",
        "deformation_error_mm",
        "pa_pve_mm",
        "pa_pve_hand_mm",
        "pa_pve_head_mm",
        "keypoints_2d_error_hand_px",
        "keypoints_2d_error_head_px",
    ):
        assert result[name] == pytest.approx(0, abs=1e-3), name
    for part in ("hand", "head", "both"):
        assert result["contact"][part] == {
            "f1": 1,
            "precision": 1,
            "recall": 1,
            "accuracy": 1,
            "average_precision": 1,
        }
    assert result["touchness_ratio"] == result["presence_accuracy"] == 1
    assert result["deformation_error_moved_mm"] is None  # nothing moves in this scene


def test_collisions_of_two_balls_by_hand(measure, scene):
    """The hand's ball reaches `-gap` deep; balls 1 and 2 collide, balls up to 4 mm apart do not."""
    result = summary(measure, scene)
    assert result["non_collision_ratio"] == pytest.approx(4 / 6)
    expected = np.mean(
        [np.maximum(RADIUS - np.linalg.norm(v, axis=-1), 0).mean() for v in scene[0].hand_vertices]
    )
    assert result["collision_distance_mm"] == pytest.approx(
        1000 * expected, rel=0.05
    )  # a faceted ball is a bit smaller
    assert result["f_score"] == pytest.approx(2 * (4 / 6) / (1 + 4 / 6))


def test_five_millimeters_of_noise_measure_five_millimeters(measure, scene, rng):
    prediction, targets, batch = scene

    def push(points):
        directions = rng.normal(size=points.shape)
        return np.float32(
            points + 0.005 * directions / np.linalg.norm(directions, axis=-1, keepdims=True)
        )

    noisy = prediction.replace(
        hand_vertices=push(prediction.hand_vertices),
        deformed_head_vertices=push(prediction.deformed_head_vertices),
        hand_keypoints_3d=push(prediction.hand_keypoints_3d),
        head_keypoints_3d=push(prediction.head_keypoints_3d),
        deformations=push(prediction.deformations),
    )
    result = summary(measure, (noisy, targets, batch))
    for name in ("pve_mm", "pve_hand_mm", "pve_head_mm", "mpjpe_mm", "deformation_error_mm"):
        assert result[name] == pytest.approx(5, rel=1e-3), name
    assert 4 < result["pa_mpjpe_mm"] < 5


def test_a_constant_answer_by_hand(measure, scene):
    """The hand always 4 mm before the head and never a contact: every touch found, no collision, no
    contact recalled.
    """
    prediction, targets, batch = scene
    constant = prediction.replace(
        hand_vertices=np.broadcast_to(prediction.hand_vertices[4], prediction.hand_vertices.shape),
        hand_contact_probs=np.zeros_like(prediction.hand_contact_probs),
        contact_presence=np.zeros(SIZE, np.float32),
    )
    result = summary(measure, (constant, targets, batch))
    assert (result["touchness_ratio"], result["non_collision_ratio"], result["f_score"]) == (
        1,
        1,
        1,
    )
    gaps = np.array([-0.05, -0.02, -0.004, 0.0, 0.004, 0.02])
    assert result["pve_hand_mm"] == pytest.approx(1000 * np.abs(gaps - 0.004).mean(), rel=1e-3)
    assert result["contact"]["hand"]["recall"] == 0 and result["contact"]["head"]["recall"] == 1
    assert result["contact"]["hand"]["accuracy"] == pytest.approx(
        1 - batch.hand_contact.mean(), rel=1e-5
    )
    assert result["presence_accuracy"] == 0


def test_a_hand_far_away_loses_touch_and_gains_freedom(measure, scene):
    prediction, targets, batch = scene
    away = prediction.replace(hand_vertices=prediction.hand_vertices - np.float32([0, 0, 0.2]))
    result = summary(measure, (away, targets, batch))
    assert (result["touchness_ratio"], result["non_collision_ratio"], result["f_score"]) == (
        0,
        1,
        0,
    )
    assert result["collision_distance_mm"] == 0


def random_scene(scene, rng):
    """The same scene with mistakes that differ from sample to sample, and some labels missing."""
    prediction, targets, batch = scene
    noise = lambda x, scale: np.float32(x + rng.normal(size=x.shape) * scale)
    prediction = prediction.replace(
        hand_vertices=noise(prediction.hand_vertices, 0.01),
        hand_keypoints_3d=noise(prediction.hand_keypoints_3d, 0.01),
        deformed_head_vertices=noise(prediction.deformed_head_vertices, 0.002),
        deformations=noise(prediction.deformations, 0.002),
        hand_keypoints_2d=noise(prediction.hand_keypoints_2d, 4),
        hand_contact_probs=np.clip(noise(prediction.hand_contact_probs, 0.4), 0, 1),
    )
    batch = batch.replace(
        deformations=noise(batch.deformations, 0.003),
        has_contact=np.float32([1, 0, 1, 1, 1, 0]),
        has_3d=np.float32([1, 1, 0, 1, 1, 1]),
    )
    return prediction, targets, batch


def test_every_figure_equals_the_independent_computation(measure, scene, rng, head_model):
    scene = random_scene(scene, rng)
    result, expected = summary(measure, scene), metric_oracles.figures(*scene, head_model)
    assert set(flat(result)) == set(flat(expected))
    assert flat(result) == pytest.approx(flat(expected), rel=2e-4, abs=1e-6)
    assert (
        None not in flat(result).values() and 0 < result["f_score"] < 1
    )  # nothing here is trivial


def test_batching_padding_and_devices_do_not_change_the_figures(measure, scene, rng):
    scene = random_scene(scene, rng)
    expected = summary(measure, scene)
    take = lambda ids: jax.tree.map(lambda x: x[np.array(ids)], scene)
    batches = [
        measure(*take(ids), valid=valid)
        for ids, valid in (
            ([0, 1, 2, 3, 3, 3], [1, 1, 1, 1, 0, 0]),
            ([0, 4, 1, 5, 2, 2], [0, 1, 0, 1, 0, 0]),
        )
    ]
    together = jax.tree.map(lambda *x: np.concatenate(x), *batches)
    assert flat(summarize.summarize(summarize.total(together))) == pytest.approx(
        flat(expected), rel=1e-5
    )


def test_samples_without_a_label_have_no_influence_even_if_nan(measure, scene, rng):
    prediction, targets, batch = random_scene(scene, rng)
    spoil = lambda x: np.where((batch.has_3d == 0).reshape(-1, 1, 1), np.float32(np.nan), x)
    dirty = summary(measure, (prediction, jax.tree.map(spoil, targets), batch))
    assert flat(dirty) == pytest.approx(
        flat(summary(measure, (prediction, targets, batch))), rel=1e-6
    )


def test_no_labels_give_none_and_not_nan(measure, scene):
    result = summary(measure, scene, valid=np.zeros(SIZE))
    assert set(flat(result).values()) == {None}
    assert "nan" not in str(tables.mesh_table({"empty": result})) + str(
        tables.contact_table({"empty": result})
    )


def test_counts_stay_exact_beyond_single_precision(measure, scene):
    large = jax.tree.map(lambda x: np.full((3, *x.shape[1:]), np.float32(2**24)), measure(*scene))
    large = large.replace(frames=np.float32([2**24, 1, 1]))
    assert summarize.total(large).frames == 2**24 + 2


def test_many_data_sets_at_once_have_the_figures_of_each(measure, scene, rng):
    rows = measure(*random_scene(scene, rng))
    sums = [
        summarize.total(jax.tree.map(lambda x, ids=ids: x[np.array(ids)], rows))
        for ids in ([0, 1, 3], [2], [5, 4])
    ]
    together = summarize.figures(jax.tree.map(lambda *x: np.stack(x), *sums))
    for i, one in enumerate(sums):
        values = jax.tree.map(lambda x, i=i: None if np.isnan(x[i]) else x[i], together)
        assert flat(values) == pytest.approx(flat(summarize.summarize(one)))


def test_tables_have_the_paper_s_columns_and_percent(measure, scene):
    result = summary(measure, scene)
    rows = {"model": result, "mean prediction": {**result, "pve_mm": 12.348}}
    made = (
        tables.mesh_table,
        tables.contact_table,
        tables.ablation_table,
        tables.parts_table,
        tables.detail_table,
    )
    mesh, contact, ablation, *_ = markdown = [str(table(rows)) for table in made]
    lines = mesh.splitlines()
    assert lines[0].split(" | ")[1:4] == ["PVE* (mm)", "MPJPE (mm)", "PA-MPJPE (mm)"]
    assert lines[2].split(" | ")[5:8] == ["66.7", "100.0", "80.0 |"]
    assert lines[3].startswith("| mean prediction | 12.35 |")
    assert "Face F-Score" in contact and contact.splitlines()[2].count("100.0") == 8
    assert [cell.strip() for cell in ablation.splitlines()[0].split("|")[2:-1]] == [
        "PVE* (mm)",
        "MPJPE (mm)",
        "PA-MPJPE (mm)",
        "F-Score (%)",
    ]
    for table in markdown:
        assert len({line.count("|") for line in table.splitlines()}) == 1


def test_intervals_stand_in_brackets(measure, scene):
    result = summary(measure, scene) | {
        "pve_mm": 12.0,
        "intervals": {"pve_mm": [11.25, 13.5], "f_score": [0.5, 0.75]},
    }
    row = tables.ablation_table({"model": result}).rows[0]
    assert row[1] == "12.00 [11.25, 13.50]" and row[4] == "80.0 [50.0, 75.0]" and "[" not in row[2]
    difference = tables.difference_table(
        "first", {"second": {"pve_mm": -0.5, "intervals": {"pve_mm": [-1.0, 0.25]}}}
    )
    assert difference.rows[0][:3] == ("second", "-0.50 [-1.00, +0.25]", "–")
