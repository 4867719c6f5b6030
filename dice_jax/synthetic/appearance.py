"""Materials of hand and head: skin tone, lips, brows, beard, eyes, freckles, joints, palm."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from scipy.spatial import KDTree

from dice_jax.body_models import BodyModel
from dice_jax.geometry.mesh import vertex_normals
from dice_jax.synthetic.sample import Person

_LUMINANCE = np.array([0.2126, 0.7152, 0.0722])
_SCLERA = np.array([0.72, 0.68, 0.65])
_MOUTH = np.array([0.25, 0.06, 0.05]) * 0.5


@dataclasses.dataclass(frozen=True)
class Material:
    """Reflectance of each vertex.

    Attributes:
        albedo: linear RGB.
        gloss: strength of highlights.
        grain: strength of fine texture.
    """

    albedo: Float[np.ndarray, "N 3"]
    gloss: Float[np.ndarray, "N"]
    grain: Float[np.ndarray, "N"]

    @classmethod
    def concatenate(cls, materials: Sequence[Material]) -> Material:
        """The materials of several meshes, one after the other."""
        names = [field.name for field in dataclasses.fields(cls)]
        return cls(*(np.concatenate([getattr(m, name) for m in materials]) for name in names))


class HeadPainter:
    """Draws materials for a head model, whose lips, brows, eyes and beard it locates once."""

    def __init__(self, head: BodyModel):
        self.rest = np.asarray(head.v_template, np.float64)
        colors = np.asarray(head.colors, np.float64)
        cheeks = np.asarray(head.region("cheek_right") | head.region("cheek_left"))
        self._detail = colors / np.median(colors[cheeks], axis=0)
        self._eyes, self._lips = (np.asarray(head.region(name)) for name in ("eyes", "lips"))
        self._cavity = np.asarray(head.cavity)
        darkness = 1 - self._detail @ _LUMINANCE
        skin = ~self._eyes & ~self._lips & ~self._cavity
        above_eyes = self.rest[:, 1] > self.rest[self._eyes].mean(0)[1]
        self._brows = np.where(skin & above_eyes, np.clip(darkness / 0.75, 0, 1), 0.0)
        luminance = colors @ _LUMINANCE
        white = np.percentile(luminance[self._eyes], 90)
        self._iris = np.where(self._eyes, np.clip(1 - luminance / (0.8 * white), 0, 1), 0.0)
        self._beard = skin * self._beard_density(head)

    def _beard_density(self, head):
        """1 on chin, jaw and upper lip, falling off over a centimeter."""
        nose = np.asarray(head.region("nose"))
        seeds = np.asarray(head.region("chin") | head.region("jaw_right") | head.region("jaw_left"))
        lips = self.rest[self._lips]
        top, front = lips[:, 1].max(), lips[:, 2].mean()
        x, y, z = self.rest.T
        above_lips = (np.abs(x) < 0.028) & (y > top - 0.004) & (y < top + 0.012)
        seeds = seeds | above_lips & (z > front - 0.025) & ~self._lips & ~nose
        distance = KDTree(self.rest[seeds & ~self._cavity]).query(self.rest)[0]
        return np.exp(-((distance / 0.008) ** 2)) * ~nose

    def sample(self, person: Person, rng: np.random.Generator) -> Material:
        """Material of the 5023 vertices of a head."""
        eyes, lips = self._eyes, self._lips
        tint = np.clip(self._detail, 0.0, 1.3) ** 0.6
        albedo = person.skin * np.where((lips | eyes)[:, None], 1.0, tint)
        albedo *= _mottling(self.rest, person, rng)
        from_cheek = (np.abs(self.rest[:, 0]) - 0.038) / 0.018
        blush = np.exp(-(from_cheek**2) - ((self.rest[:, 1] + 0.01) / 0.02) ** 2)[:, None]
        redness = rng.uniform(0, 0.35) * (1 - 0.7 * person.skin_tone)
        albedo *= 1 - redness * blush * (0.0, 1.0, 0.9)
        albedo = _mix(albedo, person.lips * tint**0.3, lips)
        shade = (0.75 + 0.5 * rng.uniform(size=len(self.rest)))[:, None]
        albedo = _mix(albedo, 0.6 * person.hair * shade, rng.uniform(0.5, 1.0) * self._brows)
        albedo = _mix(albedo, person.hair * shade, np.clip(person.beard * self._beard, 0, 0.9))
        iris = np.where((self._iris > 0.85)[:, None], 0.01, person.eyes)
        sclera = np.tile(_SCLERA, (len(albedo), 1))
        albedo[eyes] = _mix(sclera, iris, np.clip(3 * self._iris, 0, 1))[eyes]
        albedo[self._cavity & ~eyes] = _MOUTH
        gloss = np.full(len(albedo), 0.35 * person.gloss)
        gloss[lips], gloss[eyes] = 0.3 + 0.4 * person.gloss, 1.5
        hair_grain = 0.25 * person.beard * self._beard
        grain = 0.02 + person.mottling * 0.6 + hair_grain + 0.2 * self._brows
        return Material(albedo, gloss, np.where(eyes, 0.0, grain))


class HandPainter:
    """Draws materials for a hand model, whose joints, tips and palm it locates once."""

    def __init__(self, hand: BodyModel):
        self.rest = np.asarray(hand.v_template, np.float64)
        normals = np.asarray(vertex_normals(hand.v_template, hand.closed_faces))
        self._palm = np.clip(-normals[:, 1] * 1.5, 0, 1)
        self.is_back = self._palm < 0.05
        joints = np.asarray(hand.J_regressor, np.float64) @ self.rest
        reddish = np.concatenate([joints[1:], self.rest[np.asarray(hand.tip_ids)]])
        self._reddish = np.exp(-((KDTree(reddish).query(self.rest)[0] / 0.011) ** 2))

    def sample(self, person: Person, rng: np.random.Generator) -> Material:
        """Material of the 778 vertices of a hand."""
        # Hands are mostly a little darker and redder than faces.
        tone = np.exp(rng.normal((-0.06, -0.12, -0.12), 0.06))
        albedo = person.skin * _mottling(self.rest, person, rng) * tone
        pale = np.array([0.50, 0.30, 0.22]) * (0.7 + 0.6 * (1 - person.skin_tone))
        albedo = _mix(albedo, pale, (0.25 + 0.35 * person.skin_tone) * self._palm)
        albedo *= 1 - rng.uniform(0.05, 0.3) * self._reddish[:, None] * (0.1, 1.0, 0.9)
        gloss = np.full(len(albedo), 0.3 * person.gloss)
        return Material(albedo, gloss, np.full(len(albedo), 0.03 + 0.7 * person.mottling))


def _mottling(rest, person, rng):
    """Factors (V, 3) of uneven skin color.

    Waves of some centimeters, stronger in brightness than in hue, and faint spots.
    """
    waves = np.sin(rest @ rng.normal(0, 150, (3, 12)) + rng.uniform(0, 6.28, 12))
    waves = waves @ (rng.normal(0, 0.25, (12, 1)) + rng.normal(0, 0.07, (12, 3)))
    spots = (rng.uniform(size=len(rest)) < 2 * max(person.mottling - 0.06, 0.0))[:, None]
    return np.exp(person.mottling * waves) * np.where(spots, (0.90, 0.85, 0.80), 1.0)


def _mix(albedo, color, fraction):
    return albedo + np.asarray(fraction, np.float64)[:, None] * (color - albedo)
