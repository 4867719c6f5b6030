"""Photos that detection is tested on, and a count of the networks' calls."""

from pathlib import Path

import numpy as np
import pytest

import dice_jax
from dice_jax.detection import runtime
from dice_jax.io import images

SAMPLES = Path(dice_jax.__file__).parent / "samples"
SCENES = sorted(path.stem for path in SAMPLES.glob("scene_*.jpg"))


@pytest.fixture(scope="session")
def portrait() -> np.ndarray:
    """A face without a hand."""
    return images.read_image(SAMPLES / "astronaut.jpg")


@pytest.fixture(scope="session")
def scene() -> np.ndarray:
    """A right hand at a cheek."""
    return images.read_image(SAMPLES / "scene_palm_cheek.jpg")


@pytest.fixture(scope="session", params=SCENES)
def any_scene(request) -> np.ndarray:
    """A right hand at a face, rendered."""
    return images.read_image(SAMPLES / f"{request.param}.jpg")


@pytest.fixture
def calls(monkeypatch) -> list[int]:
    """The input size of every call of a network."""
    sizes = []
    call = runtime.Network.__call__

    def counted(self, image):
        sizes.append(self.size)
        return call(self, image)

    monkeypatch.setattr(runtime.Network, "__call__", counted)
    return sizes
