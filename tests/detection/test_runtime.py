"""Both runtimes give the same answers."""

import hashlib
import re

import numpy as np
import pytest

from dice_jax.detection import runtime
from dice_jax.detection.squares import Pyramid, around_photo

NETWORKS = {
    "face_detection.tflite": (128, ("regressors", "classificators"), -1.0),
    "palm_detection.tflite": (192, ("Identity", "Identity_1"), 0.0),
    "face_mesh.tflite": (192, ("conv2d_21", "conv2d_31"), 0.0),
    "hand_landmarks.tflite": (224, tuple(f"Identity{n}" for n in ("", "_1", "_2", "_3")), 0.0),
}


@pytest.mark.parametrize("file", sorted(NETWORKS))
def test_opencv_agrees_with_litert(file, scene):
    pytest.importorskip("ai_edge_litert.interpreter")
    size, outputs, black = NETWORKS[file]
    pixels = Pyramid(scene).cut(around_photo(*scene.shape[:2]), size)
    answers = [
        runtime.Network(file, size, outputs, black, engine)(pixels)
        for engine in ("litert", "opencv")
    ]
    for litert, opencv in zip(*answers):
        np.testing.assert_allclose(litert.ravel(), opencv.ravel(), rtol=1e-3, atol=0.02)


def test_the_files_are_those_that_the_readme_names():
    text = (runtime.FOLDER / "README.md").read_text()
    sums = dict(re.findall(r"^\| `(\w+\.tflite)` .*`([0-9a-f]{64})` \|$", text, re.MULTILINE))
    files = {path.name: path.read_bytes() for path in runtime.FOLDER.glob("*.tflite")}
    assert sums == {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    assert set(sums) == set(NETWORKS)
