"""Meshes as files, read back by trimesh and, where it is installed, judged by the Khronos
validator.
"""

import dataclasses
import json
import shutil
import struct
import subprocess

import numpy as np
import pytest
import trimesh

from dice_jax.io import mesh_files

TO_GLTF = np.array([1.0, -1.0, -1.0])  # camera axes to y up, z towards the viewer


@pytest.fixture(scope="module")
def glb(tmp_path_factory, meshes):
    return mesh_files.write_meshes(
        tmp_path_factory.mktemp("glb") / "a", meshes, "glb", {"source": "photo.jpg"}
    )[0]


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
    entry = document["accessors"][index]
    view = document["bufferViews"][entry["bufferView"]]
    kind = {5126: "<f4", 5125: "<u4"}[entry["componentType"]]
    values = np.frombuffer(
        binary[view["byteOffset"] : view["byteOffset"] + view["byteLength"]], kind
    )
    return values.reshape(entry["count"], -1)


def test_trimesh_reads_both_meshes_from_the_glb(glb, meshes):
    scene = trimesh.load(glb)
    assert set(scene.geometry) == {"hand", "head"}
    for mesh in meshes:
        read = scene.geometry[mesh.name]
        np.testing.assert_allclose(read.vertices, mesh.vertices * TO_GLTF, atol=1e-7)
        np.testing.assert_array_equal(read.faces, mesh.faces)
        np.testing.assert_allclose(
            read.vertex_attributes["_CONTACT"].ravel(), mesh.attributes["contact"], atol=1e-7
        )


def test_the_surface_faces_outwards_in_the_file(glb):
    """A rotation, not a mirroring: the capped meshes enclose a positive volume."""
    for read in trimesh.load(glb).geometry.values():
        read.fill_holes()
        assert read.volume > 0


def test_the_morph_target_takes_the_dent_back(glb, meshes):
    document, binary = read_document(glb)
    head = next(mesh for mesh in document["meshes"] if mesh["name"] == "head")
    primitive = head["primitives"][0]
    base = accessor(document, binary, primitive["attributes"]["POSITION"])
    offsets = accessor(document, binary, primitive["targets"][0]["POSITION"])
    undeformed = meshes[1].vertices + meshes[1].morphs["undeformed"]
    np.testing.assert_allclose(base + offsets, undeformed * TO_GLTF, atol=1e-6)
    assert head["extras"]["targetNames"] == ["undeformed"] and head["weights"] == [0.0]
    assert np.abs(offsets).max() > 1e-3


def test_normals_are_unit_and_colors_linear(glb, meshes):
    document, binary = read_document(glb)
    for mesh, entry in zip(meshes, document["meshes"]):
        attributes = entry["primitives"][0]["attributes"]
        normals = accessor(document, binary, attributes["NORMAL"])
        np.testing.assert_allclose(np.linalg.norm(normals, axis=-1), 1.0, atol=1e-6)
        oracle = trimesh.Trimesh(mesh.vertices * TO_GLTF, mesh.faces, process=False).vertex_normals
        assert np.median((normals * oracle).sum(axis=-1)) > 0.99
        linear = accessor(document, binary, attributes["COLOR_0"])
        srgb = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
        np.testing.assert_allclose(srgb, mesh.colors, atol=1e-5)


def test_extras_and_nodes(glb):
    document, _ = read_document(glb)
    assert document["scenes"][0]["extras"] == {"source": "photo.jpg"}
    assert [node["name"] for node in document["nodes"]] == ["hand", "head"]


def test_khronos_validator_finds_nothing(glb):
    node = shutil.which("node")
    if (
        node is None
        or subprocess.run([node, "-e", "require('gltf-validator')"], capture_output=True).returncode
    ):
        pytest.skip(
            "node with gltf-validator is not installed (npm install gltf-validator, then set NODE_PATH)"
        )
    script = (
        "const fs = require('fs');"
        "require('gltf-validator').validateBytes(new Uint8Array(fs.readFileSync(process.argv[1])))"
        ".then(report => console.log(JSON.stringify(report.issues)))"
    )
    report = json.loads(
        subprocess.run([node, "-e", script, str(glb)], capture_output=True, check=True).stdout
    )
    assert report["numErrors"] == report["numWarnings"] == 0, report["messages"]


@pytest.mark.parametrize("kind", ["ply", "obj"])
def test_ply_and_obj_hold_one_mesh_a_file(tmp_path, meshes, kind):
    paths = mesh_files.write_meshes(tmp_path / "a", meshes, kind)
    assert [p.name for p in paths] == [f"a_hand.{kind}", f"a_head.{kind}"]
    for path, mesh in zip(paths, meshes):
        read = trimesh.load(path, process=False)
        np.testing.assert_allclose(read.vertices, mesh.vertices * TO_GLTF, atol=1e-6)
        np.testing.assert_array_equal(read.faces, mesh.faces)
        assert np.abs(read.visual.vertex_colors[:, :3] / 255.0 - mesh.colors).max() < 0.01


def test_a_failed_write_leaves_nothing(tmp_path, meshes):
    broken = dataclasses.replace(
        meshes[0], attributes={"contact": np.zeros((778, 2), np.float32)}
    )  # no VEC2 here
    with pytest.raises(KeyError):
        mesh_files.write_meshes(tmp_path / "a", [broken], "glb")
    assert list(tmp_path.iterdir()) == []
