"""The page is one file that needs nothing else, and holds the meshes as they are."""

import base64
import json
import re
import shutil
import subprocess

import numpy as np
import pytest

from dice_jax.io import scene_page

TO_GLTF = np.array([1.0, -1.0, -1.0])


def write(path, meshes, title="a title", **options):
    colorings = {
        "contact": [mesh.colors for mesh in meshes],
        "gray": [np.full_like(mesh.colors, 0.5) for mesh in meshes],
    }
    scene_page.write_page(path, title, "a summary", meshes, colorings, **options)
    return path.read_text(encoding="utf-8")


def scene_of(page):
    text = re.search(r'<script type="application/json" id="scene">(.*?)</script>', page, re.S)
    return json.loads(text.group(1))


def test_the_page_holds_the_meshes(tmp_path, meshes):
    scene = scene_of(write(tmp_path / "a.html", meshes))
    assert scene["colorings"] == ["contact", "gray"]
    for mesh, stored in zip(meshes, scene["meshes"]):
        read = lambda text, kind: np.frombuffer(base64.b64decode(text), kind).reshape(-1, 3)
        positions = read(stored["position"], "<f4")
        np.testing.assert_allclose(positions, mesh.vertices * TO_GLTF, atol=1e-6)
        np.testing.assert_array_equal(read(stored["faces"], "<u2"), mesh.faces)
        colors = read(stored["colors"]["contact"], "u1") / 255
        np.testing.assert_allclose(colors, mesh.colors, atol=0.003)
        distance = np.linalg.norm(positions - np.array(scene["center"]), axis=1)
        assert distance.max() <= scene["radius"] * (1 + 1e-5)


def test_the_page_refers_to_nothing_outside(tmp_path, meshes):
    picture = np.full((20, 30, 3), 90, np.uint8)
    page = write(tmp_path / "a.html", meshes, pictures={"over the photo": picture})
    assert "http://" not in page and "https://" not in page and "$" not in page.split("<script")[0]
    assert not re.search(r'(src|href)="(?!data:)', page)
    assert "Content-Security-Policy" in page


def test_words_of_the_user_are_no_markup(tmp_path, meshes):
    evil = "</title><script>alert(1)</script>$scene"
    named = [type(mesh)(**{**vars(mesh), "name": "</script>x"}) for mesh in meshes]
    page = write(tmp_path / "a.html", named, evil, contacts=[evil], pictures={})
    assert "<script>alert" not in page
    assert scene_of(page)["meshes"][0]["name"] == "</script>x"


def test_the_program_of_the_page_is_valid(tmp_path, meshes):
    node = shutil.which("node")
    if node is None:
        pytest.skip("needs node")
    page = write(tmp_path / "a.html", meshes)
    program = re.findall(r"<script>(.*?)</script>", page, re.S)[-1]
    (tmp_path / "a.js").write_text(program)
    subprocess.run([node, "--check", str(tmp_path / "a.js")], check=True)
