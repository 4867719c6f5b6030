"""Fixtures: a prediction with contact and deformations, its meshes, and the same as a person."""

from support.detected_person import person  # noqa: F401
from support.touching_prediction import meshes, prediction  # noqa: F401
