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
from dice_jax.synthetic import body_parts, postprocess, shading, surface_detail, things
from dice_jax.synthetic.appearance import HandPainter, HeadPainter, Material
from dice_jax.synthetic.penetration import outward_normals
from dice_jax.synthetic.sample import Lighting, Person, PinholeCamera
from dice_jax.synthetic.scene_solver import Scene

LARGE = 2  # the rendered image has this many times the side of the crop
# Radians that the jaw may be open under a mask, which is the skin and has a hole at the mouth.
_WIDEST_MASKED_MOUTH = 0.06
_OCCLUSION_RADIUS = 0.013  # meters over which a near surface blocks ambient light


@dataclasses.dataclass(frozen=True)
class Rendering:
    """What a camera sees.

    Attributes:
        image: sRGB.
        large_image: the same picture at `LARGE` times the side, for detectors.
        depth: of right hand and (deformed) head, meters; infinite elsewhere.
        surface_depth: of everything that is drawn: hair, clothes and the left hand too.
        hand_mask, head_mask: where right hand and head are not hidden by each other.
    """

    image: UInt8[np.ndarray, "S S 3"]
    large_image: UInt8[np.ndarray, "L L 3"]
    depth: Float[np.ndarray, "S S"]
    surface_depth: Float[np.ndarray, "S S"]
    hand_mask: Bool[np.ndarray, "S S"]
    head_mask: Bool[np.ndarray, "S S"]


@dataclasses.dataclass(frozen=True)
class Appearance:
    """Everything that is drawn, with its materials, in the head's own axes; shared by all views.

    Attributes:
        vertices: of head, right and left hand, hair, shoulders and arms, meters.
        material: of each vertex.
        softness: 1 on skin and hair, 0 on cloth.
        occlusion: fraction of the ambient light that arrives.
        texture: texture coordinates.
        detail: factors of the albedo on the triangles of head and hands, see `surface_detail`.
    """

    vertices: Float[np.ndarray, "N 3"]
    material: Material
    softness: Float[np.ndarray, "N"]
    occlusion: Float[np.ndarray, "N"]
    texture: Float[np.ndarray, "N 3"]
    detail: Float[np.ndarray, "D S 3"]


class Renderer:
    """Renders scenes of one pair of body models."""

    def __init__(self, hand: BodyModel, head: BodyModel, size: int = CROP_SIZE):
        self.hand, self.head, self.size = hand, head, size
        self._hair, self._mask = body_parts.HairCap(head), things.FaceMask(head)
        self._head_painter, self._hand_painter = HeadPainter(head), HandPainter(hand)
        self._head_detail = surface_detail.head_detail(head)
        self._hand_detail = surface_detail.hand_detail(hand)
        self._neck_edge, self._wrist_edge = (
            boundary_loops(np.asarray(model.faces))[0] for model in (head, hand)
        )
        self._faces: Int[jnp.ndarray, "F 3"] | None = None
        self._label_faces = jnp.concatenate([head.faces, hand.faces + len(head.v_template)])

    def sample_appearance(self, scene: Scene, rng: np.random.Generator) -> Appearance:
        """Adds hair, shoulders and arms, and draws the materials."""
        person, head_vertices = scene.person, scene.drawn_head_vertices
        hands = scene.right, scene.left
        both = np.concatenate([hand.vertices for hand in hands])
        normals = outward_normals(head_vertices, self.head)
        hair = (
            self._hair.part(head_vertices, normals, both, person, rng),
            body_parts.long_hair(head_vertices, both, person, rng),
        )
        limbs = [body_parts.shoulders(head_vertices[self._neck_edge], person)]
        limbs += [
            body_parts.arm(hand.vertices[self._wrist_edge], hand.elbow, hand.shoulder, hand.person)
            for hand in hands
        ]
        extras = self._things(scene, normals, both, rng)
        parts = (*hair, *limbs, *extras)
        materials = [self._head_painter.sample(person, rng)]
        materials += [self._hand_painter.sample(hand.person, rng) for hand in hands]
        materials += [_uniform_material(part, person.hair, 0.12, 0.5) for part in hair]
        neck = materials[0].albedo[np.asarray(self.head.region("neck"))].mean(0)
        backs = [m.albedo[self._hand_painter.is_back].mean(0) for m in materials[1:3]]
        owners = (person, *(hand.person for hand in hands))
        materials += [
            _clothed_material(part, skin, owner, rng)
            for part, skin, owner in zip(limbs, (neck, *backs), owners)
        ]
        materials += _thing_materials(extras, rng)
        if self._faces is None:
            self._faces = self._all_faces(parts)
        num_skin = len(head_vertices) + len(both)
        cloth = np.concatenate([np.zeros(num_skin), *(part.cloth for part in parts)])
        rest = self._hand_painter.rest
        texture = [self._head_painter.rest, rest, rest + 0.5, *(p.texture for p in parts)]
        return Appearance(
            vertices=np.concatenate([head_vertices, both, *(part.vertices for part in parts)]),
            material=Material.concatenate(materials),
            softness=1 - cloth,
            occlusion=np.concatenate(
                [occlusion(head_vertices, both, self.head), np.ones(len(cloth) - num_skin)]
            ),
            texture=np.concatenate(texture) + rng.uniform(0, 1, 3),
            detail=self._detail(person, [hand.person for hand in hands], rng),
        )

    def _things(self, scene, normals, hand_vertices, rng):
        """Glasses, their lenses, a mask, and what the right hand holds."""
        head_vertices = scene.drawn_head_vertices
        wear = things.sample_wear(rng, scene.person.age)
        if scene.face.jaw_pose[0] > _WIDEST_MASKED_MOUTH:
            wear = dataclasses.replace(wear, mask=False)
        middle = head_vertices[head_vertices[:, 1] > -0.05].mean(0)
        return (
            *things.glasses(scene.head_keypoints, head_vertices, hand_vertices, wear, rng),
            self._mask.part(head_vertices, normals, hand_vertices, wear),
            things.held_thing(scene.right, middle),
        )

    def _detail(self, person, owners, rng):
        """Detail of the head, the right and the left hand, whose triangles are turned."""
        head = self._head_detail.color(surface_detail.head_strengths(person, rng))
        hands = [
            self._hand_detail.color(surface_detail.hand_strengths(owner, rng)) for owner in owners
        ]
        return np.concatenate([head, hands[0], surface_detail.flipped(hands[1])])

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
            detail=appearance.detail,
        )
        lights = shading.Lights(
            **{f.name: single(getattr(lighting, f.name)) for f in dataclasses.fields(Lighting)}
        )
        intrinsics = single(camera.focal_length), single(camera.camera_center)
        drawn = shading.shade(surface, self._faces, lights, *intrinsics, LARGE, size=self.size)
        labeled = to_camera(np.concatenate([scene.deformed_head_vertices, scene.hand_vertices]))
        depth, face_ids = shading.draw_depth(
            labeled, self._label_faces, *intrinsics, size=self.size
        )
        face_ids = np.asarray(face_ids)
        num_head_faces = len(self.head.faces)
        color, coverage, surface_depth = (np.asarray(array) for array in drawn)
        large = postprocess.postprocess(color, coverage, rng)
        return Rendering(
            image=postprocess.shrink(large, self.size),
            large_image=large,
            depth=np.asarray(depth),
            surface_depth=postprocess.nearest_depth(surface_depth, self.size),
            hand_mask=face_ids >= num_head_faces,
            head_mask=(face_ids >= 0) & (face_ids < num_head_faces),
        )

    def hand_area(self, scene: Scene, camera: PinholeCamera) -> float:
        """Fraction of the image that the right hand covers where the head does not hide it."""
        vertices = np.concatenate([scene.deformed_head_vertices, scene.hand_vertices])
        single = lambda array: jnp.asarray(array, jnp.float32)
        _, face_ids = shading.draw_depth(
            single(vertices @ camera.rotation.T + camera.transl),
            self._label_faces,
            single(camera.focal_length),
            single(camera.camera_center),
            size=self.size,
        )
        return float((np.asarray(face_ids) >= len(self.head.faces)).mean())

    def _all_faces(self, parts):
        faces, first = [np.asarray(self.head.faces)], len(self.head.v_template)
        # The mirror image of a hand has its triangles the other way round.
        for hand_faces in (np.asarray(self.hand.faces), np.asarray(self.hand.faces)[:, ::-1]):
            faces.append(hand_faces + first)
            first += len(self.hand.v_template)
        for part in parts:
            faces.append(part.faces + first)
            first += len(part.vertices)
        return jnp.asarray(np.concatenate(faces), jnp.int32)


def occlusion(
    head_vertices: Float[np.ndarray, "5023 3"],
    hand_vertices: Float[np.ndarray, "N 3"],
    head: BodyModel,
) -> Float[np.ndarray, "M"]:
    """Fraction of the ambient light that arrives at the vertices of head and hands.

    There is less where hand and face are close, on the neck, and in cavities.
    """
    near = lambda distance: 1 - 0.6 * np.exp(-((distance / _OCCLUSION_RADIUS) ** 1.5))
    reach = 5 * _OCCLUSION_RADIUS
    between = lambda a, b: KDTree(b).query(a, distance_upper_bound=reach)[0]
    on_head = near(between(head_vertices, hand_vertices))
    on_hand = near(between(hand_vertices, head_vertices))
    on_head[np.asarray(head.region("neck"))] *= 0.75
    on_head[np.asarray(head.cavity) & ~np.asarray(head.region("eyes"))] *= 0.5
    return np.concatenate([on_head, on_hand])


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


def _thing_materials(parts, rng):
    """Frame, dark lenses, mask and held thing."""
    frame = rng.choice([0.02, 0.05, 0.3]) * np.exp(rng.normal(0, 0.3, 3))
    mask = rng.choice([(0.45, 0.62, 0.72), (0.75, 0.75, 0.75), (0.05, 0.05, 0.05)])
    held = np.full(3, rng.choice([0.03, 0.15, 0.75])) * np.exp(rng.normal(0, 0.25, 3))
    looks = ((frame, 0.8, 0.0), (np.full(3, 0.015), 1.2, 0.0), (mask, 0.0, 0.05), (held, 0.5, 0.0))
    return [
        _uniform_material(part, np.clip(c, 0, 0.85), g, n) for part, (c, g, n) in zip(parts, looks)
    ]
