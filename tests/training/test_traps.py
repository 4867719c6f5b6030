"""The traps of the authors' code that concern training, and the tests that fail if one returns.

Those of evaluation are in tests/metrics/test_traps.py. Left out: 1 (a random mask at inference), 12
(labels found by replacing a word in a path: ours are records), 15 (smoothing of videos), 16 (left
hands) and 18 (drawing).
"""

import ast
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from support import micro_run

from dice_jax import models, train
from dice_jax.configs import default, full, small, tiny
from dice_jax.input_pipeline import loader, mixture, schema
from dice_jax.training import setup as train_setup

TESTS = Path(__file__).parents[1]
# Trap: what went wrong there, and where it is tested besides this file.
ELSEWHERE = {
    2: (
        "depth is read at swapped rows and columns",
        [
            "losses/test_depth.py::test_depth_is_sampled_at_the_pixel_of_the_keypoint",
            "losses/test_total.py::test_depth_compares_each_keypoint_with_its_own_label",
        ],
    ),
    3: (
        "the collision loss takes hand vertices 0 and 1",
        ["losses/test_touch.py::test_collision_is_over_the_vertices_inside_and_no_others"],
    ),
    4: ("hand keypoints in two orders", ["losses/test_total.py::test_keypoints_have_one_order"]),
    5: (
        "truth centerd on the deformed head, prediction on the undeformed one",
        [
            "losses/test_total.py::test_rough_meshes_are_compared_in_their_own_head_centered_frame",
            "losses/test_total.py::test_a_one_sided_deformation_does_not_move_the_targets",
        ],
    ),
    7: (
        "FreiHAND's offsets taken for absolute poses",
        [
            "preparation/test_priors.py::test_either_convention_is_recognized",
            "preparation/test_priors.py::test_without_joints_poses_are_offsets_as_freihands_are",
        ],
    ),
    8: (
        "one depth variance for all images; an infinite gradient at its zero",
        [
            "losses/test_depth.py::test_silog_is_per_image_and_invariant_to_scale",
            "losses/test_depth.py::test_silog_gradient_is_right_and_finite_at_the_optimum",
        ],
    ),
    9: (
        "undetected keypoints supervise",
        ["losses/test_keypoints.py::test_undetected_keypoints_have_neither_loss_nor_gradient"],
    ),
    10: (
        "discriminators and masked means of each device for itself",
        [
            "training/test_step.py::test_eight_devices_equal_one",
            "losses/test_masking.py::test_eight_devices_give_the_value_and_the_gradient_of_one",
        ],
    ),
    11: (
        "the first photograph is never seen",
        ["data/test_mixture.py::test_shares_are_held_and_everyone_is_there"],
    ),
    13: (
        "masks of a data set that is not used are read; one background at a time would do",
        ["data/test_photometric.py::test_the_person_stays_and_the_rest_is_of_the_folder"],
    ),
    14: (
        "body models run twice a sample on the CPU while loading",
        ["test_imports.py::test_arrows"],
    ),
    17: (
        "a camera that starts in the corner",
        ["models/test_heads.py::test_camera_starts_at_the_middle_of_the_crop_and_sees_its_source"],
    ),
    20: (
        "scaled orthography on pictures from close by: a floor under the 2D error",
        ["synthetic/test_scenes.py::test_scaled_orthography_costs_a_few_pixels"],
    ),
}


@pytest.mark.parametrize("trap", ELSEWHERE)
def test_the_test_is_there(trap):
    _, names = ELSEWHERE[trap]
    for name in names:
        path, function = name.split("::")
        assert function in [
            node.name
            for node in ast.parse((TESTS / path).read_text()).body
            if hasattr(node, "name")
        ]


def test_6_the_network_sees_red_first():
    """Trap 6: the authors' loaders hand BGR pictures to a backbone normalized for RGB."""
    red = np.zeros((224, 224, 3), np.uint8)
    red[..., 0] = 255
    sample = schema.decode(schema.encode({**micro_run.sample(0), "image": red}))
    (image,) = loader.Loader([sample], 1, seed=0).batch(0).images
    seen = np.asarray(models.preprocess(image[None]))[0].mean((0, 1))
    expected = (np.array([1.0, 0.0, 0.0]) - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    np.testing.assert_allclose(seen, expected, atol=0.05)
    for config in (default, tiny, small, full):
        assert config.get_config().model.channels == "rgb"


def test_11_the_first_photograph_is_seen():
    samples = [{"subject": i} for i in range(5)]
    seen = mixture.Mixture([samples, [{"subject": 100}]], [1, 1])
    assert {seen[i]["subject"] for i in range(len(seen))} == {0, 1, 2, 3, 4, 100}


@pytest.mark.parametrize("config", [tiny, small, full])
def test_17_every_recipe_starts_with_the_scene_in_the_picture(config):
    """Trap 17: a translation that starts at 0 pixels has to travel to the middle of the crop first."""
    camera = config.get_config().model.camera
    assert camera.variant == "centered" and 300 < camera.initial_scale < 800


def test_19_waiting_for_a_transfer_in_the_loop_is_an_error(monkeypatch, tmp_path):
    """Trap 19: prints of NaN checks made every forward pass wait for the device."""
    micro_run.install(monkeypatch.setattr)
    with pytest.raises(Exception, match="Disallowed host-to-device transfer"):
        monkeypatch.setattr(train.logging.Progress, "advance", lambda self: jnp.sin(np.ones(3)))
        train.train(micro_run.get_config(total_steps=2), tmp_path)


def test_10_only_the_generator_s_rate_is_scheduled():
    """As in the authors' code; a choice, and not to be changed by accident."""
    config = full.get_config("synthetic")
    config.total_steps = 4
    rate = train_setup.optimizer.learning_rate(config.optimizer, 4)
    assert [float(rate(step)) for step in (0, 3)] == pytest.approx([6e-4, 6e-5])
    discriminator = train_setup.optimizer.discriminator_optimizer(config.optimizer)
    params, state, sizes = {"w": jnp.ones(3)}, discriminator.init({"w": jnp.ones(3)}), []
    for _ in range(4):
        updates, state = discriminator.update({"w": jnp.ones(3)}, state, params)
        sizes.append(float(jnp.abs(updates["w"]).max()))
    assert sizes == pytest.approx([6e-4] * 4, rel=1e-3)
