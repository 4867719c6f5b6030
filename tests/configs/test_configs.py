"""Properties that all configurations share."""

import pytest

from dice_jax.configs import default, full, small, tiny
from dice_jax.models import heads


@pytest.mark.parametrize("config", [default, tiny, small, full])
def test_every_network_takes_rgb_images(config):
    assert config.get_config().model.channels == "rgb"


@pytest.mark.parametrize("config", [tiny, small, full])
def test_every_camera_starts_with_the_scene_in_the_image(config):
    """A translation that starts at 0 pixels would first have to move to the center of the crop."""
    camera = config.get_config().model.camera
    assert camera.variant == "centered" and 300 < heads.INITIAL_SCALE < 800
