"""Paints hand and head: skin of one tone, lips, brows, beard, irises, freckles, redder joints,
paler palms.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Float
from scipy.spatial import cKDTree

from dice_jax.body_models import BodyModel
from dice_jax.geometry.mesh import vertex_normals
from dice_jax.synthetic.sample import Person

_LUMINANCE = np.array([0.2126, 0.7152, 0.0722])


@dataclasses.dataclass(frozen=True)
class Paint:
    """Per vertex: linear RGB albedo, strength of highlights, and of fine texture."""

    albedo: Float[np.ndarray, "N 3"]
    gloss: Float[np.ndarray, "N"]
    grain: Float[np.ndarray, "N"]


class HeadPainter:
    """Knows where on a head model lips, brows, eyes and beard are."""

    def __init__(self, head: BodyModel):
        self.rest = np.asarray(head.v_template, np.float64)
        colors = np.asarray(head.colors, np.float64)
        cheeks = np.asarray(head.region("cheek_right") | head.region("cheek_left"))
        self.detail = colors / np.median(colors[cheeks], axis=0)
        self.eyes, self.lips = (np.asarray(head.region(name)) for name in ("eyes", "lips"))
        darkness = 1 - self.detail @ _LUMINANCE
        skin = ~self.eyes & ~self.lips & ~np.asarray(head.cavity)
        eye_height = self.rest[self.eyes].mean(0)[1]
        self.brows = np.where(
            skin & (self.rest[:, 1] > eye_height), np.clip(darkness / 0.75, 0, 1), 0.0
        )
        white = np.percentile(colors[self.eyes] @ _LUMINANCE, 90)
        self.iris = np.where(
            self.eyes, np.clip(1 - (colors @ _LUMINANCE) / (0.8 * white), 0, 1), 0.0
        )
        self.inner = np.asarray(head.cavity)
        self.beard = skin * self._beard_area(head)

    def _beard_area(self, head):
        """1 on chin, jaw and upper lip, fading out over a centimeter."""
        seeds = np.asarray(head.region("chin") | head.region("jaw_right") | head.region("jaw_left"))
        lips = self.rest[self.lips]
        top, front = lips[:, 1].max(), lips[:, 2].mean()
        above = (
            (np.abs(self.rest[:, 0]) < 0.028)
            & (self.rest[:, 1] > top - 0.004)
            & (self.rest[:, 1] < top + 0.012)
        )
        seeds = seeds | above & (self.rest[:, 2] > front - 0.025) & ~self.lips & ~np.asarray(
            head.region("nose")
        )
        distance = cKDTree(self.rest[seeds & ~self.inner]).query(self.rest)[0]
        return np.exp(-((distance / 0.008) ** 2)) * ~np.asarray(head.region("nose"))

    def paint(self, person: Person, rng: np.random.Generator) -> Paint:
        """Paint for the 5023 vertices of a head."""
        tint = np.clip(self.detail, 0.0, 1.3) ** 0.6
        albedo = person.skin * np.where((self.lips | self.eyes)[:, None], 1.0, tint)
        albedo *= _mottling(self.rest, person, rng)
        blush = np.exp(
            -(((np.abs(self.rest[:, 0]) - 0.038) / 0.018) ** 2)
            - ((self.rest[:, 1] + 0.01) / 0.02) ** 2
        )
        albedo *= 1 - rng.uniform(0, 0.35) * (1 - 0.7 * person.skin_tone) * blush[:, None] * (
            0.0,
            1.0,
            0.9,
        )
        albedo = _mix(albedo, person.lips * tint**0.3, self.lips)
        shade = 0.75 + 0.5 * rng.uniform(size=len(self.rest))
        albedo = _mix(
            albedo, 0.6 * person.hair * shade[:, None], rng.uniform(0.5, 1.0) * self.brows
        )
        albedo = _mix(
            albedo, person.hair * shade[:, None], np.clip(person.beard * self.beard, 0, 0.9)
        )
        sclera = np.array([0.72, 0.68, 0.65])
        iris = np.where((self.iris > 0.85)[:, None], 0.01, person.eyes)
        albedo[self.eyes] = _mix(
            np.tile(sclera, (len(albedo), 1)), iris, np.clip(3 * self.iris, 0, 1)
        )[self.eyes]
        albedo[self.inner & ~self.eyes] = np.array([0.25, 0.06, 0.05]) * 0.5
        gloss = np.full(len(albedo), 0.35 * person.gloss)
        gloss[self.lips], gloss[self.eyes] = 0.3 + 0.4 * person.gloss, 1.5
        grain = np.where(
            self.eyes,
            0.0,
            0.02 + person.mottling * 0.6 + 0.25 * person.beard * self.beard + 0.2 * self.brows,
        )
        return Paint(albedo, gloss, grain)


class HandPainter:
    """Knows where on a hand model joints, tips and palm are."""

    def __init__(self, hand: BodyModel):
        self.rest = np.asarray(hand.v_template, np.float64)
        self.palm = np.clip(
            -np.asarray(vertex_normals(hand.v_template, hand.closed_faces))[:, 1] * 1.5, 0, 1
        )
        joints = np.asarray(hand.J_regressor, np.float64) @ self.rest
        warm = np.concatenate([joints[1:], self.rest[np.asarray(hand.tip_ids)]])
        self.warm = np.exp(-((cKDTree(warm).query(self.rest)[0] / 0.011) ** 2))

    def paint(self, person: Person, rng: np.random.Generator) -> Paint:
        """Paint for the 778 vertices of a hand."""
        albedo = person.skin * _mottling(self.rest, person, rng) * np.exp(rng.normal(0, 0.05))
        pale = np.array([0.50, 0.30, 0.22]) * (0.7 + 0.6 * (1 - person.skin_tone))
        albedo = _mix(albedo, pale, (0.25 + 0.35 * person.skin_tone) * self.palm)
        albedo *= 1 - rng.uniform(0.05, 0.3) * self.warm[:, None] * (0.1, 1.0, 0.9)
        return Paint(
            albedo,
            np.full(len(albedo), 0.3 * person.gloss),
            np.full(len(albedo), 0.03 + 0.7 * person.mottling),
        )


def _mottling(rest, person, rng):
    """Uneven color in waves of some centimeters, more in brightness than in hue, and faint spots,
    as factors.
    """
    waves = np.sin(rest @ rng.normal(0, 150, (3, 12)) + rng.uniform(0, 6.28, 12))
    waves = waves @ (rng.normal(0, 0.25, (12, 1)) + rng.normal(0, 0.07, (12, 3)))
    spots = (rng.uniform(size=len(rest)) < 2 * max(person.mottling - 0.06, 0.0))[:, None]
    return np.exp(person.mottling * waves) * np.where(spots, (0.90, 0.85, 0.80), 1.0)


def _mix(albedo, color, share):
    return albedo + np.asarray(share, np.float64)[:, None] * (color - albedo)
