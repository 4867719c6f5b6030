"""Renders a scene through a camera: the image, and depth and masks of hand and head alone."""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
from scipy.spatial import KDTree

from dice_jax.body_models import BodyModel
from dice_jax.constants import CROP_SIZE
from dice_jax.geometry.mesh import boundary_loops
from dice_jax.synthetic import body_parts, postprocess, shading
from dice_jax.synthetic.appearance import HandPainter, HeadPainter, Material
from dice_jax.synthetic.penetration import outward_normals
from dice_jax.synthetic.sample import Lighting, Person, PinholeCamera
from dice_jax.synthetic.scene_solver import Scene

_OCCLUSION_RADIUS = 0.013  # meters over which a near surface blocks ambient light


@dataclasses.dataclass(frozen=True)
class Rendering:
    """What a camera sees.

    Attributes:
        image: sRGB.
        depth: of hand and (deformed) head, meters; infinite elsewhere.
        hand_mask, head_mask: where they are visible.
    """

    image: UInt8[np.ndarray, "S S 3"]
    depth: Float[np.ndarray, "S S"]
    hand_mask: Bool[np.ndarray, "S S"]
    head_mask: Bool[np.ndarray, "S S"]


@dataclasses.dataclass(frozen=True)
class Appearance:
    """Everything that is drawn, with its materials, in the head's own axes; shared by all views.

    Attributes:
        vertices: of head, hand, hair, shoulders and arm, meters.
        material: of each vertex.
        softness: 1 on skin and hair, 0 on cloth.
        occlusion: fraction of the ambient light that arrives.
        texture: texture coordinates.
    """

    vertices: Float[np.ndarray, "N 3"]
    material: Material
    softness: Float[np.ndarray, "N"]
    occlusion: Float[np.ndarray, "N"]
    texture: Float[np.ndarray, "N 3"]


class Renderer:
    """Renders scenes of one pair of body models."""

    def __init__(self, hand: BodyModel, head: BodyModel, size: int = CROP_SIZE):
        self.hand, self.head, self.size = hand, head, size
        self._hair = body_parts.HairCap(head)
        self._head_painter, self._hand_painter = HeadPainter(head), HandPainter(hand)
        self._neck_edge, self._wrist_edge = (
            boundary_loops(np.asarray(model.faces))[0] for model in (head, hand)
        )
        self._faces: Int[jnp.ndarray, "F 3"] | None = None
        self._label_faces = jnp.concatenate([head.faces, hand.faces + len(head.v_template)])

    def sample_appearance(self, scene: Scene, rng: np.random.Generator) -> Appearance:
        """Adds hair, shoulders and arm, and draws the materials."""
        person, head_vertices = scene.person, scene.deformed_head_vertices
        normals = outward_normals(head_vertices, self.head)
        hair = (
            self._hair.part(head_vertices, normals, scene.hand_vertices, person, rng),
            body_parts.long_hair(head_vertices, scene.hand_vertices, person, rng),
        )
        limbs = (
            body_parts.shoulders(head_vertices[self._neck_edge], person),
            body_parts.arm(scene.hand_vertices[self._wrist_edge], scene.elbow, person),
        )
        parts = (*hair, *limbs)
        head_material = self._head_painter.sample(person, rng)
        hand_material = self._hand_painter.sample(person, rng)
        skin = hand_material.albedo.mean(0)
        materials = [head_material, hand_material]
        materials += [_uniform_material(part, person.hair, 0.12, 0.5) for part in hair]
        materials += [_clothed_material(part, skin, person, rng) for part in limbs]
        if self._faces is None:
            self._faces = self._all_faces(parts)
        num_skin = len(head_vertices) + len(scene.hand_vertices)
        cloth = np.concatenate([np.zeros(num_skin), *(part.cloth for part in parts)])
        texture = [self._head_painter.rest, self._hand_painter.rest, *(p.texture for p in parts)]
        return Appearance(
            vertices=np.concatenate(
                [head_vertices, scene.hand_vertices, *(part.vertices for part in parts)]
            ),
            material=Material.concatenate(materials),
            softness=1 - cloth,
            occlusion=self._occlusion(head_vertices, scene.hand_vertices, len(cloth)),
            texture=np.concatenate(texture) + rng.uniform(0, 1, 3),
        )

    def render(
        self,
        scene: Scene,
        appearance: Appearance,
        camera: PinholeCamera,
        lighting: Lighting,
        rng: np.random.Generator,
    ) -> Rendering:
        """Renders one image.

        Args:
            scene: for the labels' depth and masks.
            appearance: of `sample_appearance`.
            camera: of `sample.sample_camera`.
            lighting: of `sample.sample_lighting`.
            rng: randomness of background and camera pipeline.
        """
        if self._faces is None:
            raise ValueError("call sample_appearance before render")
        single = lambda array: jnp.asarray(array, jnp.float32)
        to_camera = lambda points: single(points @ camera.rotation.T + camera.transl)
        material = appearance.material
        surface = shading.Surface(
            vertices=to_camera(appearance.vertices),
            albedo=single(material.albedo),
            gloss=single(material.gloss),
            softness=single(appearance.softness),
            occlusion=single(appearance.occlusion),
            texture=single(np.concatenate([appearance.texture, material.grain[:, None]], -1)),
        )
        lights = shading.Lights(
            **{f.name: single(getattr(lighting, f.name)) for f in dataclasses.fields(Lighting)}
        )
        intrinsics = single(camera.focal_length), single(camera.camera_center)
        color, coverage = shading.shade(surface, self._faces, lights, *intrinsics, size=self.size)
        labeled = to_camera(np.concatenate([scene.deformed_head_vertices, scene.hand_vertices]))
        depth, face_ids = shading.draw_depth(
            labeled, self._label_faces, *intrinsics, size=self.size
        )
        face_ids = np.asarray(face_ids)
        num_head_faces = len(self.head.faces)
        return Rendering(
            image=postprocess.postprocess(np.asarray(color), np.asarray(coverage), rng),
            depth=np.asarray(depth),
            hand_mask=face_ids >= num_head_faces,
            head_mask=(face_ids >= 0) & (face_ids < num_head_faces),
        )

    def _all_faces(self, parts):
        faces, first = [np.asarray(self.head.faces)], len(self.head.v_template)
        faces.append(np.asarray(self.hand.faces) + first)
        first += len(self.hand.v_template)
        for part in parts:
            faces.append(part.faces + first)
            first += len(part.vertices)
        return jnp.asarray(np.concatenate(faces), jnp.int32)

    def _occlusion(self, head_vertices, hand_vertices, count):
        """Less ambient light where hand and face are close, on the neck, and in cavities."""
        near = lambda distance: 1 - 0.6 * np.exp(-((distance / _OCCLUSION_RADIUS) ** 1.5))
        on_head = near(KDTree(hand_vertices).query(head_vertices)[0])
        on_hand = near(KDTree(head_vertices).query(hand_vertices)[0])
        on_head[np.asarray(self.head.region("neck"))] *= 0.75
        on_head[np.asarray(self.head.cavity) & ~np.asarray(self.head.region("eyes"))] *= 0.5
        elsewhere = np.ones(count - len(on_head) - len(on_hand))
        return np.concatenate([on_head, on_hand, elsewhere])


def _uniform_material(part, color, gloss, grain):
    count = len(part.vertices)
    albedo = np.tile(color, (count, 1)).astype(np.float64)
    return Material(albedo, np.full(count, gloss), np.full(count, grain))


def _clothed_material(part: body_parts.Part, skin, person: Person, rng) -> Material:
    """Skin, and cloth where the part is clothed."""
    material = _uniform_material(part, skin, 0.3 * person.gloss, 0.08)
    cloth = part.cloth > 0.5
    material.albedo[cloth] = person.cloth
    material.gloss[cloth] = 0.0
    material.grain[cloth] = rng.uniform(0.02, 0.15)
    return material
