"""A film's GLB: played by an independent reader, its skins are the package's skinning."""

import json
import os
import pathlib
import shutil
import struct
import subprocess
import sys

import numpy as np
import pytest
import trimesh
from scipy.spatial.transform import Rotation, Slerp
from support import film_reader

from dice_jax import video_rig
from dice_jax.body_models import assets, flame, mano, rig
from dice_jax.io.videos import VideoInfo
from dice_jax.structs import HandParams, HeadParams

COUNT, FPS = 12, 25.0
INFO = VideoInfo(640, 360, FPS, COUNT)
FOCAL_LENGTH = 700.0
TO_GLTF = np.array([1.0, -1.0, -1.0])
TOLERANCE = 1e-4  # meters
ABSENT = (3, 4)  # frames without the left hand of person 1


def walk(rng, size, spread, step):
    """Values that wander from frame to frame."""
    return rng.normal(0, spread, size) + np.cumsum(rng.normal(0, step, (COUNT, size)), axis=0)


def moving_part(rng, head):
    """Parameters of a part in every frame, which turns by some degrees a frame."""
    content = {"global_orient": walk(rng, 3, 0.4, 0.03), "transl": walk(rng, 3, 0.1, 0.01)}
    if head:
        content["betas"] = np.tile(rng.normal(0, 0.5, 100), (COUNT, 1))
        content["expression"] = walk(rng, 50, 0.5, 0.05)
        content |= {name: walk(rng, 3, 0.2, 0.03) for name in ("neck_pose", "jaw_pose")}
    else:
        content["betas"] = np.tile(rng.normal(0, 0.5, 10), (COUNT, 1))
        content["hand_pose"] = walk(rng, 45, 0.3, 0.03)
    return content | {"residual": np.ones(COUNT)}


@pytest.fixture(scope="module")
def arrays():
    rng = np.random.default_rng(0)
    arrays = {"frame_time": np.arange(COUNT) / FPS}
    for number, parts in ((1, ("head", "right_hand", "left_hand")), (4, ("right_hand",))):
        for part in parts:
            content = moving_part(rng, part == "head")
            arrays |= {f"person_{number}_{part}_{name}": x for name, x in content.items()}
        arrays[f"person_{number}_full_transl"] = walk(rng, 3, 0.1, 0.02) + [0, 0, 1.0]
        arrays[f"person_{number}_focal_length"] = np.full(COUNT, FOCAL_LENGTH)
    for name in arrays:
        if name.startswith("person_1_left_hand"):
            arrays[name][list(ABSENT)] = np.nan
    return arrays


def path_of(arrays, folder):
    path = folder / "a_rig.glb"
    bodies = assets.load_hand(), assets.load_head()
    video_rig.write(path, arrays, INFO, bodies, bodies, {"source": "a.mp4"})
    return path


@pytest.fixture(scope="module")
def path(arrays, tmp_path_factory):
    return path_of(arrays, tmp_path_factory.mktemp("film"))


def between(arrays, prefix, time):
    """Parameters at a time, and what the camera adds: rotations along the shortest arcs."""
    times = arrays["frame_time"]
    first = min(int(time * FPS), COUNT - 2)
    share = (time - times[first]) * FPS
    rotations = ("global_orient", "hand_pose", "neck_pose", "jaw_pose")
    result = {}
    for name, values in arrays.items():
        if not name.startswith(prefix) or values[first].ndim == 0:
            continue
        name, (a, b) = name.removeprefix(prefix), values[first : first + 2]
        if name in rotations:
            pairs = zip(a.reshape(-1, 3), b.reshape(-1, 3))
            arcs = [Slerp([0.0, 1.0], Rotation.from_rotvec(np.stack(pair))) for pair in pairs]
            result[name] = np.concatenate([arc([share]).as_rotvec()[0] for arc in arcs])
        else:
            result[name] = a + share * (b - a)
    return {name: value.astype(np.float32) for name, value in result.items()}


def skinned(arrays, person, part, time):
    """Vertices in the axes of the scene, by the package's skinning."""
    params = between(arrays, f"{person}_{part}_", time)
    if part == "head":
        posed = flame.pose_head(assets.load_head(), HeadParams(**params))
    else:
        posed = mano.pose_hand(assets.load_hand(), HandParams(**params))
    vertices = np.asarray(posed.vertices) * ([-1, 1, 1] if part == "left_hand" else [1, 1, 1])
    return (vertices + between(arrays, f"{person}_", time)["full_transl"]) * TO_GLTF


@pytest.mark.parametrize(
    ("person", "part"),
    [
        ("person_1", "head"),
        ("person_1", "right_hand"),
        ("person_1", "left_hand"),
        ("person_4", "right_hand"),
    ],
)
def test_the_film_at_frames_and_at_random_times_is_our_skinning(path, arrays, rng, person, part):
    end = arrays["frame_time"][-1]
    before_and_after = np.array([*rng.uniform(0, 2 / FPS, 2), *rng.uniform(6 / FPS, end, 4)])
    for time in (0.0, 7 / FPS, end, *before_and_after):
        posed = film_reader.at(path, time).posed(f"{person}_{part}")
        np.testing.assert_allclose(posed, skinned(arrays, person, part, time), atol=TOLERANCE)
    first, last = (film_reader.at(path, t).posed(f"{person}_{part}") for t in (0.0, end))
    assert np.abs(first - last).max() > 0.02  # it moved


def test_who_is_absent_has_no_size(path):
    for frame in range(COUNT):
        hand = film_reader.at(path, (frame + 0.01) / FPS).posed("person_1_left_hand")
        assert (np.ptp(hand, axis=0).max() < 1e-6) == (frame in ABSENT)


def test_the_camera_sees_the_scene_where_the_film_shows_it(path, arrays):
    """Through the file's camera, vertices lie where the pinhole of the parameters has them."""
    glb = film_reader.at(path, 0.0)
    (camera,) = glb.document["cameras"]
    assert glb.node("film_camera").keys() == {"name", "camera"}  # at the origin, looking along -z
    lens = camera["perspective"]
    vertices = glb.posed("person_1_head")
    height = 1 / np.tan(lens["yfov"] / 2)
    x = height / lens["aspectRatio"] * vertices[:, 0] / -vertices[:, 2]
    y = height * vertices[:, 1] / -vertices[:, 2]
    pixels = np.stack([(x + 1) / 2 * INFO.width, (1 - y) / 2 * INFO.height], axis=-1)
    expected = skinned(arrays, "person_1", "head", 0.0) * TO_GLTF
    expected = FOCAL_LENGTH * expected[:, :2] / expected[:, 2:] + [320, 180]
    np.testing.assert_allclose(pixels, expected, atol=0.05)


def test_the_animation_has_what_moves_and_nothing_else(path, arrays):
    glb = film_reader.at(path, 0.0)
    (animation,) = glb.document["animations"]
    moved = {
        (glb.nodes[channel["target"]["node"]]["name"], channel["target"]["path"])
        for channel in animation["channels"]
    }
    assert len(moved) == len(animation["channels"])
    assert ("person_1", "translation") in moved and ("person_4", "translation") in moved
    assert ("person_1_left_hand_place", "scale") in moved
    assert ("person_1_right_hand_place", "scale") not in moved
    for joint in rig.HAND_JOINTS:
        assert (f"person_4_right_hand_{joint}", "rotation") in moved
        is_root = joint == rig.HAND_JOINTS[0]
        assert ((f"person_4_right_hand_{joint}", "translation") in moved) == is_root
    assert ("person_1_head_left_eye", "rotation") not in moved
    for sampler in animation["samplers"]:
        times = glb.array(sampler["input"]).ravel()
        np.testing.assert_allclose(times, arrays["frame_time"], atol=1e-6)


def test_weights_are_in_the_range_that_blender_keeps(path):
    """Its importer limits weights to [0, 1]; the rest mesh stays the neutral one."""
    glb = film_reader.at(path, 0.0)
    for channel in glb.document["animations"][0]["channels"]:
        if channel["target"]["path"] == "weights":
            sampler = glb.document["animations"][0]["samplers"][channel["sampler"]]
            weights = glb.array(sampler["output"])
            assert weights.min() == 0.0 and weights.max() == 1.0
    names = [mesh["extras"]["targetNames"] for mesh in glb.document["meshes"]]
    assert all(name.endswith(("_plus", "_minus")) for group in names for name in group)
    head = next(mesh for mesh in glb.document["meshes"] if mesh["name"] == "person_1_head")
    unused = [k for k in range(36) if f"pose_{k:03d}" in str(head["extras"])]
    assert max(unused) < 18  # the eyes do not turn


def test_trimesh_reads_the_meshes(path):
    scene = trimesh.load(path)
    sizes = {name: len(mesh.vertices) for name, mesh in scene.geometry.items()}
    assert sizes == {
        "person_1_right_hand": 778,
        "person_1_left_hand": 778,
        "person_1_head": 5023,
        "person_4_right_hand": 778,
    }


def test_the_answers_of_the_network_alone_pose_its_own_body_models(arrays, tmp_path):
    """Those have no residual."""
    alone = {name: np.array(value) for name, value in arrays.items()}
    for name in arrays:
        if name.startswith("person_1") and name.endswith("residual"):
            alone[name][:] = np.nan
    hand, head = assets.load_hand(), assets.load_head()
    other = head.replace(v_template=2.0 * head.v_template)
    video_rig.write(tmp_path / "a.glb", alone, INFO, (hand, head), (hand, other))
    sizes = [
        np.ptp(film_reader.at(file, 0.0).posed("person_1_head"), axis=0).max()
        for file in (tmp_path / "a.glb", path_of(arrays, tmp_path))
    ]
    assert sizes[0] > 1.8 * sizes[1]


def test_a_film_of_one_frame(arrays, tmp_path):
    one = {name: value[:1] for name, value in arrays.items()}
    bodies = assets.load_hand(), assets.load_head()
    video_rig.write(tmp_path / "a.glb", one, INFO, bodies, bodies)
    glb = film_reader.at(tmp_path / "a.glb", 0.0)
    assert "animations" not in glb.document
    expected = skinned(arrays, "person_1", "head", 0.0)
    np.testing.assert_allclose(glb.posed("person_1_head"), expected, atol=TOLERANCE)


def test_blender_plays_it_as_our_skinning(path, arrays, tmp_path):
    """With BLENDER_PYTHON, an interpreter that has bpy, or with this one if it has."""
    python = os.environ.get("BLENDER_PYTHON", sys.executable)
    if subprocess.run([python, "-c", "import bpy"], capture_output=True).returncode:
        pytest.skip("needs `pip install bpy`, here or in the interpreter BLENDER_PYTHON")
    names, frames, out = ("person_1_head", "person_4_right_hand"), (0, 5, 11), tmp_path / "a.npz"
    words = [str(FPS).removesuffix(".0"), ",".join(map(str, frames)), ",".join(names)]
    player = pathlib.Path(film_reader.__file__).with_name("blender_player.py")
    command = [python, str(player), str(path), str(out), *words]
    subprocess.run(command, capture_output=True, check=True, env=os.environ | {"PYTHONPATH": ""})
    with np.load(out) as played:
        for name in names:
            for frame in frames:
                expected = skinned(arrays, name[:8], name[9:], frame / FPS)
                np.testing.assert_allclose(played[f"{name}_{frame}"], expected, atol=TOLERANCE)


def test_the_khronos_validator_finds_no_error(path):
    node, require = shutil.which("node"), "require('gltf-validator')"
    if node is None or subprocess.run([node, "-e", require], capture_output=True).returncode:
        pytest.skip("needs node, `npm install gltf-validator` and NODE_PATH")
    script = (
        "const fs = require('fs');"
        f"{require}.validateBytes(new Uint8Array(fs.readFileSync(process.argv[1])))"
        ".then(report => console.log(JSON.stringify(report.issues)))"
    )
    command = [node, "-e", script, str(path)]
    report = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    assert report["numErrors"] == report["numWarnings"] == 0, report["messages"][:5]
    assert struct.unpack_from("<4sII", path.read_bytes())[2] == path.stat().st_size
