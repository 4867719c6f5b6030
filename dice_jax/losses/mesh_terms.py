"""The terms of L_mesh: vertices, keypoints, parameters and reprojection (paper sec. 3.3)."""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp
from jaxtyping import Float

from dice_jax.array_types import Array
from dice_jax.body_models.flame import head_landmarks
from dice_jax.body_models.hierarchy import downsample
from dice_jax.body_models.mano import hand_keypoints
from dice_jax.constants import HAND_LEVELS, HEAD_LEVELS
from dice_jax.geometry.camera import project_orthographic
from dice_jax.losses import hand_depth, keypoints, parameters, vertices
from dice_jax.losses.term import Scene, Term

# Weight of the hand in L_reproj; the head's is 1.
_HAND_WEIGHT = 4.0


@dataclasses.dataclass(frozen=True)
class Reprojection(Term):
    """L_reproj over all sets of keypoints, those of the rough meshes only if `with_rough`."""

    name = "reprojection"
    label = "has_2d"
    with_rough: bool

    def values(self, scene: Scene) -> Float[Array, "B"]:
        camera, rough = scene.output.camera, scene.output.rough
        project = lambda points: project_orthographic(points, camera.scale, camera.transl)
        hand_sets = [scene.prediction.hand_keypoints_2d]
        head_sets = [scene.prediction.head_keypoints_2d]
        if self.with_rough:
            hand_mesh = hand_keypoints(scene.hand_model, rough.hand_vertices)
            head_mesh = head_landmarks(scene.head_model, rough.head_vertices)
            hand_sets += map(project, (rough.hand_keypoints, hand_mesh))
            head_sets += map(project, (rough.head_keypoints, head_mesh))
        over_sets = lambda sets, detected: sum(
            (keypoints.reprojection_loss(projected, detected) for projected in sets),
            start=jnp.zeros(()),
        )
        hand = over_sets(hand_sets, scene.batch.hand_keypoints_2d)
        return _HAND_WEIGHT * hand + over_sets(head_sets, scene.batch.head_keypoints_2d)


@dataclasses.dataclass(frozen=True)
class Vertices(Term):
    """The parametric terms of L_vert."""

    name = "vertices"
    label = "has_3d"

    def values(self, scene: Scene) -> Float[Array, "B"]:
        prediction, targets = scene.prediction, scene.targets
        return vertices.vertices_loss(
            prediction.hand_vertices,
            prediction.head_vertices,
            targets.hand_vertices,
            targets.head_vertices,
        )


@dataclasses.dataclass(frozen=True)
class RoughVertices(Term):
    """The rough-mesh terms of L_vert, on the full meshes or on all levels."""

    name = "rough_vertices"
    label = "has_3d"
    all_levels: bool
    level_weight: float
    also_centered: bool

    def values(self, scene: Scene) -> Float[Array, "B"]:
        rough, targets = scene.output.rough, scene.targets
        hand = (rough.hand_vertices, rough.hand_vertices_coarse)
        head = (rough.head_vertices, rough.head_vertices_mid, rough.head_vertices_coarse)
        target_hand = [
            downsample(scene.hand_model.hierarchy, targets.hand_vertices, level)
            for level in range(len(HAND_LEVELS))
        ]
        target_head = [
            downsample(scene.head_model.hierarchy, targets.head_vertices, level)
            for level in range(len(HEAD_LEVELS))
        ]
        count = None if self.all_levels else 1
        return vertices.rough_vertices_loss(
            hand[:count],
            head[:count],
            target_hand[:count],
            target_head[:count],
            level_weight=self.level_weight,
            also_centered=self.also_centered,
        )


@dataclasses.dataclass(frozen=True)
class Keypoints(Term):
    """L_key of both parts."""

    name = "keypoints"
    label = "has_3d"
    rough_weight: float

    def values(self, scene: Scene) -> Float[Array, "B"]:
        rough, prediction, targets = scene.output.rough, scene.prediction, scene.targets
        hand = keypoints.keypoints_loss(
            rough.hand_keypoints,
            hand_keypoints(scene.hand_model, rough.hand_vertices),
            prediction.hand_keypoints_3d,
            targets.hand_keypoints,
            hand_keypoints(scene.hand_model, targets.hand_vertices),
            rough_weight=self.rough_weight,
        )
        head = keypoints.keypoints_loss(
            rough.head_keypoints,
            head_landmarks(scene.head_model, rough.head_vertices),
            prediction.head_keypoints_3d,
            targets.head_keypoints,
            head_landmarks(scene.head_model, targets.head_vertices),
            rough_weight=self.rough_weight,
        )
        return hand + head


@dataclasses.dataclass(frozen=True)
class Params(Term):
    """L_params."""

    name = "params"
    label = "has_params"
    head_divisor: float
    with_neck: bool

    def values(self, scene: Scene) -> Float[Array, "B"]:
        return parameters.params_loss(
            scene.output.hand_params,
            scene.output.head_params,
            scene.batch.hand_params,
            scene.batch.head_params,
            head_divisor=self.head_divisor,
            with_neck=self.with_neck,
        )


@dataclasses.dataclass(frozen=True)
class Heatmaps(Term):
    """Cross-entropy of the heatmaps, for networks that have them (not in the paper)."""

    name = "heatmaps"
    label = "has_2d"

    def values(self, scene: Scene) -> Float[Array, "B"]:
        heatmaps = self.required(scene.output.heatmaps, "model.fine_features above 0")
        batch = scene.batch
        detected = jnp.concatenate([batch.hand_keypoints_2d, batch.head_keypoints_2d], axis=1)
        return keypoints.heatmap_loss(heatmaps, detected)


@dataclasses.dataclass(frozen=True)
class HandDepth(Term):
    """The mean depth of the hand relative to the head, and its uncertainty (not in the paper)."""

    name = "hand_depth"
    label = "has_3d"

    def values(self, scene: Scene) -> Float[Array, "B"]:
        sigma = self.required(scene.output.hand_depth_sigma, "model.mesh_net.depth_sigma to True")
        return hand_depth.hand_depth_loss(
            scene.prediction.hand_keypoints_3d, scene.targets.hand_keypoints, sigma
        )
