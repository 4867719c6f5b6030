"""Converted weights give the authors' predictions, end to end.

The reference is an independent PyTorch implementation, saved in the authors' formats. It is narrow.
With FULL_TWIN=1 it has the full size, 298 M weights, which takes minutes and 8 GB.
"""

import dataclasses
import importlib.resources
import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from support.fast_compile import LITTLE_OPTIMIZATION

import dice_jax
from dice_jax import inference
from dice_jax.body_models import load_hand, load_head, pose_hand, pose_head
from dice_jax.constants import HAND_LEVELS, HEAD_LEVELS
from dice_jax.models import preprocess
from dice_jax.structs import HandParams, HeadParams
from dice_jax.tools import convert_official

torch = pytest.importorskip("torch")
twin = pytest.importorskip("support.torch_twin")

# The index of each of OpenPose's keypoints in the order of the authors: 16 joints of MANO, then the
# tips of thumb, index, middle, ring and little finger.
OPENPOSE = [0, 13, 14, 15, 16, 1, 2, 3, 17, 4, 5, 6, 18, 10, 11, 12, 19, 7, 8, 9, 20]
TIPS = [745, 317, 445, 556, 673]
NECK = np.arange(3000, 3400)  # vertices in the stand-in for neck_idx.npy


@pytest.fixture(scope="module")
def selection():
    """Coarse vertices that differ from those of this package."""
    rng = np.random.default_rng(5)
    choose = lambda count, size: np.sort(rng.choice(count, size, replace=False))
    return {
        "hand": [choose(*HAND_LEVELS)],
        "head": [choose(*HEAD_LEVELS[:2]), choose(*HEAD_LEVELS[1:])],
    }


@pytest.fixture(scope="module")
def authors(selection, tmp_path_factory):
    """(network, folder): the PyTorch network, and the folder of the authors' files."""
    folder = tmp_path_factory.mktemp("authors")
    model = twin.build(twin.Sizes() if "FULL_TWIN" in os.environ else twin.NARROW)
    twin.save_module(model, folder / "model.bin")
    twin.save_transforms(folder, selection)
    np.save(folder / "neck_idx.npy", NECK)
    return model, folder


@pytest.fixture(scope="module")
def assets(tmp_path_factory):
    """A folder of licensed body models, for which the open ones stand in."""
    folder = tmp_path_factory.mktemp("assets")
    data = importlib.resources.files("dice_jax.body_models") / "data"
    (folder / "mano_right.npz").write_bytes((data / "open_hand.npz").read_bytes())
    (folder / "flame.npz").write_bytes((data / "open_head.npz").read_bytes())
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DICE_ASSETS", str(folder))
        yield folder


@pytest.fixture(scope="module")
def converted(authors, tmp_path_factory):
    out = tmp_path_factory.mktemp("converted") / "official"
    convert_official.main([str(authors[1] / "model.bin"), "--out", str(out)])
    return out


@pytest.fixture(scope="module")
def model(converted, assets):
    return dice_jax.load(converted)


@pytest.fixture(scope="module")
def images():
    return (
        np.random.default_rng(1)
        .integers(0, 256, (2, 7, 7, 3), np.uint8)
        .repeat(32, axis=1)
        .repeat(32, axis=2)
    )


@pytest.fixture(scope="module")
def queries(selection):
    """Template positions of the authors' tokens, meters."""
    hand, head = load_hand(), load_head()
    v = np.asarray(hand.v_template, np.float64)
    hand_points = np.concatenate([np.asarray(hand.J_regressor, np.float64) @ v, v[TIPS]])[OPENPOSE]
    hand_coarse = v[selection["hand"][0]]
    v = np.asarray(head.v_template, np.float64)
    corners = v[np.asarray(head.faces)[np.asarray(head.lmk_faces_idx)]]
    head_points = (corners * np.asarray(head.lmk_bary_coords)[:, :, None]).sum(1)
    head_coarse = v[selection["head"][0]][selection["head"][1]]
    return np.concatenate(
        [
            hand_points - hand_coarse.mean(0),
            head_points - head_coarse.mean(0),
            hand_coarse - hand_coarse.mean(0),
            head_coarse - head_coarse.mean(0),
        ]
    )


@pytest.fixture(scope="module")
def expected(authors, queries, images):
    """The raw output of the PyTorch network."""
    bgr = images[..., ::-1] / 255.0
    normalized = (bgr - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    tensor = lambda x: torch.tensor(x, dtype=torch.float32)
    with torch.no_grad():
        output = authors[0](tensor(normalized.transpose(0, 3, 1, 2)), tensor(queries))
    return {name: value.numpy() for name, value in output.items()}


@pytest.fixture(scope="module")
def infer(model, images):
    return inference.infer_checked.lower(model, images).compile(LITTLE_OPTIMIZATION)


@pytest.fixture(scope="module")
def prediction(model, images, infer):
    return jax.device_get(infer(model, images))


def assert_close(got, wanted):
    """Checks that values agree within a thousandth of the largest one."""
    assert got.shape == wanted.shape
    np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-3 * np.abs(wanted).max())


def test_the_template_positions_of_the_tokens_agree(model, queries):
    np.testing.assert_allclose(model.queries, queries, atol=1e-6)


def test_the_outputs_of_the_network_agree(model, images, expected):
    apply = lambda model, x: model.module.apply(
        model.variables, preprocess(x), model.queries, train=False
    )
    output = jax.jit(apply).lower(model, images).compile(LITTLE_OPTIMIZATION)(model, images)
    rough, hand, head = output.rough, output.hand_params, output.head_params
    positions = expected["positions"]
    assert_close(rough.hand_vertices, expected["hand"])
    assert_close(rough.hand_vertices_coarse, positions[:, 89:284])
    assert_close(rough.head_vertices, expected["head"])
    assert_close(rough.head_vertices_mid, expected["head_mid"])
    assert_close(rough.head_vertices_coarse, positions[:, 284:])
    assert_close(rough.hand_keypoints, positions[:, :21][:, OPENPOSE])
    assert_close(rough.head_keypoints, positions[:, 21:89])
    assert_close(output.camera.scale, expected["scale"])
    assert_close(output.camera.transl, expected["transl"])
    assert_close(output.deformations, expected["deformations"])
    assert_close(jax.nn.sigmoid(output.presence_logit), expected["presence"])
    assert_close(
        jnp.concatenate([hand.betas, hand.global_orient, hand.hand_pose], -1),
        np.delete(expected["hand_params"], range(10, 13), -1),
    )
    assert_close(
        jnp.concatenate([head.betas, head.expression, output.head_root, head.jaw_pose], -1),
        expected["head_params"][:, :156],
    )


def test_posed_meshes_and_contacts_agree(model, prediction, expected):
    p, q = expected["hand_params"], expected["head_params"]
    zeros = np.zeros((len(p), 3), np.float32)
    hand = pose_hand(model.hand_model, HandParams(p[:, :10], p[:, 13:16], p[:, 16:61], p[:, 10:13]))
    head = pose_head(
        model.head_model,
        HeadParams(q[:, :100], q[:, 100:150], q[:, 150:153], zeros, q[:, 153:156], zeros),
    )
    # The authors rotate the head once more about its centroid and translate it. Then everything is
    # centered on the undeformed head.
    centroid = np.asarray(head.vertices, np.float64).mean(1, keepdims=True)
    rotation = Rotation.from_rotvec(q[:, 156:159]).as_matrix().swapaxes(1, 2)
    place = lambda points: (np.asarray(points) - centroid) @ rotation + centroid + q[:, None, 159:]
    center = place(head.vertices).mean(1, keepdims=True)
    head_vertices = place(head.vertices) - center
    deformations = expected["deformations"] * (expected["presence"] > 0.5)[:, None, None]
    deformations[:, NECK] = 0.0

    assert_close(prediction.hand_vertices, hand.vertices - center)
    assert_close(prediction.hand_keypoints_3d, hand.keypoints - center)
    assert_close(prediction.head_vertices, head_vertices)
    assert_close(prediction.head_keypoints_3d, place(head.keypoints) - center)
    assert_close(prediction.deformed_head_vertices, head_vertices - deformations)
    assert_close(prediction.deformations, deformations)
    pixels = lambda points: (
        expected["scale"][:, None, None] * points[..., :2] + expected["transl"][:, None]
    )
    assert_close(prediction.hand_keypoints_2d, pixels(np.asarray(hand.keypoints) - center))
    assert_close(prediction.hand_contact_probs, expected["hand_contact"])
    assert_close(prediction.head_contact_probs, expected["head_contact"])
    # The returned parameters are those of smplx: posing the body models with them gives the meshes.
    for pose, body, params, vertices in (
        (pose_hand, model.hand_model, prediction.hand_params, prediction.hand_vertices),
        (pose_head, model.head_model, prediction.head_params, prediction.head_vertices),
    ):
        assert_close(pose(body, params).vertices, vertices)


def test_inference_is_deterministic(model, images, infer, prediction):
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(infer(model, images)), prediction)


def test_tokens_are_not_masked_at_inference(model, images):
    """The program is the same for any share of tokens masked in training."""
    program = lambda model: inference.infer_checked.lower(model, images).as_text()
    config = model.module.config
    assert config.masking == 0.3
    unmasked = model.module.clone(config=dataclasses.replace(config, masking=0.0))
    assert program(model.replace(module=unmasked)) == program(model)
