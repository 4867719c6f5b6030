"""dice_jax: recovers a hand and the face that it touches from one photo, in JAX.

import dice_jax
model = dice_jax.load("default")
prediction = dice_jax.infer(model, images)  # (*B, 224, 224, 3) uint8 RGB -> structs.Prediction
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dice_jax.inference import infer, load

__version__ = "0.1.0"
__all__ = ["infer", "load"]


def __getattr__(name: str):
    """Imports `load` and `infer` on first use, so that `import dice_jax` does not import JAX."""
    if name in __all__:
        return getattr(importlib.import_module("dice_jax.inference"), name)
    raise AttributeError(f"module 'dice_jax' has no attribute {name!r}")
