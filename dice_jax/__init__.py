"""dice_jax: recovers hands and the face that they touch from one photo, in JAX.

import dice_jax
model = dice_jax.load("default")
people = dice_jax.reconstruct(model, photo)  # (H, W, 3) uint8 RGB -> list of person.Person
for people in dice_jax.reconstruct_photos(model, photos): ...  # the same, several photos at once
dice_jax.repose(model, person, jaw_pose=[0.3, 0, 0])  # the same person with an open mouth
prediction = dice_jax.infer(model, images)  # (*B, 224, 224, 3) uint8 RGB -> structs.Prediction
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dice_jax.inference import infer, load
    from dice_jax.many_photos import reconstruct_photos
    from dice_jax.reconstruction import reconstruct
    from dice_jax.reposing import repose
    from dice_jax.sequences.video_people import reconstruct_video

__version__ = "0.1.0"
__all__ = ["infer", "load", "reconstruct", "reconstruct_photos", "reconstruct_video", "repose"]

_HOMES = {
    "infer": "inference",
    "load": "inference",
    "reconstruct": "reconstruction",
    "reconstruct_photos": "many_photos",
    "reconstruct_video": "sequences.video_people",
    "repose": "reposing",
}


def __getattr__(name: str):
    """Imports what `__all__` names on first use, so that `import dice_jax` does not import JAX."""
    if name in _HOMES:
        return getattr(importlib.import_module(f"dice_jax.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'dice_jax' has no attribute {name!r}")
