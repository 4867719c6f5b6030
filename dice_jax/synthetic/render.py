"""Renders a scene through a camera: the picture, and the depth and masks of hand and head alone."""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, UInt8
from scipy.spatial import cKDTree

from dice_jax.body_models import BodyModel
from dice_jax.geometry.mesh import boundary_loops
from dice_jax.synthetic import body_parts, photo, proximity, shading
from dice_jax.synthetic.appearance import HandPainter, HeadPainter, Paint
from dice_jax.synthetic.sample import Lighting, PinholeCamera
from dice_jax.synthetic.solve import Scene

_CONTACT_SHADE_RADIUS = 0.013  # meters over which a near surface keeps light away


@dataclasses.dataclass(frozen=True)
class Rendering:
    """What a camera sees.

    Attributes:
        image: sRGB.
        depth: of hand and (deformed) head, meters; infinite elsewhere.
        hand_mask, head_mask: where they are seen.
    """

    image: UInt8[np.ndarray, "S S 3"]
    depth: Float[np.ndarray, "S S"]
    hand_mask: Bool[np.ndarray, "S S"]
    head_mask: Bool[np.ndarray, "S S"]


@dataclasses.dataclass(frozen=True)
class Painted:
    """A scene with its scenery, colored, in the head's own axes: shared by all its views."""

    vertices: Float[np.ndarray, "N 3"]
    paint: Paint
    softness: Float[np.ndarray, "N"]
    occlusion: Float[np.ndarray, "N"]
    texture: Float[np.ndarray, "N 3"]


class Renderer:
    """Renders scenes of one pair of body models."""

    def __init__(self, hand: BodyModel, head: BodyModel, size: int = 224):
        self.hand, self.head, self.size = hand, head, size
        self._hair = body_parts.HairCap(head)
        self._paint_head, self._paint_hand = HeadPainter(head), HandPainter(hand)
        self._neck_edge, self._wrist_edge = (
            boundary_loops(np.asarray(model.faces))[0] for model in (head, hand)
        )
        self._faces = None
        self._label_faces = jnp.concatenate([head.faces, hand.faces + len(head.v_template)])

    def paint(self, scene: Scene, rng: np.random.Generator) -> Painted:
        """Adds hair, shoulders and arm, and colors everything."""
        person, head_vertices = scene.person, scene.deformed_head_vertices
        normals = proximity.outward_normals(head_vertices, self.head)
        scenery = (
            self._hair.part(head_vertices, normals, scene.hand_vertices, person, rng),
            body_parts.long_hair(head_vertices, scene.hand_vertices, person, rng),
            body_parts.shoulders(head_vertices[self._neck_edge], person),
            body_parts.arm(scene.hand_vertices[self._wrist_edge], scene.elbow, person),
        )
        head_paint, hand_paint = (
            self._paint_head.paint(person, rng),
            self._paint_hand.paint(person, rng),
        )
        skin = hand_paint.albedo.mean(0)
        paints = [_plain(part, person.hair, 0.12, 0.5) for part in scenery[:2]]
        paints += [_plain(part, skin, 0.3 * person.gloss, 0.08) for part in scenery[2:]]
        for part, paint in zip(scenery[2:], paints[2:]):
            _dress(part, paint, person, rng)
        if self._faces is None:
            self._faces = self._all_faces(scenery)
        meshes = [head_vertices, scene.hand_vertices, *(part.vertices for part in scenery)]
        all_paints = [head_paint, hand_paint, *paints]
        rest = [self._paint_head.rest, self._paint_hand.rest, *(part.texture for part in scenery)]
        cloth = np.concatenate(
            [np.zeros(len(head_vertices) + len(scene.hand_vertices)), *(p.cloth for p in scenery)]
        )
        return Painted(
            vertices=np.concatenate(meshes),
            paint=Paint(
                *(
                    np.concatenate([getattr(p, f.name) for p in all_paints])
                    for f in dataclasses.fields(Paint)
                )
            ),
            softness=1 - cloth,
            occlusion=self._occlusion(meshes, cloth),
            texture=np.concatenate(rest) + rng.uniform(0, 1, 3),
        )

    def render(
        self,
        scene: Scene,
        painted: Painted,
        camera: PinholeCamera,
        lighting: Lighting,
        rng: np.random.Generator,
    ) -> Rendering:
        """One picture.

        Args:
            scene: for the labels' depth and masks.
            painted: of `paint`.
            camera, lighting: see `sample`.
            rng: background and photographic randomness.
        """
        to_camera = lambda points: jnp.asarray(
            points @ camera.rotation.T + camera.transl, jnp.float32
        )
        single = lambda array: jnp.asarray(array, jnp.float32)
        paint = painted.paint
        surface = shading.Surface(
            vertices=to_camera(painted.vertices),
            albedo=single(paint.albedo),
            gloss=single(paint.gloss),
            softness=single(painted.softness),
            occlusion=single(painted.occlusion),
            texture=single(np.concatenate([painted.texture, paint.grain[:, None]], -1)),
        )
        lights = shading.Lights(
            **{f.name: single(getattr(lighting, f.name)) for f in dataclasses.fields(Lighting)}
        )
        lens = single(camera.focal_length), single(camera.camera_center)
        color, coverage = shading.shade(surface, self._faces, lights, *lens, size=self.size)
        labeled = to_camera(np.concatenate([scene.deformed_head_vertices, scene.hand_vertices]))
        depth, face_ids = shading.draw_depth(labeled, self._label_faces, *lens, size=self.size)
        face_ids = np.asarray(face_ids)
        num_head_faces = len(self.head.faces)
        return Rendering(
            image=photo.finish(np.asarray(color), np.asarray(coverage), rng),
            depth=np.asarray(depth),
            hand_mask=face_ids >= num_head_faces,
            head_mask=(face_ids >= 0) & (face_ids < num_head_faces),
        )

    def _all_faces(self, scenery):
        faces, first = [np.asarray(self.head.faces)], len(self.head.v_template)
        faces.append(np.asarray(self.hand.faces) + first)
        first += len(self.hand.v_template)
        for part in scenery:
            faces.append(part.faces + first)
            first += len(part.vertices)
        return jnp.asarray(np.concatenate(faces), jnp.int32)

    def _occlusion(self, meshes, cloth):
        """Hand and face darken each other where they are close, and a chin its neck."""
        head_vertices, hand_vertices = meshes[:2]
        occlusion = np.ones(len(cloth))
        count = len(head_vertices)
        close = lambda distance: 1 - 0.6 * np.exp(-((distance / _CONTACT_SHADE_RADIUS) ** 1.5))
        occlusion[:count] = close(cKDTree(hand_vertices).query(head_vertices)[0])
        occlusion[count : count + len(hand_vertices)] = close(
            cKDTree(head_vertices).query(hand_vertices)[0]
        )
        neck = np.asarray(self.head.region("neck"))
        occlusion[:count][neck] *= 0.75
        occlusion[:count][np.asarray(self.head.cavity) & ~np.asarray(self.head.region("eyes"))] *= (
            0.5
        )
        return occlusion


def _plain(part, color, gloss, grain):
    count = len(part.vertices)
    return Paint(
        np.tile(color, (count, 1)).astype(np.float64), np.full(count, gloss), np.full(count, grain)
    )


def _dress(part, paint, person, rng):
    """Colors the clothed vertices of a part in place."""
    cloth = part.cloth > 0.5
    paint.albedo[cloth] = person.cloth
    paint.gloss[cloth] = 0.0
    paint.grain[cloth] = rng.uniform(0.02, 0.15)
