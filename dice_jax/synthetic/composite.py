"""Composites: a rendered hand upon a photo of a real face, with exact labels.

The head that was fitted to the photo hides what is behind it. Where the hand throws a shadow on the
skin or presses it, the photo is darkened or brightened as the rendered head is: by the ratio of
renderings with and without the hand. All other pixels are those of the photo.
"""

from __future__ import annotations

import dataclasses

import cv2
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from dice_jax.body_models import BodyModel, pose_head
from dice_jax.constants import CROP_SIZE
from dice_jax.geometry import crop
from dice_jax.geometry.mesh import boundary_loops
from dice_jax.input_pipeline.schema import Example
from dice_jax.synthetic import body_parts, postprocess, shading, surface_detail
from dice_jax.synthetic.appearance import HandPainter, HeadPainter, Material
from dice_jax.synthetic.hand_placer import HandPlacer, Request, sample_gesture
from dice_jax.synthetic.kinds import Kind, Placement
from dice_jax.synthetic.make_example import make_example
from dice_jax.synthetic.placed_hand import PlacedHand, absent_hand
from dice_jax.synthetic.portrait import Portrait
from dice_jax.synthetic.render import LARGE, Rendering, occlusion
from dice_jax.synthetic.sample import PinholeCamera, to_linear
from dice_jax.synthetic.scene_sampler import scene_points
from dice_jax.synthetic.scene_solver import Scene, head_params

_PLACEMENTS = {Placement.TOUCH: 0.6, Placement.NEAR: 0.25, None: 0.15}
_KINDS = {Placement.TOUCH: Kind.TOUCH, Placement.NEAR: Kind.NEAR, None: Kind.NO_HAND}
_MAX_ATTEMPTS = 12
_SHADES = (0.25, 1.15)  # by how much the photo may be darkened or brightened


class Compositor:
    """Makes composites of portraits. One depends on the seed, the portrait and its number alone."""

    def __init__(self, hand: BodyModel, head: BodyModel, seed: int):
        self.hand, self.head, self.seed = hand, head, seed
        self._placer = HandPlacer(hand, head)
        self._pose_head = jax.jit(lambda params: pose_head(head, params))
        self._painters = HeadPainter(head), HandPainter(hand)
        self._details = surface_detail.head_detail(head), surface_detail.hand_detail(hand)
        self._wrist = boundary_loops(np.asarray(hand.faces))[0]
        labeled = [head.faces, hand.faces + len(head.v_template)]
        self._label_faces = jnp.concatenate(labeled)

    def compose(self, portrait: Portrait, index: int) -> tuple[Example, Rendering] | None:
        """Composite `index` of a portrait, with its picture at twice the size.

        Returns None if no plausible hand was found.
        """
        rng = np.random.default_rng((self.seed, portrait.person.subject, index))
        scene = self._solve(portrait, index, rng)
        if scene is None:
            return None
        camera, box = _frame(portrait, scene_points(scene, rng), rng)
        rendering = self._render(portrait, scene, camera, box, rng)
        return make_example(scene, camera, rendering, self.hand, self.head), rendering

    def _solve(self, portrait: Portrait, index: int, rng) -> Scene | None:
        person, face = portrait.person, portrait.face
        mesh = self._pose_head(head_params(person, face))
        vertices = np.asarray(mesh.vertices, np.float64)
        placements = list(_PLACEMENTS)
        placement = placements[int(rng.choice(len(placements), p=list(_PLACEMENTS.values())))]
        right, attempt = absent_hand(person), 0
        if placement is not None:
            placed = None
            while placed is None and attempt < _MAX_ATTEMPTS:
                gesture, gap = sample_gesture(placement, rng)
                request = Request(placement, gesture, gap, person)
                placed = self._placer.place(request, vertices, rng)
                attempt += 1
            if placed is None:
                return None
            right = placed
        return Scene(
            index=index,
            kind=_KINDS[placement],
            person=person,
            face=face,
            head_vertices=vertices,
            head_keypoints=np.asarray(mesh.keypoints, np.float64),
            right=right,
            left=absent_hand(person),
            attempts=attempt,
        )

    def _render(self, portrait, scene: Scene, camera, box, rng) -> Rendering:
        size = LARGE * CROP_SIZE
        photo = crop.cut(portrait.pixels, box, size)
        linear = to_linear(photo.astype(np.float64) / 255)
        materials = self._materials(scene, rng)
        if scene.right.is_there:
            with_hand = self._draw(scene, camera, portrait, materials, scene.right)
            without = self._draw(scene, camera, portrait, materials, absent_hand(scene.person))
            linear = _blend(linear, with_hand, without)
        large = np.rint(255 * _to_srgb(linear)).astype(np.uint8)
        to_camera = lambda points: jnp.asarray(
            points @ camera.rotation.T + camera.transl, jnp.float32
        )
        labeled = np.concatenate([scene.deformed_head_vertices, scene.hand_vertices])
        depth, ids = shading.draw_depth(
            to_camera(labeled), self._label_faces, *_intrinsics(camera), size=CROP_SIZE
        )
        ids, num_head = np.asarray(ids), len(self.head.faces)
        return Rendering(
            image=postprocess.shrink(large, CROP_SIZE),
            large_image=large,
            depth=np.asarray(depth),
            surface_depth=np.asarray(depth),
            hand_mask=ids >= num_head,
            head_mask=(ids >= 0) & (ids < num_head),
        )

    def _materials(self, scene: Scene, rng):
        """Materials of head, hand and arm, and the detail of their triangles."""
        person = scene.person
        head, hand = (painter.sample(person, rng) for painter in self._painters)
        back = hand.albedo[self._painters[1].is_back].mean(0)
        head_detail = self._details[0].color(surface_detail.head_strengths(person, rng))
        hand_detail = self._details[1].color(surface_detail.hand_strengths(person, rng))
        return head, hand, back, np.concatenate([head_detail, hand_detail])

    def _draw(self, scene, camera, portrait, materials, hand: PlacedHand) -> _Drawn:
        """Head, hand and arm under the light of the photo."""
        head_material, hand_material, back, detail = materials
        person = scene.person
        arm = body_parts.arm(hand.vertices[self._wrist], hand.elbow, hand.shoulder, person)
        head_vertices = scene.head_vertices - hand.deformations
        vertices = np.concatenate([head_vertices, hand.vertices, arm.vertices])
        arriving = occlusion(head_vertices, hand.vertices, self.head)
        albedo = np.tile(back, (len(arm.vertices), 1))
        albedo[arm.cloth > 0.5] = person.cloth
        count = len(albedo)
        arm_material = Material(albedo, np.full(count, 0.1), np.full(count, 0.05))
        material = Material.concatenate([head_material, hand_material, arm_material])
        rest = [painter.rest for painter in self._painters]
        texture = np.concatenate([*rest, arm.texture])
        single = lambda array: jnp.asarray(array, jnp.float32)
        surface = shading.Surface(
            vertices=single(vertices @ camera.rotation.T + camera.transl),
            albedo=single(material.albedo),
            gloss=single(0.5 * material.gloss),
            softness=single(np.concatenate([np.ones(len(vertices) - count), 1 - arm.cloth])),
            occlusion=single(np.concatenate([arriving, np.ones(count)])),
            texture=single(np.concatenate([texture, material.grain[:, None]], -1)),
            detail=single(detail),
        )
        faces = jnp.concatenate(
            [self._label_faces, jnp.asarray(arm.faces, jnp.int32) + len(vertices) - count]
        )
        lights = shading.Lights(
            **{
                field.name: single(getattr(portrait.lighting, field.name))
                for field in dataclasses.fields(portrait.lighting)
            }
        )
        intrinsics = _intrinsics(camera)
        color, coverage, _ = shading.shade(
            surface, faces, lights, *intrinsics, LARGE, size=CROP_SIZE
        )
        large = tuple(LARGE * value for value in intrinsics)
        _, ids = shading.draw_depth(surface.vertices, faces, *large, size=LARGE * CROP_SIZE)
        ids = np.asarray(ids)
        num_head = len(self.head.faces)
        return _Drawn(
            np.asarray(color, np.float64),
            np.asarray(coverage, np.float64),
            (ids >= 0) & (ids < num_head),
            ids >= num_head,
        )


@dataclasses.dataclass(frozen=True)
class _Drawn:
    """A rendering: linear RGB times coverage, coverage, and where head and hand are in front."""

    color: Float[np.ndarray, "L L 3"]
    coverage: Float[np.ndarray, "L L"]
    is_head: Bool[np.ndarray, "L L"]
    is_hand: Bool[np.ndarray, "L L"]


def _frame(portrait: Portrait, points, rng) -> tuple[PinholeCamera, crop.CropBox]:
    """The crop around head and hand, inside the photo, and the camera in its pixels."""
    camera = portrait.camera
    moved = points @ camera.rotation.T + camera.transl
    pixels = camera.focal_length * moved[:, :2] / moved[:, 2:] + camera.camera_center
    low, high = pixels.min(0), pixels.max(0)
    size = float((high - low).max() * rng.uniform(1.02, 1.4))
    size = min(size, *portrait.pixels.shape[:2])
    left, top = (low + high) / 2 - size / 2 + size * rng.normal(0, 0.03, 2)
    box = crop.move_inside(crop.CropBox(left, top, size), *portrait.pixels.shape[:2])
    return dataclasses.replace(
        camera,
        focal_length=camera.focal_length / box.scale,
        camera_center=box.to_crop(camera.camera_center),
    ), box


def _blend(photo, with_hand: _Drawn, without: _Drawn) -> Float[np.ndarray, "L L 3"]:
    """The photo with the hand in front, and the light on the skin changed as in the rendering."""
    both_head = with_hand.is_head & without.is_head
    ratio = np.ones_like(photo)
    brightness = [np.maximum(drawn.color.mean(-1), 1e-3) for drawn in (with_hand, without)]
    ratio[both_head] = (brightness[0] / brightness[1])[both_head, None]
    ratio = cv2.GaussianBlur(np.clip(ratio, *_SHADES), (0, 0), 1.0)
    hand = cv2.GaussianBlur(with_hand.is_hand.astype(np.float64), (0, 0), 0.7)[..., None]
    color = with_hand.color / np.maximum(with_hand.coverage, 1e-3)[..., None]
    return np.clip(hand * color + (1 - hand) * photo * ratio, 0.0, 1.0)


def _intrinsics(camera: PinholeCamera):
    single = lambda value: jnp.asarray(value, jnp.float32)
    return single(camera.focal_length), single(camera.camera_center)


def _to_srgb(linear: np.ndarray) -> np.ndarray:
    return np.where(linear < 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
