"""The authors' files in, the authors' answers out: an independent PyTorch twin, saved as they save,
end to end.

The twin is narrow; FULL_TWIN=1 makes it the whole network, 298 M weights, which takes minutes and 8
GB.
"""

import dataclasses
import importlib.resources
import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

import dice_jax
from dice_jax.body_models import load_hand, load_head, pose_hand, pose_head
from dice_jax.models import preprocess
from dice_jax.structs import HandParams, HeadParams
from dice_jax.tools import convert_official

torch = pytest.importorskip("torch")
twin = pytest.importorskip("support.torch_twin")

# Facts of the reference: which entry of [16 MANO joints, tips T I M R L] each of OpenPose's
# keypoints is.
OPENPOSE = [0, 13, 14, 15, 16, 1, 2, 3, 17, 4, 5, 6, 18, 10, 11, 12, 19, 7, 8, 9, 20]
TIPS = [745, 317, 445, 556, 673]
NECK = np.arange(3000, 3400)  # vertices that the miniature of neck_idx.npy names
COMPILE_QUICKLY = {"xla_backend_optimization_level": 0}


@pytest.fixture(scope="module")
def selection():
    """Coarse vertices that are not this package's own."""
    rng = np.random.default_rng(5)
    choose = lambda count, size: np.sort(rng.choice(count, size, replace=False))
    return {"hand": [choose(778, 195)], "head": [choose(5023, 1675), choose(1675, 559)]}


@pytest.fixture(scope="module")
def authors(selection, tmp_path_factory):
    """(network, folder): the narrow twin, and the folder in which the authors' files lie."""
    folder = tmp_path_factory.mktemp("authors")
    model = twin.build(twin.Sizes() if "FULL_TWIN" in os.environ else twin.NARROW)
    twin.save_module(model, folder / "model.bin")
    twin.save_transforms(folder, selection)
    np.save(folder / "neck_idx.npy", NECK)
    return model, folder


@pytest.fixture(scope="module")
def assets(tmp_path_factory):
    """A folder of licensed models; the open ones stand in."""
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
    """Where the authors' tokens stand, meters."""
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
    """What the authors' code answers, raw."""
    bgr = images[..., ::-1] / 255.0
    normalized = (bgr - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    tensor = lambda x: torch.tensor(x, dtype=torch.float32)
    with torch.no_grad():
        answer = authors[0](tensor(normalized.transpose(0, 3, 1, 2)), tensor(queries))
    return {name: value.numpy() for name, value in answer.items()}


@pytest.fixture(scope="module")
def infer(model, images):
    return dice_jax.infer.lower(model, images).compile(COMPILE_QUICKLY)


@pytest.fixture(scope="module")
def prediction(model, images, infer):
    return jax.device_get(infer(model, images))


def assert_close(got, wanted):
    """Within a thousandth of the largest number."""
    assert got.shape == wanted.shape
    np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-3 * np.abs(wanted).max())


def test_tokens_stand_where_the_authors_stand(model, queries):
    np.testing.assert_allclose(model.queries, queries, atol=1e-6)


def test_everything_before_the_body_models_agrees(model, images, expected):
    apply = lambda model, x: model.module.apply(
        model.variables, preprocess(x), model.queries, train=False
    )
    output = jax.jit(apply).lower(model, images).compile(COMPILE_QUICKLY)(model, images)
    rough, hand, head = output.rough, output.hand_params, output.head_params
    positions = expected["positions"]
    assert_close(rough.hand_vertices, expected["hand"])
    assert_close(rough.hand_vertices_coarse, positions[:, 89:284])
    assert_close(rough.head_vertices, expected["head"])
    assert_close(rough.head_vertices_mid, expected["head_mid"])
    assert_close(rough.head_vertices_coarse, positions[:, 284:])
    assert_close(
        rough.hand_keypoints, positions[:, :21][:, OPENPOSE]
    )  # the authors' come in MANO's order
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
    # A second rotation about the centroid, a translation; then everything is centerd on the
    # undeformed head.
    centroid = np.asarray(head.vertices, np.float64).mean(1, keepdims=True)
    rotation = Rotation.from_rotvec(q[:, 156:159]).as_matrix().swapaxes(1, 2)
    place = lambda points: (np.asarray(points) - centroid) @ rotation + centroid + q[:, None, 159:]
    center = place(head.vertices).mean(1, keepdims=True)
    head_vertices = place(head.vertices) - center
    dent = expected["deformations"] * (expected["presence"] > 0.5)[:, None, None]
    dent[:, NECK] = 0.0

    assert_close(prediction.hand_vertices, hand.vertices - center)
    assert_close(prediction.hand_keypoints_3d, hand.keypoints - center)
    assert_close(prediction.head_vertices, head_vertices)
    assert_close(prediction.head_keypoints_3d, place(head.keypoints) - center)
    assert_close(prediction.deformed_head_vertices, head_vertices - dent)
    assert_close(prediction.deformations, dent)
    pixels = lambda points: (
        expected["scale"][:, None, None] * points[..., :2] + expected["transl"][:, None]
    )
    assert_close(prediction.hand_keypoints_2d, pixels(np.asarray(hand.keypoints) - center))
    assert_close(prediction.hand_contact_probs, expected["hand_contact"])
    assert_close(prediction.head_contact_probs, expected["head_contact"])
    # The parameters returned are smplx's: posing with them gives the meshes.
    for pose, body, params, vertices in (
        (pose_hand, model.hand_model, prediction.hand_params, prediction.hand_vertices),
        (pose_head, model.head_model, prediction.head_params, prediction.head_vertices),
    ):
        assert_close(pose(body, params).vertices, vertices)


def test_two_forwards_give_the_same_bits(model, images, infer, prediction):
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(infer(model, images)), prediction)


def test_masking_never_acts_at_inference(model, images):
    """The same program whatever share of the tokens is hidden in training."""
    program = lambda model: dice_jax.infer.lower(model, images).as_text()
    config = model.module.config
    assert config.masking == 0.3
    unmasked = model.module.clone(config=dataclasses.replace(config, masking=0.0))
    assert program(model.replace(module=unmasked)) == program(model)
