"""What is drawn by chance before any geometry is solved: people, faces, cameras, lights.

Ranges are chosen wide rather than typical: a network trained on these scenes should meet nothing in
a photograph that is not between things it has seen.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Float
from scipy.spatial.transform import Rotation

Color = Float[np.ndarray, "3"]

# Ten skin tones from the lightest to the darkest, sRGB: the Monk scale (E. Monk, 2023).
_SKIN_TONES = (
    np.array(
        [
            (246, 237, 228),
            (243, 231, 219),
            (247, 234, 208),
            (234, 218, 186),
            (215, 189, 150),
            (160, 126, 86),
            (130, 92, 67),
            (96, 65, 52),
            (58, 49, 42),
            (41, 36, 32),
        ]
    )
    / 255
)
_HAIR_COLORS = (
    np.array(
        [
            (18, 15, 14),
            (28, 21, 18),
            (48, 33, 25),
            (70, 46, 32),
            (96, 62, 40),
            (124, 86, 55),
            (165, 128, 86),
            (196, 164, 118),
            (120, 58, 30),
            (150, 150, 150),
            (205, 202, 198),
            (90, 88, 88),
        ]
    )
    / 255
)
_EYE_COLORS = (
    np.array(
        [(60, 38, 25), (84, 54, 32), (96, 82, 48), (92, 108, 84), (88, 112, 138), (120, 132, 140)]
    )
    / 255
)

# From FLAME's upright axes (y up, z to the viewer) to a camera's (y down, z away).
_TO_CAMERA = np.diag([1.0, -1.0, -1.0])


@dataclasses.dataclass(frozen=True)
class Person:
    """Who is in the scene. Colors are linear RGB albedo.

    Attributes:
        subject: number that decides everything else.
        hand_betas, head_betas: body model shapes.
        skin_tone: 0 the lightest, 1 the darkest.
        skin, lips, hair, eyes, cloth: colors.
        hair_length: meters that the hair stands off the scalp; 0 is bald.
        long_hair: meters that hair hangs below the ears; 0 is none.
        beard: how dense, 0 to 1.
        mottling: standard deviation of the skin's uneven color.
        gloss: of the skin, 0 matt, 1 oily.
        sleeve: where it ends, as a share of the forearm from the wrist; over 1 on the upper arm.
        collar: meters below the neck's edge where clothes begin.
    """

    subject: int
    hand_betas: Float[np.ndarray, "10"]
    head_betas: Float[np.ndarray, "100"]
    skin_tone: float
    skin: Color
    lips: Color
    hair: Color
    eyes: Color
    cloth: Color
    hair_length: float
    long_hair: float
    beard: float
    mottling: float
    gloss: float
    sleeve: float
    collar: float


@dataclasses.dataclass(frozen=True)
class Face:
    """What the head does: FLAME parameters, the root unturned."""

    expression: Float[np.ndarray, "50"]
    neck_pose: Float[np.ndarray, "3"]
    jaw_pose: Float[np.ndarray, "3"]


@dataclasses.dataclass(frozen=True)
class PinholeCamera:
    """A pinhole camera whose picture is the 224 x 224 crop.

    Attributes:
        rotation: from the head's own axes to camera axes.
        transl: added after it, meters.
        focal_length: pixels of the crop.
        camera_center: principal point, pixels of the crop; often outside it, as a crop is rarely in
            the middle.
    """

    rotation: Float[np.ndarray, "3 3"]
    transl: Float[np.ndarray, "3"]
    focal_length: float
    camera_center: Float[np.ndarray, "2"]


@dataclasses.dataclass(frozen=True)
class Lighting:
    """Distant lights (towards them, camera axes) and light from all around; linear RGB. The first
    casts shadows.
    """

    directions: Float[np.ndarray, "3 3"]
    colors: Float[np.ndarray, "3 3"]
    sky: Color
    ground: Color
    shadow_softness: float


def sample_person(subject: int, seed: int) -> Person:
    """The person with this number: the same in every scene of a data set."""
    rng = np.random.default_rng((seed, 1, subject))
    tone = float(rng.uniform(0, 1))
    skin = to_linear(
        np.stack([np.interp(tone * 9, np.arange(10), channel) for channel in _SKIN_TONES.T])
    )
    skin = np.clip(skin * np.exp(rng.normal(0, (0.05, 0.04, 0.06))), 0.01, 0.9)
    # The darker the skin, the darker the hair, unless it is gray or dyed.
    colors = _HAIR_COLORS[: 4 if tone > 0.6 and rng.uniform() < 0.85 else len(_HAIR_COLORS)]
    hair = to_linear(colors[rng.integers(len(colors))]) * np.exp(rng.normal(0, 0.15, 3))
    if rng.uniform() < 0.04:
        hair = to_linear(rng.uniform(0.1, 0.8, 3))
    eyes = _EYE_COLORS[: 2 if tone > 0.55 else len(_EYE_COLORS)]
    redness = rng.uniform(0.0, 1.0)
    style = rng.uniform()
    # Betas of weight decaying with their order: late components are noise of the scans, not looks.
    decay = np.exp(-np.arange(100) / 60.0)
    return Person(
        subject=subject,
        hand_betas=np.clip(rng.standard_normal(10), -2.2, 2.2),
        head_betas=np.clip(0.85 * rng.standard_normal(100), -2.2, 2.2) * decay,
        skin_tone=tone,
        skin=skin,
        lips=skin * np.array([1.0, 0.62, 0.62]) ** (0.4 + 0.9 * redness),
        hair=np.clip(hair, 0.004, 0.8),
        eyes=to_linear(eyes[rng.integers(len(eyes))]),
        cloth=np.clip(to_linear(rng.uniform(0.05, 0.95, 3)) * rng.uniform(0.3, 1.0), 0.01, 0.85),
        hair_length=0.0 if style < 0.12 else float(rng.uniform(0.003, 0.035)),
        long_hair=float(rng.uniform(0.05, 0.22)) if style > 0.62 else 0.0,
        beard=float(rng.uniform(0.2, 0.9)) if style < 0.62 and rng.uniform() < 0.4 else 0.0,
        mottling=float(rng.uniform(0.01, 0.10)),
        gloss=float(rng.uniform(0.1, 0.9)),
        sleeve=float(rng.choice([0.06, 0.25, 0.6, 1.3])) + float(rng.uniform(0, 0.15)),
        collar=float(rng.choice([-0.012, 0.01, 0.03, 0.06])),
    )


def sample_face(rng: np.random.Generator) -> Face:
    """A mostly calm face: few expression components at work, a jaw that is open now and then, a
    bent neck.
    """
    active = rng.uniform(size=50) < rng.uniform(0.05, 0.5)
    expression = np.clip(active * rng.normal(0, rng.uniform(0.2, 0.9), 50), -1.8, 1.8)
    opening = rng.uniform(0, 0.05) if rng.uniform() < 0.8 else rng.uniform(0.05, 0.3)
    return Face(
        expression=expression,
        neck_pose=np.clip(rng.normal(0, (0.14, 0.16, 0.10)), -0.35, 0.35),
        jaw_pose=np.array([opening, rng.normal(0, 0.015), rng.normal(0, 0.01)]),
    )


def sample_camera(points: Float[np.ndarray, "N 3"], rng: np.random.Generator) -> PinholeCamera:
    """A camera that sees hand and head, cropped about as a detector would crop.

    Args:
        points: what should be in the picture, head axes, meters.
        rng: source of randomness.
    """
    hard = rng.uniform() < 0.15
    yaw = rng.uniform(-85, 85) if hard else np.clip(rng.normal(0, 32), -65, 65)
    pitch = rng.uniform(-40, 40) if hard else np.clip(rng.normal(3, 13), -25, 30)
    roll = rng.normal(0, 18 if hard else 8)
    turn = Rotation.from_euler("zxy", [roll, pitch, yaw], degrees=True).as_matrix()
    rotation = _TO_CAMERA @ turn
    distance = 0.5 * 5.0 ** rng.uniform()
    off_axis = rng.normal(0, 0.12, 2)
    turned = points @ rotation.T
    transl = np.append(distance * off_axis, distance) - turned.mean(0)
    rays = (turned + transl)[:, :2] / (turned + transl)[:, 2:]
    low, high = rays.min(0), rays.max(0)
    side = (high - low).max() * rng.uniform(1.02, 1.5)
    corner = (low + high) / 2 - side / 2 + side * rng.normal(0, 0.05, 2)
    focal_length = 224 / side
    return PinholeCamera(rotation, transl, float(focal_length), -focal_length * corner)


def sample_lighting(rng: np.random.Generator) -> Lighting:
    """Indoor to outdoor: a main light that throws shadows, a fill from the other side, a rim, and a
    surrounding.
    """
    azimuth, height = rng.uniform(-1.9, 1.9), rng.uniform(-0.1, 1.2)
    side = -np.sign(azimuth) * rng.uniform(0.3, 1.6)
    angles = np.array(
        [
            (azimuth, height),
            (side, rng.uniform(-0.5, 0.8)),
            (rng.uniform(2.2, 4.1), rng.uniform(-0.2, 1)),
        ]
    )
    around, up = angles.T
    directions = np.stack(
        [np.sin(around) * np.cos(up), -np.sin(up), -np.cos(around) * np.cos(up)], -1
    )
    strength = np.array(
        [
            rng.uniform(0.5, 1.3),
            rng.uniform(0.0, 0.5),
            rng.uniform(0.0, 0.7) * (rng.uniform() < 0.5),
        ]
    )
    surround = rng.uniform(0.12, 0.55)
    return Lighting(
        directions=directions,
        colors=strength[:, None] * np.stack([_light_color(rng) for _ in range(3)]),
        sky=surround * _light_color(rng),
        ground=surround * rng.uniform(0.3, 0.9) * _light_color(rng),
        shadow_softness=float(rng.uniform(0.002, 0.02)),
    )


def to_linear(srgb: np.ndarray) -> np.ndarray:
    """Linear light of display values in [0, 1]."""
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def _light_color(rng):
    """From candle light (warm) to blue sky, of luminance about 1."""
    warmth = rng.normal(0, 0.22)
    color = np.exp(warmth * np.array([1.0, 0.1, -1.1]) + rng.normal(0, 0.03, 3))
    return color / color.mean()
