"""Fixtures: a prediction with contact and deformations, and its meshes."""

from support.touching_prediction import meshes, prediction  # noqa: F401
