"""Properties that all configurations share."""

import jax.numpy as jnp
import numpy as np
import pytest

from dice_jax import configs, models
from dice_jax.configs import default, full, small, tiny
from dice_jax.geometry.rotations import axis_angle_to_matrix
from dice_jax.models import heads
from dice_jax.models.ik_net import to_axis_angle
from dice_jax.models.template import FRONTAL_HEAD, PALM_TO_FACE


@pytest.mark.parametrize("config", [default, tiny, small, full])
def test_every_network_takes_rgb_images(config):
    assert config.get_config().model.channels == "rgb"


@pytest.mark.parametrize("config", [tiny, small, full])
def test_every_camera_starts_with_the_scene_in_the_image(config):
    """A translation that starts at 0 pixels would first have to move to the center of the crop."""
    camera = config.get_config().model.camera
    assert camera.variant == "centered" and 300 < heads.INITIAL_SCALE < 800


@pytest.mark.parametrize("data", ["licensed", "synthetic"])
def test_full_augments_as_the_authors_do_and_not_more(data):
    """In the released code only backgrounds and one of six changes of the pixels are on."""
    augmentation = full.get_config(data).data.augmentation.to_dict()
    changes = {name: value for name, value in augmentation.items() if value}
    expected = {"photometric": 0.8} | ({"background": 0.5} if data == "licensed" else {})
    assert changes == expected


@pytest.mark.parametrize(
    ("word", "name"),
    [
        ("configs/full.py", "full"),
        ("/home/me/configs/full.py:synthetic", "full_synthetic"),
        ("small", "small"),
        ("metro:small", "metro_small"),
        ("mine.py", "mine"),
    ],
)
def test_a_run_without_a_workdir_is_named_after_its_configuration(word, name):
    (argument,) = configs.resolve_names([f"--config={word}"])
    assert configs.run_name(argument.removeprefix("--config=")) == name


def test_full_turns_hand_and_head_about_their_usual_orientation():
    """The released code predicts axis-angle from zero, half a turn away from every head."""
    model = models.ModelConfig.from_dict(full.get_config().model)
    for ik, zero in ((model.hand_ik, PALM_TO_FACE), (model.head_ik, FRONTAL_HEAD)):
        assert ik.orientation == "6d" and ik.zero_orient == zero
    start = to_axis_angle(jnp.zeros((1, 6)), None, model.head_ik)
    expected = axis_angle_to_matrix(jnp.array([FRONTAL_HEAD]))
    np.testing.assert_allclose(axis_angle_to_matrix(start), expected, atol=1e-5)
    release = models.presets.release_config()
    assert release.hand_ik.orientation == release.head_ik.orientation == "axis_angle"


def test_the_overfit_run_has_the_paper_s_network_and_losses():
    overfit, paper = full.get_config("overfit"), full.get_config("synthetic")
    assert overfit.losses == paper.losses
    assert overfit.burn_in_steps < overfit.total_steps / 2
    same = overfit.model.copy_and_resolve_references()
    same.masking = paper.model.masking
    for name in ("mesh_net", "interaction_net"):
        for field in ("dropout", "attention_dropout"):
            same[name].encoders[field] = paper.model[name].encoders[field]
    assert same == paper.model
    assert not any(overfit.data.augmentation.to_dict().values())
