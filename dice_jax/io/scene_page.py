"""A page with the meshes that one can turn, in one file: no server, no network, no library."""

from __future__ import annotations

import base64
import html
import json
import string
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from dice_jax.io import atomic
from dice_jax.io.gltf import CAMERA_TO_GLTF
from dice_jax.io.meshes import NamedMesh

_TEMPLATE = Path(__file__).with_name("scene_page.html")
_JPEG_QUALITY = 88
_MOST_VERTICES = 2**16  # of a mesh; its faces are 16-bit numbers


def write_page(
    path: str | Path,
    title: str,
    summary: str,
    meshes: Sequence[NamedMesh],
    colorings: Mapping[str, Sequence[Float[np.ndarray, "_ 3"]]],
    contacts: Sequence[str] = (),
    pictures: Mapping[str, UInt8[np.ndarray, "_ _ 3"]] | None = None,
) -> None:
    """Writes the page; the file is complete or absent.

    Args:
        path: the .html file.
        title, summary: text.
        meshes: camera axes, meters; at least one.
        colorings: by name, the sRGB colors in [0, 1] of every mesh; one is shown at a time, the
            first one at the beginning.
        contacts: lines of a list.
        pictures: RGB, by their description.
    """
    points = np.concatenate([mesh.vertices for mesh in meshes]) * CAMERA_TO_GLTF
    points = points[np.isfinite(points).all(axis=1)]
    center = (points.min(axis=0) + points.max(axis=0)) / 2 if len(points) else np.zeros(3)
    radius = float(np.linalg.norm(points - center, axis=1).max(initial=1e-3))
    scene = {
        "meshes": [
            _mesh(mesh, {name: colors[i] for name, colors in colorings.items()})
            for i, mesh in enumerate(meshes)
        ],
        "colorings": list(colorings),
        "center": [float(x) for x in center],
        "radius": radius,
    }
    listed = "".join(f"<li>{html.escape(line)}</li>" for line in contacts)
    page = string.Template(_TEMPLATE.read_text(encoding="utf-8")).safe_substitute(
        title=html.escape(title),
        summary=html.escape(summary),
        # "<" cannot end the script element early.
        scene=json.dumps(scene).replace("<", "\\u003c"),
        contacts=f"<h2>Contact</h2><ul>{listed}</ul>" if listed else "",
        pictures="".join(_picture(words, image) for words, image in (pictures or {}).items()),
    )
    atomic.write_text(path, page)


def _mesh(mesh: NamedMesh, colors: Mapping[str, Float[np.ndarray, "_ 3"]]) -> dict[str, Any]:
    if len(mesh.vertices) > _MOST_VERTICES:
        raise ValueError(f"a page shows meshes of at most {_MOST_VERTICES} vertices")
    byte_colors = {name: np.rint(np.clip(x, 0, 1) * 255) for name, x in colors.items()}
    return {
        "name": mesh.name,
        "position": _base64(mesh.vertices * CAMERA_TO_GLTF, np.float32),
        "normal": _base64(mesh.normals() * CAMERA_TO_GLTF, np.float32),
        "faces": _base64(mesh.faces, np.uint16),
        "colors": {name: _base64(x, np.uint8) for name, x in byte_colors.items()},
    }


def _base64(values: np.ndarray, kind: type[np.generic]) -> str:
    return base64.b64encode(np.ascontiguousarray(values.astype(kind)).tobytes()).decode("ascii")


def _picture(words: str, image: UInt8[np.ndarray, "H W 3"]) -> str:
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    _, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    source = base64.b64encode(data.tobytes()).decode("ascii")
    described = html.escape(words)
    return f'<p><img alt="{described}" src="data:image/jpeg;base64,{source}"></p>'
