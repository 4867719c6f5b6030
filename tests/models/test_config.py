"""Configurations of networks: JSON, and error messages."""

import json

import pytest
from ml_collections import ConfigDict

from dice_jax.models import presets
from dice_jax.models.config import ModelConfig

PRESETS = (presets.full, presets.release, presets.small, presets.tiny)
VARIANTS = (presets.single_branch, presets.metro, presets.fastmetro, presets.pixie_r)


@pytest.mark.parametrize("preset", PRESETS)
def test_json_preserves_a_configuration(preset):
    section = preset()
    loaded = ConfigDict(json.loads(json.dumps(section.to_dict())))
    assert ModelConfig.from_dict(loaded) == ModelConfig.from_dict(section)


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_of_every_preset_is_valid(preset, variant):
    assert ModelConfig.from_dict(variant(preset())).network == variant.__name__


def encoders(**fields):
    return {"mesh_net": {"encoders": {"hidden": (32, 16), "layers": (1, 1), **fields}}}


@pytest.mark.parametrize(
    "change, message",
    [
        ({"widht": 3}, "model has no field widht"),
        (
            {"backbone": {"name": "resnet"}},
            r"model\.backbone\.name is 'resnet', choose one of hrnet, efficientnet_lite0",
        ),
        ({"network": "hmr"}, r"model\.network is 'hmr', choose one of dice, single_branch, metro"),
        ({"hand_ik": {"level": 2}}, r"model\.hand_ik\.level is 2, choose one of 0, 1"),
        ({"head_ik": {"level": 3}}, r"model\.head_ik\.level is 3, choose one of 0, 1, 2"),
        (encoders(hidden=(30, 16), outputs=(4,)), "multiples of its 4 heads"),
        (encoders(outputs=()), r"model\.mesh_net\.encoders: 2 hidden widths need 1 outputs"),
        ({"fine_features": 8}, r"model\.fine_features must be set together with model\.mesh_net"),
        (
            {
                "fine_features": 8,
                "mesh_net": {"refinements": 1},
                "camera": {"source": "image"},
            },
            r"model\.mesh_net\.refinements needs model\.mesh_net\.template_placed",
        ),
        (
            {"mesh_net": {"template_placed": True}},
            r"model\.mesh_net\.template_placed needs model\.hand_ik\.center_inputs",
        ),
        (
            {"head_ik": {"turns_root": True, "orientation": "6d"}},
            r"model\.head_ik\.turns_root needs model\.head_ik\.orientation",
        ),
        (
            {"fine_features": 8, "interaction_net": {"sees_image": True}},
            r'model\.fine_features needs model\.camera\.source "image"',
        ),
        *(
            (
                {"network": "metro", **addition},
                rf'model\.{name} needs model\.network "dice" or "single_branch"',
            )
            for name, addition in {
                "evidence_hidden": {"evidence_hidden": 8},
                "hand_presence": {"hand_presence": True},
                r"mesh_net\.depth_sigma": {
                    "mesh_net": {"template_placed": True, "depth_sigma": True},
                    "hand_ik": {"center_inputs": True, "orientation": "6d"},
                    "head_ik": {"center_inputs": True, "orientation": "6d"},
                },
            }.items()
        ),
        ({"network": "pixie_r"}, r'model\.network "pixie_r" needs model\.camera\.source "image"'),
        (
            {"network": "fastmetro", "mesh_net": {"template_residual": True}},
            r'model\.network "fastmetro" needs model\.mesh_net\.template_residual False',
        ),
    ],
)
def test_an_error_is_one_line_that_names_the_field(change, message):
    with pytest.raises(ValueError, match=message) as error:
        ModelConfig.from_dict(change)
    assert "\n" not in str(error.value)
