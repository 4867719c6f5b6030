"""Images of single samples: the predictions, and the ground truth in the same views."""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Mapping
from typing import NamedTuple

import cv2
import jax
import numpy as np
from jaxtyping import Float, Int, UInt8
from tqdm import tqdm

from dice_jax import inference
from dice_jax.evaluation import reference_predictions
from dice_jax.evaluation.report.record import Record
from dice_jax.evaluation.sample_labels import Labels
from dice_jax.evaluation.summarize import MetricSums
from dice_jax.input_pipeline import loader
from dice_jax.io.meshes import NamedMesh
from dice_jax.structs import Prediction
from dice_jax.visualization import captions, overlay, palette, panels

PANEL = 288  # pixels
_JPEG_QUALITY = 84
_STRIP = 34  # pixels; height of a caption
_ERROR_CAPTION = "distance to ground truth"


Models = Mapping[str, tuple[inference.Model, Record]]  # each with its evaluation, by name


class Case(NamedTuple):
    """An image of one sample for a page, with its title and caption."""

    title: str
    caption: str
    image: UInt8[np.ndarray, "H W 3"]


def worst_and_median(samples: MetricSums, count: int) -> dict[str, Int[np.ndarray, "K"]]:
    """Indices of the `count` samples of largest PVE* ("worst") and nearest to its median.

    Samples without 3D labels are left out.
    """
    labeled = np.flatnonzero(np.asarray(samples.frames) > 0)
    pve = np.asarray(samples.pve)[labeled]
    to_median = np.abs(pve - np.median(pve)) if len(pve) else pve
    return {
        "worst": labeled[np.argsort(-pve, kind="stable")[:count]],
        "median": labeled[np.argsort(to_median, kind="stable")[:count]],
    }


def most_different(
    first: MetricSums, second: MetricSums, count: int
) -> dict[str, Int[np.ndarray, "K"]]:
    """Indices of the samples on which `second` has the most lower PVE* ("better") and higher."""
    gain = np.asarray(first.pve) - np.asarray(second.pve)
    gain = np.where(np.asarray(first.frames) > 0, gain, 0.0)
    order = np.argsort(-gain, kind="stable")
    better, worse = order[gain[order] > 0], order[gain[order] < 0][::-1]
    return {"better": better[:count], "worse": worse[:count]}


def describe(samples: MetricSums, index: int) -> str:
    """The errors of one sample as text."""
    if not samples.frames[index]:
        return "has no 3D labels"
    errors = {
        "PVE*": samples.pve,
        "hand": samples.pve_hand,
        "head": samples.pve_head,
        "MPJPE": samples.mpjpe,
    }
    return ", ".join(f"{name} {1e3 * values[index]:.1f} mm" for name, values in errors.items())


def describe_labels(labels: Labels, index: int) -> str:
    """The labels of one sample as text."""
    words = [f"subject {labels.subject[index]}"]
    if labels.gesture[index]:
        words.append(f"gesture {labels.gesture[index]}")
    if np.isfinite(labels.skin_tone[index]):
        words.append(f"skin tone {labels.skin_tone[index]:.2f}")
    return ", ".join(words)


def draw(indices: Int[np.ndarray, "K"], models: Models, source: loader.Source) -> list[Case]:
    """Images of samples of a split with the predictions of each model.

    Args:
        indices: of the samples.
        models: each with its evaluation, by name.
        source: the split.
    """
    model, result = next(iter(models.values()))
    hand_model, head_model = model.hand_model, model.head_model
    drawn = []
    for index in tqdm(indices.tolist(), "sample images", unit="sample"):
        ((batch, _),) = loader.sequential_batches([source[index]], 1)
        predictions = {
            name: jax.device_get(inference.infer(one, batch.images[0]))
            for name, (one, _) in models.items()
        }
        targets = reference_predictions.true_prediction(batch, hand_model, head_model)
        image = case_image(
            np.asarray(batch.images[0]),
            predictions,
            jax.tree.map(lambda x: np.asarray(x[0]), targets),
            np.concatenate([batch.hand_keypoints_2d[0], batch.head_keypoints_2d[0]]),
            np.asarray(hand_model.faces),
            np.asarray(head_model.faces),
        )
        errors_of = (f"{name} {describe(one.samples, index)}" for name, (_, one) in models.items())
        caption = "; ".join([describe_labels(result.labels, index), *errors_of])
        drawn.append(Case(f"Sample {index}", caption, image))
    return drawn


def case_image(
    image: UInt8[np.ndarray, "224 224 3"],
    predictions: Mapping[str, Prediction],
    target: Prediction,
    detected: Float[np.ndarray, "89 3"],
    hand_faces: Int[np.ndarray, "F 3"],
    head_faces: Int[np.ndarray, "G 3"],
) -> UInt8[np.ndarray, "h w 3"]:
    """A row of views for each prediction, and one for the ground truth.

    Args:
        image: RGB crop, the input of the network.
        predictions: by the name of the model, without leading dimensions.
        target: the ground truth in the form of a prediction; its camera is fitted to `detected`.
        detected: 2D keypoint labels, hand first: pixels and confidence.
        hand_faces, head_faces: of the body models.
    """
    keypoints = np.concatenate([target.hand_keypoints_3d, target.head_keypoints_3d])
    target = target.replace(camera=panels.fit_camera(keypoints, detected))
    true_meshes = panels.hand_and_head(target, hand_faces, head_faces)
    # The same directions in each row, so that the rows can be compared.
    directions = panels.contact_directions(true_meshes)

    def row(name: str, shown: Prediction, meshes: list[NamedMesh], last: np.ndarray) -> np.ndarray:
        over = _with_caption(panels.over_crop(image, shown.camera, meshes, PANEL), name)
        views = panels.side_and_contacts(meshes, name, directions, PANEL)
        return np.concatenate([over, *views, last], axis=1)

    rows = []
    for name, prediction in predictions.items():
        meshes = panels.hand_and_head(prediction, hand_faces, head_faces)
        rows.append(row(name, prediction, meshes, _error_view(meshes, true_meshes)))
    crop = _with_caption(panels.enlarged(image, PANEL), "input")
    return np.concatenate([*rows, row("ground truth", target, true_meshes, crop)])


def data_uri(image: UInt8[np.ndarray, "H W 3"]) -> str:
    """An RGB image as a JPEG data URI, to embed in a page."""
    _, data = cv2.imencode(
        ".jpg",
        cv2.cvtColor(image, cv2.COLOR_RGB2BGR),
        [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY],
    )
    return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode()


def _error_view(meshes: list[NamedMesh], true_meshes: list[NamedMesh]) -> np.ndarray:
    """A prediction from the front, colored by the distance of each vertex to the ground truth."""
    errors = [
        1e3 * np.linalg.norm(mesh.vertices - true.vertices, axis=-1)
        for mesh, true in zip(meshes, true_meshes)
    ]
    full_scale = captions.round_up(max(1.0, *(float(error.max()) for error in errors)))
    colored = [
        dataclasses.replace(mesh, colors=palette.ramp(error / full_scale, palette.CONTACT))
        for mesh, error in zip(meshes, errors)
    ]
    bar = captions.ColorBar(palette.CONTACT, "0", f"{full_scale:g}", "mm")
    front = overlay.seen_from(0.0, 0.0)
    return overlay.view(colored, front, _ERROR_CAPTION, bar=bar, size=PANEL)


def _with_caption(panel: np.ndarray, caption: str) -> np.ndarray:
    """A caption on a light strip, which makes dark letters readable over a photo."""
    panel = panel.copy()
    strip = panel[:_STRIP].astype(np.float32)
    panel[:_STRIP] = np.rint(0.35 * strip + 0.65 * 255.0 * palette.PAPER)
    return captions.annotate(panel, caption)
