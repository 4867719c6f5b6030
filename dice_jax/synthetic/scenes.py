"""An endless, seeded source of labeled pictures: solved scenes, each seen by several cameras under
several lights.
"""

from __future__ import annotations

from collections.abc import Iterator

import jax.numpy as jnp
import numpy as np
from scipy.spatial.transform import Rotation

from dice_jax.body_models import BodyModel, load_hand, load_head
from dice_jax.input_pipeline.schema import Example
from dice_jax.synthetic.render import Renderer, Rendering
from dice_jax.synthetic.sample import PinholeCamera, sample_camera, sample_lighting
from dice_jax.synthetic.solve import Scene, SceneSolver

VIEWS_PER_SCENE = 3
_MIN_VISIBLE = 0.012  # share of the picture that the hand must fill
_MAX_CAMERAS = 6
_FOREARM_IN_VIEW = 0.06  # meters


class SceneSampler:
    """Examples as `data.schema` describes them, decoded: the image an array, `deformations` dense.

    Picture `view` of scene `index` depends on the seed and these two numbers alone.
    """

    def __init__(
        self,
        seed: int,
        views_per_scene: int = VIEWS_PER_SCENE,
        hand: BodyModel | None = None,
        head: BodyModel | None = None,
    ):
        self.seed, self.views_per_scene = seed, views_per_scene
        self.hand, self.head = hand or load_hand(), head or load_head()
        self.solver = SceneSolver(self.hand, self.head, seed)
        self.renderer = Renderer(self.hand, self.head)

    def __iter__(self) -> Iterator[Example]:
        index = 0
        while True:
            yield from self.scene(index)
            index += 1

    def scene(self, index: int) -> list[Example]:
        """All views of one scene."""
        return [example for example, _ in self.scene_with_renderings(index)]

    def scene_with_renderings(self, index: int) -> list[tuple[Example, Rendering]]:
        """All views of one scene, with depth and masks."""
        scene = self.solver.solve(index)
        painted = self.renderer.paint(scene, np.random.default_rng((self.seed, 4, index)))
        views = []
        for view in range(self.views_per_scene):
            rng = np.random.default_rng((self.seed, 5, index, view))
            camera, rendering = self._take_picture(scene, painted, rng)
            views.append((make_example(scene, camera, rendering, self.hand, self.head), rendering))
        return views

    def _take_picture(self, scene, painted, rng):
        """A picture in which the hand is seen; the last try is taken as it is."""
        toward_elbow = scene.elbow - scene.hand_keypoints[0]
        toward_elbow *= _FOREARM_IN_VIEW / np.linalg.norm(toward_elbow)
        points = np.concatenate(
            [scene.head_vertices, scene.hand_vertices, scene.hand_keypoints[:1] + toward_elbow]
        )
        for _ in range(_MAX_CAMERAS):
            camera, lighting = sample_camera(points, rng), sample_lighting(rng)
            rendering = self.renderer.render(scene, painted, camera, lighting, rng)
            if rendering.hand_mask.mean() > _MIN_VISIBLE:
                break
        return camera, rendering


def make_example(
    scene: Scene, camera: PinholeCamera, rendering: Rendering, hand: BodyModel, head: BodyModel
) -> Example:
    """Labels in camera axes.

    Keypoints are those of the UNDEFORMED body models, projected; their confidence is 1 inside the
    picture, 0 outside. Their depth is that of what is seen there: their own, or that of the surface
    in front of them. What lies behind them in the same pixel, at an outline, does not count.
    """
    betas, expression = scene.person.head_betas, scene.face.expression
    hand_global_orient, hand_transl = _moved(
        hand,
        scene.person.hand_betas,
        scene.hand_params.global_orient,
        scene.hand_params.transl,
        camera,
    )
    head_global_orient, head_transl = _moved(
        head, np.concatenate([betas, expression]), np.zeros(3), np.zeros(3), camera
    )
    hand_keypoints_2d, hand_depth = _keypoints(scene.hand_keypoints, camera, rendering.depth)
    head_keypoints_2d, head_depth = _keypoints(scene.head_keypoints, camera, rendering.depth)
    example = dict(
        image=rendering.image,
        hand_keypoints_2d=hand_keypoints_2d,
        head_keypoints_2d=head_keypoints_2d,
        hand_keypoints_depth=hand_depth,
        head_keypoints_depth=head_depth,
        hand_betas=scene.person.hand_betas,
        hand_global_orient=hand_global_orient,
        hand_pose=scene.hand_params.hand_pose,
        hand_transl=hand_transl,
        head_betas=betas,
        head_expression=expression,
        head_global_orient=head_global_orient,
        head_neck_pose=scene.face.neck_pose,
        head_jaw_pose=scene.face.jaw_pose,
        head_transl=head_transl,
        deformations=scene.deformations @ camera.rotation.T,
        skin_tone=scene.person.skin_tone,
    )
    example = {
        k: np.asarray(v, np.uint8 if k == "image" else np.float32) for k, v in example.items()
    }
    return example | dict(
        hand_contact=scene.hand_contact.astype(np.uint8),
        head_contact=scene.head_contact.astype(np.uint8),
        subject=scene.person.subject,
        scene=scene.index,
        gesture=scene.gesture,
    )


def _moved(model, coefficients, global_orient, transl, camera):
    """`global_orient` and `transl` that pose a model where the camera sees it.

    Models turn about their root joint, cameras about the origin; `transl` makes up for the
    difference.
    """
    root = np.asarray(
        model.J_regressor[0]
        @ (model.v_template + model.shapedirs @ jnp.asarray(coefficients, jnp.float32)),
        np.float64,
    )
    rotation = (
        camera.rotation @ Rotation.from_rotvec(np.asarray(global_orient, np.float64)).as_matrix()
    )
    moved_root = camera.rotation @ (root + np.asarray(transl, np.float64)) + camera.transl
    return Rotation.from_matrix(rotation).as_rotvec(), moved_root - root


def _keypoints(keypoints, camera, depth):
    points = keypoints @ camera.rotation.T + camera.transl
    pixels = camera.focal_length * points[:, :2] / points[:, 2:] + camera.camera_center
    size = len(depth)
    inside = ((pixels >= 0) & (pixels < size)).all(-1)
    column, row = np.clip(np.floor(pixels).astype(int), 0, size - 1).T
    seen = np.where(inside, depth[row, column], np.inf)
    return np.column_stack([pixels, inside]), np.minimum(seen, points[:, 2])
