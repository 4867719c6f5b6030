"""A few steps of `configs/full.py` on miniatures of all licensed files: every loss works."""

import collections
import importlib.resources
import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import jax
import numpy as np
import pytest
from support import decaf_miniature as miniature
from support import solved_scenes

from dice_jax.configs import full
from dice_jax.constants import CROP_SIZE
from dice_jax.datasets import registry
from dice_jax.input_pipeline import loader
from dice_jax.losses import presets, terms
from dice_jax.tools import prepare_decaf, prepare_in_the_wild, prepare_priors

REPOSITORY = Path(full.__file__).parents[2]
STEPS, BATCH, MIXTURE = 6, 4, "decaf:1+in_the_wild:1"
# The paper's configuration with a short run, more photos, and a learning rate so small that meshes
# which touch stay in touch.
FLAGS = (
    f"--config.total_steps={STEPS}",
    f"--config.batch_size={BATCH}",
    f"--config.data.name={MIXTURE}",
    "--config.burn_in_steps=0",
    "--config.log_every=1",
    "--config.sheet_every=0",
    "--config.optimizer.learning_rate=1e-6",
)
TINY_CONFIG = """
from configs import full
from dice_jax.models import presets

def get_config():
    config = full.get_config()
    config.model = presets.tiny()
    config.model.presence = False
    return config
"""


def write_photos(root):
    """Writes scenes in the authors' layout: images, relative keypoints, and depth maps."""
    distance, center = np.array([0.0, 0.0, 0.94]), CROP_SIZE / 2
    focal_length = miniature.FOCAL_LENGTH
    for kind in ("images", "hand_keypoints", "face_keypoints", "depth_maps"):
        (root / kind / "photos").mkdir(parents=True)
    for number, scene in enumerate(solved_scenes.load()):
        in_camera = lambda points: points * [1, -1, -1] + distance
        pixels = lambda points: focal_length * points[:, :2] / points[:, 2:] + center
        depth = np.full((CROP_SIZE, CROP_SIZE), 1.5, np.float32)
        for vertices in (in_camera(scene.head_vertices), in_camera(scene.hand_vertices)):
            miniature.fill_hull(depth, pixels(vertices), float(vertices[:, 2].mean()))
        for kind, points in (("hand", scene.hand_keypoints), ("face", scene.head_keypoints)):
            keypoints = pixels(in_camera(points)) / CROP_SIZE
            np.save(root / f"{kind}_keypoints" / "photos" / f"{number}.npy", keypoints)
        np.save(root / "depth_maps" / "photos" / f"{number}_pred.npy", depth)
        image = miniature.image(depth < 1.5, number)
        cv2.imwrite(str(root / "images" / "photos" / f"{number}.jpg"), image)


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """Environment variables of a run on one device that finds all prepared data and assets."""
    folder = tmp_path_factory.mktemp("licensed")
    assets, data = folder / "assets", folder / "data"
    assets.mkdir()
    models = importlib.resources.files("dice_jax.body_models") / "data"
    (assets / "mano_right.npz").write_bytes((models / "open_hand.npz").read_bytes())
    (assets / "flame.npz").write_bytes((models / "open_head.npz").read_bytes())
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DICE_ASSETS", str(assets))
        patch.setenv("DICE_DATA", str(data))
        for mode, subject in (("train", "S2"), ("train", "S5"), ("test", "S1")):
            miniature.write_take(folder / "DecafDataset", mode, subject, ("108",), frames=4)
        write_photos(folder / "photos")
        prepare_decaf.main([f"--decaf={folder}", f"--out={data}", "--workers=1"])
        prepare_in_the_wild.main(
            [f"--images={folder / 'photos'}", "--layout=authors", f"--out={data}"]
        )
        prepare_priors.main(["--data=decaf", f"--out={data}"])
        yield {**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": ""}


@pytest.mark.parametrize(
    "network",
    [
        pytest.param("tiny", marks=pytest.mark.slow),
        pytest.param(
            "hrnet_w64",
            marks=[
                pytest.mark.slow,
                pytest.mark.skipif(
                    "FULL_NETWORK" not in os.environ, reason="minutes; FULL_NETWORK=1 runs it"
                ),
            ],
        ),
    ],
)
def test_every_loss_works_in_the_papers_configuration(environment, tmp_path, network):
    config = REPOSITORY / "configs/full.py"
    if network == "tiny":  # compiling takes longer than running
        config = tmp_path / "tiny.py"
        config.write_text(TINY_CONFIG)
        environment = environment | {"XLA_FLAGS": "--xla_backend_optimization_level=0"}
    arguments = [f"--config={config}", f"--workdir={tmp_path / 'run'}", *FLAGS]
    command = [sys.executable, "-m", "dice_jax.train", *arguments]
    done = subprocess.run(command, env=environment, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    lines = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(1, STEPS + 1))
    assert all(np.isfinite(value) for line in lines for value in line.values())

    active = terms.active_terms(presets.PAPER)
    assert {f"loss/{term.name}" for term in active} <= set(lines[0])
    batches = loader.Loader(registry.open_split(MIXTURE, "train"), BATCH, seed=0)
    trained = collections.Counter()
    for step, line in enumerate(lines):
        batch = batches.batch(step)
        for term in active:
            has_label = bool(term.mask(batch).any())  # only photos have depth
            assert (line[f"loss/{term.name}"] != 0) == has_label, (step, term.name)
            trained[term.name] += has_label
        assert line["loss/discriminator_hand"] > 0 and line["loss/discriminator_head"] > 0
    assert min(trained[term.name] for term in active) > STEPS / 2
    validation = json.loads((tmp_path / "run/validation.jsonl").read_text().splitlines()[-1])
    assert validation["pve_mm"] > 0 and jax.tree.all(jax.tree.map(np.isfinite, validation))
