"""Writes the card of a split: counts, what its detectors found, and where people are touched.

  python -m dice_jax.tools.data_card --data hand_face_synth --split train --out card

card.md has tables: kinds of scene, gestures, skin tones, turns of the head, size of the hand,
visibility, touches, depth of the dents, and how often the landmark networks find hand and face.
contact_frequency.png shows how often each vertex of head and hand is in contact, of the samples
with a touch.
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.spatial.transform import Rotation
from tqdm import tqdm

from dice_jax import errors
from dice_jax.body_models import load_hand, load_head
from dice_jax.body_models.lbs import BodyModel
from dice_jax.constants import CROP_SIZE, NUM_HAND_VERTICES, NUM_HEAD_VERTICES
from dice_jax.datasets import registry
from dice_jax.input_pipeline import schema
from dice_jax.io import atomic, images
from dice_jax.io.meshes import NamedMesh
from dice_jax.visualization import captions, overlay, palette

_IN_CAMERA = np.diag([1.0, -1.0, -1.0])  # a model in rest pose, facing the camera
_PERCENTILES = (5, 25, 50, 75, 95)
_HALF_SEEN = 0.5  # from this visible fraction on, a detector should find hand and face
_PANEL = 420  # pixels
# By caption, yaw and pitch of the camera in degrees, see `overlay.seen_from`.
_HEAD_VIEWS = {"face": (0, 0), "the person's left side": (60, 0), "right side": (-60, 0)}
_HAND_VIEWS = {"back of the hand": (0, -80), "palm": (0, 80), "finger tips": (-90, 0)}


@dataclasses.dataclass
class Statistics:
    """What is counted while the samples of a split are read once.

    Attributes:
        counts: number of samples by property and value.
        values: numbers of the samples by property.
        found: by part, the visible fraction and whether the landmark network found it.
        hand_contact, head_contact: number of samples in which each vertex is in contact.
    """

    counts: dict[str, collections.Counter[str]] = dataclasses.field(
        default_factory=lambda: collections.defaultdict(collections.Counter)
    )
    values: dict[str, list[float]] = dataclasses.field(
        default_factory=lambda: collections.defaultdict(list)
    )
    found: dict[str, list[tuple[float, bool]]] = dataclasses.field(
        default_factory=lambda: collections.defaultdict(list)
    )
    hand_contact: np.ndarray = dataclasses.field(
        default_factory=lambda: np.zeros(NUM_HAND_VERTICES)
    )
    head_contact: np.ndarray = dataclasses.field(
        default_factory=lambda: np.zeros(NUM_HEAD_VERTICES)
    )

    def add(self, sample: Mapping[str, Any]) -> None:
        """Counts one decoded sample; fields that it lacks are left out."""
        for name in ("kind", "gesture"):
            if sample.get(name):
                self.counts[name][str(sample[name])] += 1
        if "hand_contact" in sample:
            touches = bool(sample["hand_contact"].any() or sample["head_contact"].any())
            self.counts["touch"]["hand and face touch" if touches else "no touch"] += 1
            self.hand_contact += sample["hand_contact"]
            self.head_contact += sample["head_contact"]
        self._measure(sample)
        for part, visibility in (("hand", "hand_visibility"), ("face", "head_visibility")):
            points = sample.get(f"detected_{part}_points")
            if points is not None and visibility in sample:
                seen = float(np.ravel(sample[visibility])[0])
                self.found[part].append((seen, bool(points[:, 3].any())))

    def _measure(self, sample):
        values = self.values
        if "skin_tone" in sample:
            values["skin tone (0 the lightest, 1 the darkest)"].append(float(sample["skin_tone"]))
        if "head_global_orient" in sample:
            turn = Rotation.from_rotvec(sample["head_global_orient"]).as_matrix()
            yaw, pitch = _yaw_and_pitch(_IN_CAMERA @ turn)
            values["yaw of the head (degrees)"].append(yaw)
            values["pitch of the head (degrees)"].append(pitch)
        if "focal_length" in sample:
            field = 2 * np.arctan(CROP_SIZE / 2 / float(sample["focal_length"]))
            values["field of view of the crop (degrees)"].append(np.degrees(field))
        if sample.get("hand_present", [0])[0]:
            extent = np.ptp(sample["hand_keypoints_2d"][:, :2], axis=0).max()
            values["extent of the hand (pixels of the crop)"].append(float(extent))
        lengths = np.linalg.norm(sample.get("deformations", np.zeros((1, 3))), axis=-1)
        if lengths.max() > 0:
            values["deepest dent (mm)"].append(1000 * float(lengths.max()))
        if "attempts" in sample and sample.get("gesture"):
            values["hands tried for a scene"].append(float(sample["attempts"]))


def main(argv: Sequence[str] | None = None) -> None:
    parser = errors.argument_parser(__doc__, prog="python -m dice_jax.tools.data_card")
    add = parser.add_argument
    add("--data", default="hand_face_synth", help="data set (default: hand_face_synth)")
    add("--split", default="train", help="split (default: train)")
    add("--size", type=int, default=None, help="samples, the first of the split (default: all)")
    add("--data_dir", default=None, help="folder of data sets (default: $DICE_DATA)")
    add("--out", default="card", help="folder to write to (default: card)")
    args = parser.parse_args(argv)

    out = atomic.writable_folder(Path(args.out))
    source = registry.open_split(args.data, args.split, args.data_dir, args.size)
    statistics = Statistics()
    for index in tqdm(range(len(source)), "reading", unit="sample"):
        statistics.add(schema.decode(source[index]))
    title = f"{args.data}, split {args.split}: {len(source)} samples"
    text = card(statistics, title)
    atomic.write_text(out / "card.md", text)
    images.write_image(out / "contact_frequency.png", contact_sheet(statistics, title))
    print(text)
    print(f"written to {out}: card.md, contact_frequency.png")


def card(statistics: Statistics, title: str) -> str:
    """The tables as Markdown."""
    parts = [f"# {title}\n"]
    for name, counts in statistics.counts.items():
        total = sum(counts.values())
        rows = [(value, count, f"{count / total:.1%}") for value, count in counts.most_common()]
        parts.append(_table((name, "samples", "share"), rows))
    header = ("", "samples", *(f"{p} %" for p in _PERCENTILES))
    rows = [
        (name, len(values), *(f"{v:.3g}" for v in np.percentile(values, _PERCENTILES)))
        for name, values in statistics.values.items()
    ]
    parts.append("Percentiles over the samples that have the property:\n")
    parts.append(_table(header, rows))
    rows = []
    for part, found in statistics.found.items():
        shown = [hit for seen, hit in found if seen >= _HALF_SEEN]
        if shown:
            rows.append((part, len(shown), f"{np.mean(shown):.1%}"))
    parts.append("Found by the landmark networks, of those of which at least half is visible:\n")
    parts.append(_table(("part", "samples", "found"), rows))
    return "\n".join(parts)


def contact_sheet(statistics: Statistics, title: str) -> np.ndarray:
    """How often each vertex is in contact, as an RGB picture."""
    touching = max(statistics.counts["touch"]["hand and face touch"], 1)
    head, hand = load_head(), load_hand()
    panels = []
    for model, name, counts, views in (
        (head, "head", statistics.head_contact, _HEAD_VIEWS),
        (hand, "hand", statistics.hand_contact, _HAND_VIEWS),
    ):
        share = counts / touching
        top = captions.round_up(max(100 * float(share.max()), 1.0))
        mesh = _frequency_mesh(model, name, 100 * share / top)
        bar = captions.ColorBar(palette.CONTACT, "0", f"{top:g}", "% of the samples with a touch")
        for caption, (yaw, pitch) in views.items():
            direction = overlay.seen_from(np.radians(yaw), np.radians(pitch))
            panels.append(overlay.view([mesh], direction, caption, bar=bar, size=_PANEL))
    return captions.sheet(panels, columns=3, title=f"Contact frequency: {title}")


def _frequency_mesh(model: BodyModel, name: str, values: Float[np.ndarray, "V"]) -> NamedMesh:
    vertices = (np.asarray(model.v_template) @ _IN_CAMERA.T).astype(np.float32)
    plain = np.broadcast_to(palette.NEUTRAL, vertices.shape)
    mesh = NamedMesh(name, vertices, np.asarray(model.faces), plain)
    return overlay.colored(mesh, values, palette.CONTACT)


def _yaw_and_pitch(rotation: Float[np.ndarray, "3 3"]) -> tuple[float, float]:
    """Where the face looks, degrees: to the person's left, and up."""
    x, y, z = rotation @ np.array([0.0, 0.0, 1.0])
    return float(np.degrees(np.arctan2(x, z))), float(np.degrees(np.arcsin(np.clip(y, -1, 1))))


def _table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines) + "\n"


if __name__ == "__main__":
    errors.run(main)
