"""`configs/full.py` with miniatures of Decaf, photographs and body models in place: ten steps,
every loss at work.
"""

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

from dice_jax.configs import full
from dice_jax.datasets import registry
from dice_jax.input_pipeline import loader
from dice_jax.losses import presets, terms
from dice_jax.tools import prepare_decaf, prepare_in_the_wild, prepare_priors

REPOSITORY = Path(full.__file__).parents[2]
STEPS, BATCH, SHARES = 10, 4, "decaf:1+in_the_wild:1"
# The paper's recipe but for its length, its share of photographs, and steps too small to end a
# touch that is there.
FLAGS = (
    f"--config.total_steps={STEPS}",
    f"--config.batch_size={BATCH}",
    f"--config.data.name={SHARES}",
    "--config.burn_in_steps=0",
    "--config.log_every=1",
    "--config.optimizer.learning_rate=1e-6",
)
SMALL = """
from configs import full
from dice_jax.models import presets

def get_config():
  config = full.get_config()
  config.model = presets.tiny()
  return config
"""


def write_photos(root, count):
    """Scenes as photographs in the authors' layout: pictures, keypoints as shares of them, depth of
    what is seen.
    """
    for number in range(count):
        ((example, rendering),) = miniature.sampler().scene_with_renderings(100 + number)
        far = rendering.depth[np.isfinite(rendering.depth)].max() + 0.3
        for kind, suffix, array in (
            ("hand_keypoints", "", example["hand_keypoints_2d"][:, :2] / miniature.SIZE),
            ("face_keypoints", "", example["head_keypoints_2d"][:, :2] / miniature.SIZE),
            ("depth_maps", "_pred", np.minimum(rendering.depth, far)),
        ):
            (root / kind / "photos").mkdir(parents=True, exist_ok=True)
            np.save(root / kind / "photos" / f"{number}{suffix}.npy", array)
        (root / "images" / "photos").mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(root / "images" / "photos" / f"{number}.jpg"), example["image"][..., ::-1])


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """The folders of data and assets, filled by the preparing tools, as a run finds them; one
    device.
    """
    folder = tmp_path_factory.mktemp("licensed")
    assets, data = folder / "assets", folder / "data"
    assets.mkdir()
    shapes = importlib.resources.files("dice_jax.body_models") / "data"
    (assets / "mano_right.npz").write_bytes((shapes / "open_hand.npz").read_bytes())
    (assets / "flame.npz").write_bytes((shapes / "open_head.npz").read_bytes())
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DICE_ASSETS", str(assets))
        patch.setenv("DICE_DATA", str(data))
        for number, (mode, subject) in enumerate(
            (("train", "S2"), ("train", "S5"), ("test", "S1"))
        ):
            miniature.write_take(
                folder / "DecafDataset", mode, subject, ("108",), frames=4, first=10 * number
            )
        write_photos(folder / "photos", 4)
        prepare_decaf.main(["--decaf", str(folder), "--out", str(data), "--workers", "1"])
        prepare_in_the_wild.main(
            ["--images", str(folder / "photos"), "--layout", "authors", "--out", str(data)]
        )
        prepare_priors.main(["--data", "decaf", "--out", str(data)])
        yield {**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": ""}


@pytest.mark.parametrize(
    "network",
    [
        "tiny",
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
def test_ten_steps_of_the_papers_recipe(environment, tmp_path, network):
    (tmp_path / "small.py").write_text(SMALL)
    config = REPOSITORY / "configs/full.py"
    if network == "tiny":  # compiles longer than it runs
        config, environment = (
            tmp_path / "small.py",
            environment | {"XLA_FLAGS": "--xla_backend_optimization_level=0"},
        )
    command = [
        sys.executable,
        "-m",
        "dice_jax.train",
        f"--config={config}",
        f"--workdir={tmp_path / 'run'}",
        *FLAGS,
    ]
    done = subprocess.run(command, env=environment, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    lines = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(1, STEPS + 1))
    assert all(np.isfinite(value) for line in lines for value in line.values())

    active = terms.active_terms(presets.PAPER)
    assert {f"loss/{term.name}" for term in active} <= set(lines[0])
    batches = loader.Loader(registry.open_split(SHARES, "train"), BATCH, seed=0)
    taught = collections.Counter()
    for step, line in enumerate(lines):
        batch = batches.batch(step)
        for term in active:
            has_it = bool(term.mask(batch).any())  # a batch without a photograph has no depth
            assert (line[f"loss/{term.name}"] != 0) == has_it, (step, term.name)
            taught[term.name] += has_it
        assert line["loss/discriminator_hand"] > 0 and line["loss/discriminator_head"] > 0
    assert min(taught[term.name] for term in active) > STEPS / 2
    validation = json.loads((tmp_path / "run/validation.jsonl").read_text().splitlines()[-1])
    assert validation["pve_mm"] > 0 and jax.tree.all(jax.tree.map(np.isfinite, validation))
