"""Results of other programs: read from npz or OBJ, scored like the network's."""

import json
from pathlib import Path

import jax
import numpy as np
import pytest
from absl import flags
from absl.testing import flagsaver
from support import micro_run
from support.tiny_model import save_tiny_weights

from dice_jax import evaluate, models
from dice_jax.datasets import registry
from dice_jax.errors import UserError
from dice_jax.evaluation import prediction_files
from dice_jax.input_pipeline import loader

COUNT = 3
SAMPLES = [micro_run.sample(400 + i) for i in range(COUNT)]


@pytest.fixture(scope="module")
def truth(bodies):
    ((batch, _),) = loader.sequential_batches(SAMPLES, COUNT)
    return jax.device_get(models.pose_targets(batch, *bodies)), batch


def write_obj(path, vertices):
    path.write_text("".join(f"v {x:.7f} {y:.7f} {z:.7f}\n" for x, y, z in vertices) + "f 1 2 3\n")


def write(folder, truth, kind):
    """The ground truth, moved and otherwise perfect, as files of one kind."""
    targets, batch = truth
    move = np.float32([0.3, -0.2, 0.9])
    for i in range(COUNT):
        hand, head = targets.hand_vertices[i] + move, targets.deformed_head_vertices[i] + move
        if kind == "obj":
            write_obj(folder / f"{i:06d}_hand.obj", hand)
            write_obj(folder / f"{i:06d}_head.obj", head)
            continue
        np.savez(
            folder / f"{i:06d}.npz",
            hand_vertices=hand,
            head_vertices=head,
            undeformed_head_vertices=targets.head_vertices[i] + move,
            hand_contact_probs=batch.hand_contact[i],
            head_contact_probs=batch.head_contact[i],
        )


@pytest.fixture(scope="module")
def metrics(truth, tmp_path_factory):
    """metrics.json of an evaluation with a folder of each kind."""
    flags.FLAGS.mark_as_parsed()
    folder = tmp_path_factory.mktemp("predictions")
    weights = save_tiny_weights(folder / "weights")
    for kind in ("npz", "obj"):
        (folder / kind).mkdir()
        write(folder / kind, truth, kind)
    data = {**registry.DATASETS, micro_run.NAME: lambda *_: SAMPLES}
    with flagsaver.flagsaver(
        data=micro_run.NAME,
        batch_size=2,
        cases=0,
        weights=str(weights),
        out=str(folder / "out"),
        predictions=[f"perfect={folder / 'npz'}", str(folder / "obj")],
    ):
        evaluate.main(["evaluate"], datasets=data)
    return json.loads((folder / "out/metrics.json").read_text())


def test_perfect_predictions_have_perfect_figures(metrics):
    row = metrics["perfect"]
    assert row["frames"] == COUNT
    for name in ("pve_mm", "pa_pve_mm", "deformation_error_mm"):
        assert row[name] == pytest.approx(0, abs=2e-3), name
    assert row["touchness_ratio"] in (None, 1.0)
    for part in ("hand", "head"):
        assert row["contact"][part]["f1"] == 1.0


def test_meshes_alone_have_no_figures_of_contact_or_image(metrics):
    row = metrics["obj"]
    assert "contact" not in row and "presence_accuracy" not in row
    assert not any(name.startswith("keypoints_2d") for name in row)
    # The origin is the deformed head's center, since nothing tells the undeformed one.
    assert 0 < row["pve_mm"] < 1.0
    assert "contact" in metrics["model"] and "keypoints_2d_error_px" in metrics["model"]


def test_mistakes_are_one_line_that_names_the_file(truth, tmp_path):
    write(tmp_path, truth, "npz")
    with pytest.raises(UserError, match=r"no prediction for sample 000009: it needs 000009\.npz"):
        prediction_files.read(tmp_path, "000009")
    arrays = dict(np.load(tmp_path / "000000.npz"))
    np.savez(tmp_path / "mm.npz", **{name: 1000 * x for name, x in arrays.items()})
    with pytest.raises(UserError, match="lengths must be meters"):
        prediction_files.read(tmp_path, "mm")
    np.savez(tmp_path / "short.npz", **arrays | {"hand_contact_probs": np.zeros(5)})
    with pytest.raises(UserError, match=r"hand_contact_probs has shape \(5,\)"):
        prediction_files.read(tmp_path, "short")
    write_obj(tmp_path / "x_hand.obj", np.zeros((5, 3)))
    write_obj(tmp_path / "x_head.obj", np.zeros((5023, 3)))
    with pytest.raises(UserError, match="has 5 vertices, not 778"):
        prediction_files.read(tmp_path, "x")
    Path(tmp_path / "x_hand.obj").write_text("v a b c\n")
    with pytest.raises(UserError, match="is not a mesh"):
        prediction_files.read(tmp_path, "x")
