"""Rendered scenes with what the landmark networks say of them, as evidence to train on.

The networks look at the picture at the size at which it was rendered, which is larger than the
crop, as a photo is.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import UInt8

from dice_jax.constants import CROP_SIZE
from dice_jax.detection.people import find_people
from dice_jax.input_pipeline.schema import Example
from dice_jax.structs import Detections
from dice_jax.synthetic.render import Rendering
from dice_jax.synthetic.scene_sampler import SceneSampler


@dataclasses.dataclass(frozen=True)
class DetectedScenes:
    """The examples of a `SceneSampler`, each with its detections.

    Attributes:
        sampler: makes scenes, renderings and labels.
    """

    sampler: SceneSampler

    def scene(self, index: int) -> list[Example]:
        """All views of one scene; they depend on the sampler's seed and `index` alone."""
        return [with_detections(*view) for view in self.sampler.scene_with_renderings(index)]


def with_detections(example: Example, rendering: Rendering) -> Example:
    """The example with what the landmark networks say of its picture."""
    found = detect(rendering.large_image)
    fields = {
        f"detected_{field.name}": getattr(found, field.name) for field in dataclasses.fields(found)
    }
    return example | fields


def detect(picture: UInt8[np.ndarray, "S S 3"]) -> Detections:
    """The largest face of a picture, and the surest right hand; NumPy.

    Args:
        picture: RGB, shows what the crop shows.

    Returns:
        Landmarks in pixels of the crop, with the scores of face and hand as their confidence; zeros
        for what was not found.
    """
    to_crop = CROP_SIZE / len(picture)
    found = Detections.nothing()
    people = find_people(picture)
    face = next((person.face for person in people if person.face is not None), None)
    hands = [hand for person in people for hand in person.hands if hand.right > 0.5]
    if face is not None:
        found.face_points[:, :3] = to_crop * face.points
        found.face_points[:, 3] = face.score
    if hands:
        hand = max(hands, key=lambda hand: hand.score)
        found.hand_points[:, :3] = to_crop * hand.points
        found.hand_points[:, 3] = hand.score
        found.hand_world[:] = hand.world
    return found
