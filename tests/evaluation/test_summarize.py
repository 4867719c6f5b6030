"""Metrics and tables of a small scene: a ball as the head and a smaller ball as the hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import trimesh
from support import metric_oracles
from support.metric_oracles import flat

from dice_jax.body_models import assets
from dice_jax.constants import CROP_SIZE, NUM_HAND_VERTICES, NUM_HEAD_VERTICES
from dice_jax.evaluation import summarize
from dice_jax.evaluation.report import tables
from dice_jax.input_pipeline import loader
from dice_jax.metrics import contact
from dice_jax.structs import Camera, HandParams, HeadParams, Prediction, Targets

RADIUS, HAND_RADIUS = 0.1, 0.03
GAPS = np.float32([-0.05, -0.02, -0.004, 0.0, 0.004, 0.02])  # meters between the two balls
SIZE = len(GAPS)
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
PLAUSIBILITY = ("touchness_ratio", "non_collision_ratio", "f_score")


def ball_points(count: int, radius: float) -> np.ndarray:
    """Points spread evenly over a sphere."""
    z = 1 - (2 * np.arange(count) + 1) / count
    angle = np.pi * (1 + np.sqrt(5)) * np.arange(count)
    ring = np.sqrt(1 - z**2)
    return np.float32(radius * np.stack([ring * np.cos(angle), ring * np.sin(angle), z], axis=-1))


@pytest.fixture(scope="module")
def ball():
    """The surface of the head; the other vertices of the head belong to no face."""
    return trimesh.creation.icosphere(3, RADIUS)


@pytest.fixture(scope="module")
def head_model(ball):
    faces = jnp.asarray(ball.faces, jnp.int32)
    cavity = np.zeros(NUM_HEAD_VERTICES, bool)
    return assets.load_head().replace(faces=faces, closed_faces=faces, cavity=cavity)


@pytest.fixture(scope="module")
def measure(head_model):
    compiled = jax.jit(
        lambda *scene, valid: summarize.measure_samples(*scene, head_model, valid=valid)
    )
    return lambda *scene, valid=(1,) * SIZE: compiled(*scene, valid=np.float32(valid))


@pytest.fixture
def scene(rng, ball):
    """(prediction, targets, batch): six hands, from far inside the head to 2 cm before it.

    The prediction is the ground truth.
    """
    loose = ball_points(NUM_HEAD_VERTICES - len(ball.vertices), RADIUS)
    head = np.concatenate([np.float32(ball.vertices), loose])
    places = np.zeros((SIZE, 1, 3), np.float32)
    places[:, 0, 2] = -(RADIUS + HAND_RADIUS + GAPS)
    hand_vertices = ball_points(NUM_HAND_VERTICES, HAND_RADIUS) + places
    head_vertices = np.broadcast_to(head, (SIZE, *head.shape))
    hand_keypoints, head_keypoints = hand_vertices[:, ::37][:, :21], head_vertices[:, :68]

    project = lambda points: 1000 * points[..., :2] + CROP_SIZE / 2
    detect = lambda points: np.concatenate([project(points), np.ones_like(points[..., :1])], -1)
    label = lambda count: np.float32(rng.uniform(size=(SIZE, count)) < 0.2)
    zeros = lambda *shape: np.zeros((SIZE, *shape), np.float32)
    hand_contact, head_contact = label(NUM_HAND_VERTICES), label(NUM_HEAD_VERTICES)
    ones = np.ones(SIZE, np.float32)
    targets = Targets(
        hand_vertices=hand_vertices,
        head_vertices=head_vertices,
        deformed_head_vertices=head_vertices,
        hand_keypoints=hand_keypoints,
        head_keypoints=head_keypoints,
    )
    prediction = Prediction(
        hand_vertices=hand_vertices,
        head_vertices=head_vertices,
        deformations=zeros(NUM_HEAD_VERTICES, 3),
        deformed_head_vertices=head_vertices,
        hand_keypoints_3d=hand_keypoints,
        head_keypoints_3d=head_keypoints,
        hand_keypoints_2d=project(hand_keypoints),
        head_keypoints_2d=project(head_keypoints),
        hand_contact_probs=hand_contact,
        head_contact_probs=head_contact,
        contact_presence=ones,
        hand_params=HandParams(zeros(10), zeros(3), zeros(45), zeros(3)),
        head_params=HeadParams(zeros(100), zeros(50), zeros(3), zeros(3), zeros(3), zeros(3)),
        camera=Camera(zeros(), zeros(2)),
    )
    black = {"image": np.zeros((CROP_SIZE, CROP_SIZE, 3), np.uint8)}
    batch = loader.collate([black] * SIZE).replace(
        hand_keypoints_2d=detect(hand_keypoints),
        head_keypoints_2d=detect(head_keypoints),
        hand_contact=hand_contact,
        head_contact=head_contact,
        has_2d=ones,
        has_3d=ones,
        has_contact=ones,
        has_deformations=ones,
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
        scores = dict(result["contact"][part])
        # Probabilities of 0 and 1 count as those of the middle of their bin.
        assert scores.pop("calibration_error") == pytest.approx(0.5 / contact.BINS)
        assert set(scores.values()) == {1}
    assert result["touchness_ratio"] == result["presence_accuracy"] == 1
    assert result["deformation_error_moved_mm"] is None  # nothing is deformed


def test_collisions_of_two_balls_follow_from_their_geometry(measure, scene):
    """The first two hands collide; a depth of 4 mm is within the tolerance."""
    result = summary(measure, scene)
    assert result["non_collision_ratio"] == pytest.approx(4 / 6)
    depths = np.maximum(RADIUS - np.linalg.norm(scene[0].hand_vertices, axis=-1), 0)
    # A polyhedron is a little smaller than its ball.
    assert result["collision_distance_mm"] == pytest.approx(1000 * depths.mean(), rel=0.05)
    assert result["f_score"] == pytest.approx(2 * (4 / 6) / (1 + 4 / 6))


def test_five_millimeters_of_noise_measure_five_millimeters(measure, scene, rng):
    prediction, targets, batch = scene

    def push(points):
        directions = rng.normal(size=points.shape)
        unit = directions / np.linalg.norm(directions, axis=-1, keepdims=True)
        return np.float32(points + 0.005 * unit)

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


def test_metrics_of_a_constant_prediction_follow_from_the_scene(measure, scene):
    """The hand is always 4 mm before the head, and no contact is predicted."""
    prediction, targets, batch = scene
    constant = prediction.replace(
        hand_vertices=np.broadcast_to(prediction.hand_vertices[4], prediction.hand_vertices.shape),
        hand_contact_probs=np.zeros_like(prediction.hand_contact_probs),
        contact_presence=np.zeros(SIZE, np.float32),
    )
    result = summary(measure, (constant, targets, batch))
    assert [result[name] for name in PLAUSIBILITY] == [1, 1, 1]
    assert result["pve_hand_mm"] == pytest.approx(1000 * np.abs(GAPS - 0.004).mean(), rel=1e-3)
    assert result["contact"]["hand"]["recall"] == 0 and result["contact"]["head"]["recall"] == 1
    accuracy = 1 - batch.hand_contact.mean()
    assert result["contact"]["hand"]["accuracy"] == pytest.approx(accuracy, rel=1e-5)
    assert result["presence_accuracy"] == 0


def test_a_hand_far_away_neither_touches_nor_collides(measure, scene):
    prediction, targets, batch = scene
    away = prediction.replace(hand_vertices=prediction.hand_vertices - np.float32([0, 0, 0.2]))
    result = summary(measure, (away, targets, batch))
    assert [result[name] for name in PLAUSIBILITY] == [0, 1, 0]
    assert result["collision_distance_mm"] == 0


def random_scene(scene, rng):
    """The scene with errors that differ between samples, and with some labels missing."""
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


def test_collision_distance_is_a_mean_over_samples(measure, scene):
    """Each sample counts once, whatever the number of its colliding vertices."""
    rows = measure(*scene).replace(collision_distance=np.float32([5e-3, 0, 1e-3, 0, 0, 0]))
    assert summarize.summarize(summarize.total(rows))["collision_distance_mm"] == pytest.approx(1)


@pytest.mark.parametrize(
    "choices", [{}, {"leak_filter": True}, {"finger_tips": True}], ids=lambda x: "".join(x) or "own"
)
def test_every_metric_equals_the_oracle(choices, scene, rng, head_model):
    scene = random_scene(scene, rng)
    reference = summarize.ReferenceChoices(**choices)
    measure = jax.jit(
        lambda *scene: summarize.measure_samples(*scene, head_model, reference=reference)
    )
    result = summarize.summarize(summarize.total(measure(*scene)))
    expected = metric_oracles.metrics(*scene, head_model, **choices)
    if choices:
        assert flat(expected) != flat(metric_oracles.metrics(*scene, head_model))
    assert set(flat(result)) == set(flat(expected))
    assert flat(result) == pytest.approx(flat(expected), rel=2e-4, abs=1e-6)
    assert None not in flat(result).values()
    assert 0 < result["f_score"] < 1


def test_metrics_do_not_depend_on_batches_and_padding(measure, scene, rng):
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
    result = summarize.summarize(summarize.total(together))
    assert flat(result) == pytest.approx(flat(expected), rel=1e-5)


def test_samples_without_a_label_do_not_count_even_if_their_targets_are_nan(measure, scene, rng):
    prediction, targets, batch = random_scene(scene, rng)
    erase = lambda x: np.where((batch.has_3d == 0).reshape(-1, 1, 1), np.float32(np.nan), x)
    erased = summary(measure, (prediction, jax.tree.map(erase, targets), batch))
    expected = summary(measure, (prediction, targets, batch))
    assert flat(erased) == pytest.approx(flat(expected), rel=1e-6)


def test_without_labels_all_metrics_are_none(measure, scene):
    result = summary(measure, scene, valid=np.zeros(SIZE))
    assert set(flat(result).values()) == {None}
    for table in (tables.mesh_table, tables.contact_table):
        assert "nan" not in str(table({"empty": result}))


def test_totals_are_exact_beyond_single_precision(measure, scene):
    large = jax.tree.map(lambda x: np.full((3, *x.shape[1:]), np.float32(2**24)), measure(*scene))
    large = large.replace(frames=np.float32([2**24, 1, 1]))
    assert summarize.total(large).frames == 2**24 + 2


def test_many_data_sets_at_once_have_the_metrics_of_each(measure, scene, rng):
    rows = measure(*random_scene(scene, rng))
    sums = [
        summarize.total(jax.tree.map(lambda x, ids=ids: x[np.array(ids)], rows))
        for ids in ([0, 1, 3], [2], [5, 4])
    ]
    together = summarize.metric_values(jax.tree.map(lambda *x: np.stack(x), *sums))
    for i, one in enumerate(sums):
        values = jax.tree.map(lambda x, i=i: None if np.isnan(x[i]) else x[i], together)
        assert flat(values) == pytest.approx(flat(summarize.summarize(one)))


def test_tables_have_the_columns_of_the_paper_and_percent(measure, scene):
    result = summary(measure, scene)
    rows = {"model": result, "mean prediction": {**result, "pve_mm": 12.348}}
    made = (
        tables.mesh_table,
        tables.contact_table,
        tables.ablation_table,
        tables.parts_table,
        tables.detail_table,
        tables.trust_table,
    )
    mesh, contact, ablation, *_ = markdown = [str(table(rows)) for table in made]
    lines = mesh.splitlines()
    assert lines[0].split(" | ")[1:4] == ["PVE* (mm)", "MPJPE (mm)", "PA-MPJPE (mm)"]
    assert lines[2].split(" | ")[5:8] == ["66.7", "100.0", "80.0 |"]
    assert lines[3].startswith("| mean prediction | 12.35 |")
    assert "Face F-Score" in contact and contact.splitlines()[2].count("100.0") == 8
    header = [cell.strip() for cell in ablation.splitlines()[0].split("|")[2:-1]]
    assert header == ["PVE* (mm)", "MPJPE (mm)", "PA-MPJPE (mm)", "F-Score (%)"]
    for table in markdown:
        assert len({line.count("|") for line in table.splitlines()}) == 1


def test_intervals_are_shown_in_brackets(measure, scene):
    result = summary(measure, scene) | {
        "pve_mm": 12.0,
        "intervals": {"pve_mm": [11.25, 13.5], "f_score": [0.5, 0.75]},
    }
    row = tables.ablation_table({"model": result}).rows[0]
    assert row[1] == "12.00 [11.25, 13.50]" and row[4] == "80.0 [50.0, 75.0]" and "[" not in row[2]
    second = {"pve_mm": -0.5, "intervals": {"pve_mm": [-1.0, 0.25]}}
    difference = tables.difference_table("first", {"second": second})
    assert difference.rows[0][:3] == ("second", "-0.50 [-1.00, +0.25]", "–")
