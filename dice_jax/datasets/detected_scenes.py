"""Rendered scenes with what the landmark networks say of them, as evidence to train on.

The networks look at the picture at the size at which it was rendered, which is larger than the
crop, as a photo is.
"""

from __future__ import annotations

import dataclasses

from dice_jax.detection.crop_detections import detect
from dice_jax.input_pipeline.schema import Example
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
