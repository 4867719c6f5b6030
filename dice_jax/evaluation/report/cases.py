"""Single samples as pictures: what was predicted above what is true, in the same views."""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Mapping
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Float, Int, UInt8

from dice_jax.evaluation.sample_labels import Labels
from dice_jax.evaluation.summarize import MetricSums
from dice_jax.io.meshes import NamedMesh
from dice_jax.structs import Prediction
from dice_jax.visualization import captions, overlay, palette, panels

PANEL = 288  # pixels
_QUALITY = 84


class Case(NamedTuple):
    """A picture in a page and what stands under it."""

    title: str
    caption: str
    picture: UInt8[np.ndarray, "H W 3"]


def worst_and_median(samples: MetricSums, count: int) -> dict[str, Int[np.ndarray, "K"]]:
    """The `count` samples of the largest PVE*, and those nearest to its median, among the samples
    that have one.
    """
    known = np.flatnonzero(np.asarray(samples.frames) > 0)
    pve = np.asarray(samples.pve)[known]
    nearest = np.argsort(np.abs(pve - np.median(pve)), kind="stable") if len(pve) else known
    return {
        "worst": known[np.argsort(-pve, kind="stable")[:count]],
        "median": known[nearest[:count]],
    }


def most_different(
    first: MetricSums, second: MetricSums, count: int
) -> dict[str, Int[np.ndarray, "K"]]:
    """The samples on which `second` is better than `first` by the most PVE*, and those on which it
    is worse.
    """
    gain = np.where(
        np.asarray(first.frames) > 0, np.asarray(first.pve) - np.asarray(second.pve), 0.0
    )
    order = np.argsort(-gain, kind="stable")
    better, worse = order[gain[order] > 0], order[gain[order] < 0][::-1]
    return {"better": better[:count], "worse": worse[:count]}


def describe(samples: MetricSums, index: int) -> str:
    """The errors of one sample in words."""
    if not samples.frames[index]:
        return "has no 3D labels"
    errors = (
        ("PVE*", samples.pve),
        ("hand", samples.pve_hand),
        ("head", samples.pve_head),
        ("MPJPE", samples.mpjpe),
    )
    return ", ".join(f"{name} {1e3 * values[index]:.1f} mm" for name, values in errors)


def describe_labels(labels: Labels, index: int) -> str:
    """Who and what is in one sample."""
    words = [f"subject {labels.subject[index]}"]
    words += [f"gesture {labels.gesture[index]}"] if labels.gesture[index] else []
    words += (
        [f"skin tone {labels.skin_tone[index]:.2f}"] if np.isfinite(labels.skin_tone[index]) else []
    )
    return ", ".join(words)


def case_picture(
    image: UInt8[np.ndarray, "224 224 3"],
    predictions: Mapping[str, Prediction],
    truth: Prediction,
    detected: Float[np.ndarray, "89 3"],
    hand_faces: Int[np.ndarray, "F 3"],
    head_faces: Int[np.ndarray, "G 3"],
) -> UInt8[np.ndarray, "h w 3"]:
    """A row of views for each prediction, and one for the truth with the photo at its end.

    Args:
        image: what the network saw.
        predictions: of this image, without leading dimension, by name.
        truth: likewise; its camera is fitted to `detected`.
        detected: true keypoints in the image, hand first: pixels and confidence.
        hand_faces, head_faces: of the body models.
    """
    keypoints = np.concatenate([truth.hand_keypoints_3d, truth.head_keypoints_3d])
    truth = truth.replace(camera=panels.fit_camera(keypoints, detected))
    true_meshes = panels.hand_and_head(truth, hand_faces, head_faces)
    directions = panels.contact_directions(
        true_meshes
    )  # for every row, so that they can be compared

    rows = []
    for name, answer in [*predictions.items(), ("ground truth", truth)]:
        pair = panels.hand_and_head(answer, hand_faces, head_faces)
        over = _captioned(panels.over_photo(image, answer.camera, pair, PANEL), name)
        end = (
            _captioned(panels.enlarged(image, PANEL), "input")
            if answer is truth
            else _error(pair, true_meshes)
        )
        rows.append(
            np.concatenate(
                [over, *panels.side_and_contacts(pair, name, directions, PANEL), end], axis=1
            )
        )
    return np.concatenate(rows)


def data_uri(picture: UInt8[np.ndarray, "H W 3"]) -> str:
    """The picture as JPEG, to stand in a page."""
    _, data = cv2.imencode(
        ".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, _QUALITY]
    )
    return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode()


def _error(pair: list[NamedMesh], truth: list[NamedMesh]) -> np.ndarray:
    """The prediction from the front, in the colors of how far each vertex is off."""
    errors = [
        1e3 * np.linalg.norm(mesh.vertices - true.vertices, axis=-1)
        for mesh, true in zip(pair, truth)
    ]
    full_scale = captions.round_up(max(1.0, *(float(error.max()) for error in errors)))
    colored = [
        dataclasses.replace(mesh, colors=palette.ramp(error / full_scale, palette.CONTACT))
        for mesh, error in zip(pair, errors)
    ]
    bar = (palette.CONTACT, "0", f"{full_scale:g}", "mm")
    return overlay.view(
        colored, overlay.seen_from(0.0, 0.0), "distance to the truth", bar=bar, size=PANEL
    )


def _captioned(panel: np.ndarray, caption: str) -> np.ndarray:
    """A caption on a light strip: over a photo dark letters would not read."""
    panel = panel.copy()
    strip = panel[:34].astype(np.float32)
    panel[:34] = np.rint(0.35 * strip + 0.65 * 255.0 * palette.PAPER)
    return captions.annotate(panel, caption)
