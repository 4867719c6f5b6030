"""Mesh files, read back by trimesh and, where it is installed, checked by the Khronos validator."""

import json
import shutil
import struct
import subprocess

import numpy as np
import pytest
import trimesh

from dice_jax.body_models import assets, rig
from dice_jax.io import gltf_skin, mesh_files

TO_GLTF = np.array([1.0, -1.0, -1.0])  # from camera axes to y up, z towards the viewer


@pytest.fixture(scope="module")
def glb(tmp_path_factory, meshes):
    stem = tmp_path_factory.mktemp("glb") / "a"
    (path,) = mesh_files.write_meshes(stem, meshes, "glb", {"source": "photo.jpg"})
    return path


def read_document(path):
    """The JSON part and the binary part of a GLB."""
    data = path.read_bytes()
    magic, version, length = struct.unpack_from("<4sII", data)
    assert (magic, version, length) == (b"glTF", 2, len(data))
    json_length, kind = struct.unpack_from("<I4s", data, 12)
    assert kind == b"JSON" and json_length % 4 == 0
    binary_length, kind = struct.unpack_from("<I4s", data, 20 + json_length)
    assert kind == b"BIN\0" and binary_length == len(data) - 28 - json_length
    return json.loads(data[20 : 20 + json_length]), data[28 + json_length :]


def accessor(document, binary, index):
    """The array of an accessor, (N, components)."""
    entry = document["accessors"][index]
    view = document["bufferViews"][entry["bufferView"]]
    kind = {5126: "<f4", 5125: "<u4"}[entry["componentType"]]
    data = binary[view["byteOffset"] :][: view["byteLength"]]
    return np.frombuffer(data, kind).reshape(entry["count"], -1)


def test_trimesh_reads_both_meshes_from_the_glb(glb, meshes):
    scene = trimesh.load(glb)
    assert set(scene.geometry) == {"hand", "head"}
    for mesh in meshes:
        read = scene.geometry[mesh.name]
        np.testing.assert_allclose(read.vertices, mesh.vertices * TO_GLTF, atol=1e-7)
        np.testing.assert_array_equal(read.faces, mesh.faces)
        contact = read.vertex_attributes["_CONTACT"].ravel()
        np.testing.assert_allclose(contact, mesh.attributes["contact"], atol=1e-7)


def test_the_surface_faces_outwards_in_the_file(glb):
    """Axes are rotated, not mirrored: the meshes with filled holes have a positive volume."""
    for read in trimesh.load(glb).geometry.values():
        read.fill_holes()
        assert read.volume > 0


def test_the_morph_target_undoes_the_deformation(glb, meshes):
    document, binary = read_document(glb)
    head = next(mesh for mesh in document["meshes"] if mesh["name"] == "head")
    primitive = head["primitives"][0]
    base = accessor(document, binary, primitive["attributes"]["POSITION"])
    offsets = accessor(document, binary, primitive["targets"][0]["POSITION"])
    undeformed = meshes[1].vertices + meshes[1].morphs["undeformed"]
    np.testing.assert_allclose(base + offsets, undeformed * TO_GLTF, atol=1e-6)
    assert head["extras"]["targetNames"] == ["undeformed"] and head["weights"] == [0.0]
    assert np.abs(offsets).max() > 1e-3


def test_normals_are_unit_vectors_and_colors_linear(glb, meshes):
    document, binary = read_document(glb)
    for mesh, entry in zip(meshes, document["meshes"]):
        attributes = entry["primitives"][0]["attributes"]
        normals = accessor(document, binary, attributes["NORMAL"])
        np.testing.assert_allclose(np.linalg.norm(normals, axis=-1), 1.0, atol=1e-6)
        oracle = trimesh.Trimesh(mesh.vertices * TO_GLTF, mesh.faces, process=False).vertex_normals
        assert np.median((normals * oracle).sum(axis=-1)) > 0.99
        linear, alpha = np.split(accessor(document, binary, attributes["COLOR_0"]), [3], axis=1)
        assert (alpha == 1).all()
        srgb = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
        np.testing.assert_allclose(srgb, mesh.colors, atol=1e-5)


def test_extras_and_node_names_are_stored(glb):
    document, _ = read_document(glb)
    assert document["scenes"][0]["extras"] == {"source": "photo.jpg"}
    assert [node["name"] for node in document["nodes"]] == ["hand", "head"]


@pytest.fixture
def rig_file(person, tmp_path):
    colors = {"right_hand": np.full((778, 3), 0.5), "head": np.full((5023, 3), 0.5)}
    parts = rig.person_rig(person, assets.load_hand(), assets.load_head(), colors)
    gltf_skin.write_rig(tmp_path / "rig.glb", parts)
    return tmp_path / "rig.glb"


@pytest.mark.parametrize("which", ["glb", "rig_file"])
def test_the_khronos_validator_finds_no_error(which, request):
    glb = request.getfixturevalue(which)
    node = shutil.which("node")
    require = "require('gltf-validator')"
    if node is None or subprocess.run([node, "-e", require], capture_output=True).returncode:
        pytest.skip("needs node, `npm install gltf-validator` and NODE_PATH")
    script = (
        "const fs = require('fs');"
        f"{require}.validateBytes(new Uint8Array(fs.readFileSync(process.argv[1])))"
        ".then(report => console.log(JSON.stringify(report.issues)))"
    )
    command = [node, "-e", script, str(glb)]
    report = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    assert report["numErrors"] == report["numWarnings"] == 0, report["messages"]


@pytest.mark.parametrize("kind", ["ply", "obj"])
def test_ply_and_obj_store_one_mesh_per_file(tmp_path, meshes, kind):
    paths = mesh_files.write_meshes(tmp_path / "a", meshes, kind)
    assert [p.name for p in paths] == [f"a_hand.{kind}", f"a_head.{kind}"]
    for path, mesh in zip(paths, meshes):
        read = trimesh.load(path, process=False)
        np.testing.assert_allclose(read.vertices, mesh.vertices * TO_GLTF, atol=1e-6)
        np.testing.assert_array_equal(read.faces, mesh.faces)
        assert np.abs(read.visual.vertex_colors[:, :3] / 255.0 - mesh.colors).max() < 0.01


def test_a_failed_write_leaves_no_file(tmp_path, meshes):
    with pytest.raises(TypeError, match="not JSON serializable"):
        mesh_files.write_meshes(tmp_path / "a", meshes, "glb", extras={"source": object()})
    assert list(tmp_path.iterdir()) == []


def test_what_trimesh_reads_it_exports_again(tmp_path, glb, meshes):
    scene = trimesh.load(glb)
    for mesh in meshes:
        visual = scene.geometry[mesh.name].visual
        assert visual.to_color() is not None
        assert visual.vertex_attributes["color"].shape == (len(mesh.vertices), 4)
    for kind in ("glb", "ply", "obj"):
        scene.export(tmp_path / f"again.{kind}")
