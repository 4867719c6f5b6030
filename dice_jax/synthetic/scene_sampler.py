"""Endless, seeded source of labeled images: solved scenes under several cameras and lights."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import jax.numpy as jnp
import numpy as np
from scipy.spatial.transform import Rotation

from dice_jax.body_models import BodyModel, load_hand, load_head
from dice_jax.input_pipeline.schema import Example
from dice_jax.synthetic.render import Renderer, Rendering
from dice_jax.synthetic.sample import (
    Face,
    PinholeCamera,
    sample_camera,
    sample_face,
    sample_lighting,
)
from dice_jax.synthetic.scene_solver import Scene, SceneSolver

VIEWS_PER_SCENE = 3
_MIN_HAND_AREA = 0.012  # fraction of the image that the hand must cover
_MAX_CAMERAS = 6
_FOREARM_IN_VIEW = 0.06  # meters


class SceneSampler:
    """Examples as in `input_pipeline.schema`, decoded: `image` an array, `deformations` dense.

    View `view` of scene `index` depends on the seed and these two numbers alone.

    Args:
        seed: of all randomness.
        views_per_scene: number of cameras for each scene.
        hand: None: the open hand.
        head: None: the open head.
        face_sampler: draws the facial expression.
    """

    def __init__(
        self,
        seed: int,
        views_per_scene: int = VIEWS_PER_SCENE,
        hand: BodyModel | None = None,
        head: BodyModel | None = None,
        face_sampler: Callable[[np.random.Generator], Face] = sample_face,
    ):
        self.seed, self.views_per_scene = seed, views_per_scene
        self.hand, self.head = hand or load_hand(), head or load_head()
        self.solver = SceneSolver(self.hand, self.head, seed, face_sampler)
        self.renderer = Renderer(self.hand, self.head)

    def __iter__(self) -> Iterator[Example]:
        index = 0
        while True:
            yield from self.scene(index)
            index += 1

    def scene(self, index: int) -> list[Example]:
        """All views of one scene."""
        return [example for example, _ in self.scene_with_renderings(index)]

    def scene_with_renderings(
        self, index: int, cameras: Sequence[PinholeCamera] | None = None
    ) -> list[tuple[Example, Rendering]]:
        """All views of one scene, with depth and masks.

        Args:
            index: number of the scene.
            cameras: one view is rendered through each of them; None: random ones.
        """
        scene = self.solver.solve(index)
        appearance = self.renderer.sample_appearance(
            scene, np.random.default_rng((self.seed, 4, index))
        )
        views = []
        for view in range(self.views_per_scene if cameras is None else len(cameras)):
            rng = np.random.default_rng((self.seed, 5, index, view))
            if cameras is None:
                camera, rendering = self._render_random_view(scene, appearance, rng)
            else:
                camera, lighting = cameras[view], sample_lighting(rng)
                rendering = self.renderer.render(scene, appearance, camera, lighting, rng)
            views.append((make_example(scene, camera, rendering, self.hand, self.head), rendering))
        return views

    def _render_random_view(self, scene, appearance, rng):
        """A rendering in which the hand is visible; the last try is taken as it is."""
        toward_elbow = scene.elbow - scene.hand_keypoints[0]
        toward_elbow *= _FOREARM_IN_VIEW / np.linalg.norm(toward_elbow)
        points = np.concatenate(
            [scene.head_vertices, scene.hand_vertices, scene.hand_keypoints[:1] + toward_elbow]
        )
        for _ in range(_MAX_CAMERAS):
            camera, lighting = sample_camera(points, rng), sample_lighting(rng)
            rendering = self.renderer.render(scene, appearance, camera, lighting, rng)
            if rendering.hand_mask.mean() > _MIN_HAND_AREA:
                break
        return camera, rendering


def make_example(
    scene: Scene, camera: PinholeCamera, rendering: Rendering, hand: BodyModel, head: BodyModel
) -> Example:
    """The image and its labels in camera axes.

    Keypoints are those of the UNDEFORMED body models, projected; their confidence is 1 inside the
    image, 0 outside. The depth of a keypoint is that of the visible surface in its pixel, or its
    own if that surface lies behind it, as it may at an outline.

    Args:
        scene: of `SceneSolver.solve`.
        camera: through which the scene was rendered.
        rendering: of `Renderer.render`.
        hand: the hand model.
        head: the head model.
    """
    person, face, hand_params = scene.person, scene.face, scene.hand_params
    hand_global_orient, hand_transl = _to_camera(
        hand, person.hand_betas, hand_params.global_orient, hand_params.transl, camera
    )
    coefficients = np.concatenate([person.head_betas, face.expression])
    head_global_orient, head_transl = _to_camera(
        head, coefficients, np.zeros(3), np.zeros(3), camera
    )
    hand_keypoints_2d, hand_depth = _project(scene.hand_keypoints, camera, rendering.depth)
    head_keypoints_2d, head_depth = _project(scene.head_keypoints, camera, rendering.depth)
    floats = dict(
        hand_keypoints_2d=hand_keypoints_2d,
        head_keypoints_2d=head_keypoints_2d,
        hand_keypoints_depth=hand_depth,
        head_keypoints_depth=head_depth,
        hand_betas=person.hand_betas,
        hand_global_orient=hand_global_orient,
        hand_pose=hand_params.hand_pose,
        hand_transl=hand_transl,
        head_betas=person.head_betas,
        head_expression=face.expression,
        head_global_orient=head_global_orient,
        head_neck_pose=face.neck_pose,
        head_jaw_pose=face.jaw_pose,
        head_transl=head_transl,
        deformations=scene.deformations @ camera.rotation.T,
        skin_tone=person.skin_tone,
    )
    return dict(
        image=np.asarray(rendering.image, np.uint8),
        **{name: np.asarray(value, np.float32) for name, value in floats.items()},
        hand_contact=scene.hand_contact.astype(np.uint8),
        head_contact=scene.head_contact.astype(np.uint8),
        subject=person.subject,
        scene=scene.index,
        gesture=scene.gesture,
    )


def _to_camera(model, coefficients, global_orient, transl, camera):
    """`global_orient` and `transl` that pose a model in camera axes.

    A model rotates about its root joint, the camera about the origin; `transl` corrects for the
    difference.
    """
    coefficients = jnp.asarray(coefficients, jnp.float32)
    shaped = model.v_template + model.shapedirs @ coefficients
    root = np.asarray(model.J_regressor[0] @ shaped, np.float64)
    orient = Rotation.from_rotvec(np.asarray(global_orient, np.float64)).as_matrix()
    root_in_camera = camera.rotation @ (root + np.asarray(transl, np.float64)) + camera.transl
    return Rotation.from_matrix(camera.rotation @ orient).as_rotvec(), root_in_camera - root


def _project(keypoints, camera, depth):
    """Pixels with confidence (K, 3), and the depth of what is visible there (K,), meters."""
    points = keypoints @ camera.rotation.T + camera.transl
    pixels = camera.focal_length * points[:, :2] / points[:, 2:] + camera.camera_center
    size = len(depth)
    inside = ((pixels >= 0) & (pixels < size)).all(-1)
    column, row = np.clip(np.floor(pixels).astype(int), 0, size - 1).T
    visible = np.where(inside, depth[row, column], np.inf)
    return np.column_stack([pixels, inside]), np.minimum(visible, points[:, 2])
