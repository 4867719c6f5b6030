"""Both runtimes give the same answers."""

import hashlib
import re

import numpy as np
import pytest

from dice_jax.detection import runtime
from dice_jax.detection.squares import Pyramid, around_photo
from dice_jax.errors import UserError

SPECS = (
    runtime.FACE_DETECTION,
    runtime.PALM_DETECTION,
    runtime.FACE_MESH,
    runtime.HAND_LANDMARKS,
)


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.file)
def test_opencv_agrees_with_litert(spec, scene):
    pytest.importorskip("ai_edge_litert.interpreter")
    pixels = Pyramid(scene).cut(around_photo(*scene.shape[:2]), spec.size)
    answers = [runtime.Network(spec, name)(pixels) for name in ("litert", "opencv")]
    for litert, opencv in zip(*answers):
        np.testing.assert_allclose(litert.ravel(), opencv.ravel(), rtol=1e-3, atol=0.02)


def test_the_files_are_those_that_the_readme_names():
    text = (runtime.FOLDER / "README.md").read_text()
    sums = dict(re.findall(r"^\| `(\w+\.tflite)` .*`([0-9a-f]{64})` \|$", text, re.MULTILINE))
    files = {path.name: path.read_bytes() for path in runtime.FOLDER.glob("*.tflite")}
    assert sums == {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    assert set(sums) == {spec.file for spec in SPECS}


def test_reading_and_running_a_network_prints_nothing(scene, capfd):
    for name in ["opencv", *(["litert"] if runtime.has_litert() else [])]:
        pixels = Pyramid(scene).cut(around_photo(*scene.shape[:2]), 128)
        runtime.Network(runtime.FACE_DETECTION, name)(pixels)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("wanted", ["abc", "0", "-1", "1.5"])
def test_a_senseless_number_of_threads_is_one_line(wanted, monkeypatch):
    monkeypatch.setenv("DICE_DETECTION_THREADS", wanted)
    with pytest.raises(UserError, match=f"DICE_DETECTION_THREADS={wanted}: give the number"):
        runtime._threads()
