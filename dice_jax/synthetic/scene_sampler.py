"""Endless, seeded source of labeled images: solved scenes under several cameras and lights."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from jaxtyping import Float

from dice_jax.body_models import BodyModel, load_hand, load_head
from dice_jax.input_pipeline.schema import Example
from dice_jax.synthetic.kinds import Frequencies, Kind
from dice_jax.synthetic.make_example import make_example
from dice_jax.synthetic.placed_hand import PlacedHand
from dice_jax.synthetic.render import Renderer, Rendering
from dice_jax.synthetic.sample import (
    Face,
    PinholeCamera,
    sample_camera,
    sample_lighting,
)
from dice_jax.synthetic.scene_solver import Scene, SceneSolver

VIEWS_PER_SCENE = 3
_MIN_HAND_AREA = 0.012  # fraction of the image that a hand at the face must cover
_MAX_CAMERAS = 12
_FOREARM_IN_VIEW = 0.06  # meters
# How often the crop is around all hands; otherwise it is around the head, which may cut them.
_FRAMES_HANDS = {Kind.FAR: 0.6, Kind.BESIDE: 0.8, Kind.LEFT_ONLY: 0.8}
_FRAMES_SECOND_HAND = 0.5
_LARGEST_MARGIN = 2.0  # side of a crop around a head alone, relative to the head


class SceneSampler:
    """Examples as in `input_pipeline.schema`, decoded: `image` an array, `deformations` dense.

    View `view` of scene `index` depends on the seed and these two numbers alone.

    Args:
        seed: of all randomness.
        views_per_scene: number of cameras for each scene.
        hand: None: the open hand.
        head: None: the open head.
        face_sampler: draws the facial expression; None: `expressions.FaceSampler`.
        frequencies: of the kinds of scene; None: those of the data set.
    """

    def __init__(
        self,
        seed: int,
        views_per_scene: int = VIEWS_PER_SCENE,
        hand: BodyModel | None = None,
        head: BodyModel | None = None,
        face_sampler: Callable[[np.random.Generator], Face] | None = None,
        frequencies: Frequencies | None = None,
    ):
        self.seed, self.views_per_scene = seed, views_per_scene
        self.hand, self.head = hand or load_hand(), head or load_head()
        self.solver = SceneSolver(self.hand, self.head, seed, face_sampler, frequencies)
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
        """All views of one scene, with depth, masks, and the picture at twice the size.

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
            camera = cameras[view] if cameras is not None else self._sample_camera(scene, rng)
            lighting = sample_lighting(rng)
            rendering = self.renderer.render(scene, appearance, camera, lighting, rng)
            views.append((make_example(scene, camera, rendering, self.hand, self.head), rendering))
        return views

    def _sample_camera(self, scene: Scene, rng: np.random.Generator) -> PinholeCamera:
        """A camera that sees the hand if it is at the face; the last try is taken as it is."""
        points = scene_points(scene, rng)
        max_margin = _LARGEST_MARGIN if scene.kind is Kind.NO_HAND else 1.5
        camera = sample_camera(points, rng, max_margin)
        if scene.kind in (Kind.TOUCH, Kind.NEAR, Kind.OTHER_PERSON):
            for _ in range(_MAX_CAMERAS - 1):
                if self.renderer.hand_area(scene, camera) > _MIN_HAND_AREA:
                    break
                camera = sample_camera(points, rng, max_margin)
        return camera


def scene_points(scene: Scene, rng: np.random.Generator) -> Float[np.ndarray, "N 3"]:
    """What a crop of the scene is framed by: the head, and mostly the hands with their wrists."""
    framed = [scene.head_vertices]
    hands = rng.uniform() < _FRAMES_HANDS.get(scene.kind, 1.0)
    second = rng.uniform() < _FRAMES_SECOND_HAND or not scene.right.is_there
    for hand, chosen in ((scene.right, hands), (scene.left, hands and second)):
        if hand.is_there and chosen:
            framed += [hand.vertices, _forearm(hand)[None]]
    return np.concatenate(framed)


def _forearm(hand: PlacedHand) -> Float[np.ndarray, "3"]:
    """A point of the forearm near the wrist."""
    toward_elbow = hand.elbow - hand.keypoints[0]
    return hand.keypoints[0] + toward_elbow * _FOREARM_IN_VIEW / np.linalg.norm(toward_elbow)
