"""Random people, facial expressions, cameras and lights.

Ranges are wide rather than typical, so that real photos are inside the training distribution.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Float
from scipy.spatial.transform import Rotation

from dice_jax.constants import CROP_SIZE

Color = Float[np.ndarray, "3"]


def _srgb(colors: str) -> Float[np.ndarray, "N 3"]:
    """Display values in [0, 1] of colors written as hexadecimal RGB."""
    return np.array([tuple(bytes.fromhex(color)) for color in colors.split()]) / 255


# Ten skin tones from the lightest to the darkest, sRGB: the Monk scale (E. Monk, 2023).
_SKIN_TONES = _srgb("F6EDE4 F3E7DB F7EAD0 EADABA D7BD96 A07E56 825C43 604134 3A312A 292420")
_LIGHT_SKIN = np.array([0.62, 0.42, 0.33])  # linear albedo
AGES = {"child": 0.10, "adult": 0.72, "elder": 0.18}
_HAIR_COLORS = _srgb(
    "120F0E 1C1512 302119 462E20 603E28 7C5637 A58056 C4A476 783A1E 969696 CDCAC6 5A5858"
)
_EYE_COLORS = _srgb("3C2619 543620 605230 5C6C54 58708A 78848C")

# From FLAME's axes (y up, z towards the viewer) to camera axes (y down, z away from the viewer).
_TO_CAMERA = np.diag([1.0, -1.0, -1.0])

_LENSES = (24.0, 135.0)  # focal lengths, mm on full frame
_CROP_SHARES = (0.3, 1.1)  # side of hand and head relative to the picture's longer side
_DISTANCES = (0.45, 4.0)  # from the camera to the middle of hand and head, meters


@dataclasses.dataclass(frozen=True)
class Person:
    """Shape and colors of a person. Colors are linear RGB albedo.

    Attributes:
        subject: number from which all other attributes are drawn.
        age: "child", "adult" or "elder".
        hand_betas, head_betas: body model shapes.
        skin_tone: 0 the lightest, 1 the darkest.
        skin, lips, hair, eyes, cloth: colors.
        hair_length: height of the hair above the scalp, meters; 0 is bald.
        long_hair: length of the hair below the ears, meters; 0 is none.
        beard: density, 0 to 1.
        mottling: standard deviation of the skin color over the surface.
        gloss: of the skin, 0 matt, 1 oily.
        sleeve: where the sleeve ends, as a fraction of the forearm from the wrist; above 1 on the
            upper arm.
        collar: where clothes begin, meters below the neck's edge.
    """

    subject: int
    age: str
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
    """Facial expression and neck: FLAME parameters, without `global_orient`."""

    expression: Float[np.ndarray, "50"]
    neck_pose: Float[np.ndarray, "3"]
    jaw_pose: Float[np.ndarray, "3"]


@dataclasses.dataclass(frozen=True)
class PinholeCamera:
    """A pinhole camera whose image is the crop that the network sees.

    Attributes:
        rotation: from the head's own axes to camera axes.
        transl: added after the rotation, meters.
        focal_length: pixels of the crop.
        camera_center: principal point, pixels of the crop; often outside the crop, which is rarely
            in the middle of the full image.
    """

    rotation: Float[np.ndarray, "3 3"]
    transl: Float[np.ndarray, "3"]
    focal_length: float
    camera_center: Float[np.ndarray, "2"]


@dataclasses.dataclass(frozen=True)
class Lighting:
    """Three distant lights, of which the first casts shadows, and ambient light. Linear RGB.

    Attributes:
        directions: unit vectors towards the lights, camera axes.
        colors: of the lights.
        sky, ground: ambient light from above and from below.
        shadow_softness: width of the shadow's edge, meters.
    """

    directions: Float[np.ndarray, "3 3"]
    colors: Float[np.ndarray, "3 3"]
    sky: Color
    ground: Color
    shadow_softness: float


def sample_person(subject: int, seed: int) -> Person:
    """The person with this number, the same in every scene of a data set."""
    rng = np.random.default_rng((seed, 1, subject))
    tone = float(rng.uniform(0, 1))
    age = _choose_age(rng)
    interpolated = [np.interp(tone * 9, np.arange(10), channel) for channel in _SKIN_TONES.T]
    skin = to_linear(np.stack(interpolated))
    # The lightest swatches of the scale are whiter and grayer than skin reflects.
    skin += max(1 - tone / 0.45, 0.0) * 0.7 * (_LIGHT_SKIN - skin)
    skin = np.clip(skin * np.exp(rng.normal(0, (0.05, 0.04, 0.06))), 0.01, 0.9)
    # Dark skin mostly comes with dark hair and eyes; some hair is gray or dyed.
    colors = _HAIR_COLORS[: 4 if tone > 0.6 and rng.uniform() < 0.85 else len(_HAIR_COLORS)]
    hair = to_linear(colors[rng.integers(len(colors))]) * np.exp(rng.normal(0, 0.15, 3))
    if rng.uniform() < 0.02:
        hair = to_linear(_muted(rng.uniform(0.1, 0.8, 3), 0.5))
    if age == "elder" and rng.uniform() < 0.75:
        hair = to_linear(np.full(3, rng.uniform(0.45, 0.85)))
    eyes = _EYE_COLORS[: 2 if tone > 0.55 else len(_EYE_COLORS)]
    redness = rng.uniform(0.0, 1.0)
    style = rng.uniform()
    # Late shape components are noise of the scans, so their variance decays.
    decay = np.exp(-np.arange(100) / 60.0)
    hand_betas = np.clip(rng.standard_normal(10), -2.2, 2.2)
    head_betas = np.clip(0.85 * rng.standard_normal(100), -2.2, 2.2) * decay
    if age == "child":  # the first component of both models is size, positive for small ones
        hand_betas[0], head_betas[0] = rng.uniform(1.8, 3.8), rng.uniform(1.5, 3.0)
    grown = age != "child"
    return Person(
        subject=subject,
        age=age,
        hand_betas=hand_betas,
        head_betas=head_betas,
        skin_tone=tone,
        skin=skin,
        lips=skin * np.array([1.0, 0.62, 0.62]) ** (0.4 + 0.9 * redness),
        hair=np.clip(hair, 0.004, 0.8),
        eyes=to_linear(eyes[rng.integers(len(eyes))]),
        cloth=_sample_cloth(rng),
        hair_length=0.0 if style < 0.12 else float(rng.uniform(0.003, 0.035)),
        long_hair=float(rng.uniform(0.05, 0.22)) if style > 0.62 else 0.0,
        beard=float(rng.uniform(0.2, 0.9))
        if grown and style < 0.62 and rng.uniform() < 0.4
        else 0.0,
        mottling=float(rng.uniform(0.01, {"child": 0.03, "adult": 0.07, "elder": 0.11}[age])),
        gloss=float(rng.uniform(0.1, 0.9)),
        sleeve=float(rng.choice([0.06, 0.25, 0.6, 1.3])) + float(rng.uniform(0, 0.15)),
        collar=float(rng.choice([-0.012, 0.01, 0.03, 0.06])),
    )


def _choose_age(rng):
    ages = list(AGES)
    return ages[int(rng.choice(len(ages), p=[AGES[age] for age in ages]))]


def _sample_cloth(rng):
    """Clothes are mostly black, white, gray, blue or dull."""
    if rng.uniform() < 0.4:
        color = np.full(3, rng.choice([0.05, 0.12, 0.3, 0.6, 0.88])) + rng.normal(0, 0.03, 3)
    else:
        color = _muted(rng.uniform(0.05, 0.9, 3), rng.uniform(0.15, 0.9))
    return np.clip(to_linear(np.clip(color, 0.02, 1.0)) * rng.uniform(0.6, 1.0), 0.01, 0.85)


def _muted(color, saturation):
    """The display color with less saturation; 1 leaves it as it is."""
    return color.mean() + saturation * (color - color.mean())


def sample_face(rng: np.random.Generator) -> Face:
    """A mostly neutral face: few active expression components, rarely an open jaw, a bent neck."""
    active = rng.uniform(size=50) < rng.uniform(0.05, 0.5)
    expression = np.clip(active * rng.normal(0, rng.uniform(0.2, 0.9), 50), -1.8, 1.8)
    opening = rng.uniform(0, 0.05) if rng.uniform() < 0.8 else rng.uniform(0.05, 0.3)
    return Face(
        expression=expression,
        neck_pose=np.clip(rng.normal(0, (0.14, 0.16, 0.10)), -0.35, 0.35),
        jaw_pose=np.array([opening, rng.normal(0, 0.015), rng.normal(0, 0.01)]),
    )


def sample_camera(
    points: Float[np.ndarray, "N 3"],
    rng: np.random.Generator,
    max_margin: float = 1.5,
) -> PinholeCamera:
    """A camera that sees hand and head, cropped as a detector would crop them.

    The distance follows from the lens, 24 to 135 mm on full frame, and from how much of the
    picture's longer side (36 mm of the frame) the crop takes.

    Args:
        points: what should be in the image, head axes, meters.
        rng: source of randomness.
        max_margin: largest side of the crop relative to the extent of the points.
    """
    extreme = rng.uniform() < 0.2
    yaw = rng.uniform(-100, 100) if extreme else np.clip(rng.normal(0, 32), -65, 65)
    pitch = rng.uniform(-45, 45) if extreme else np.clip(rng.normal(3, 13), -25, 30)
    roll = rng.normal(0, 22 if extreme else 9)
    head_rotation = Rotation.from_euler("zxy", [roll, pitch, yaw], degrees=True).as_matrix()
    rotation = _TO_CAMERA @ head_rotation
    rotated = points @ rotation.T
    extent = np.ptp(rotated[:, :2], axis=0).max()
    lens = np.exp(rng.uniform(*np.log(_LENSES)))
    share = np.exp(rng.uniform(*np.log(_CROP_SHARES)))
    distance = float(np.clip(lens / 36.0 * extent / share, *_DISTANCES))
    off_axis = rng.normal(0, 0.12, 2)
    transl = np.append(distance * off_axis, distance) - rotated.mean(0)
    rays = (rotated + transl)[:, :2] / (rotated + transl)[:, 2:]
    low, high = rays.min(0), rays.max(0)
    side = (high - low).max() * rng.uniform(1.02, max_margin)
    corner = (low + high) / 2 - side / 2 + side * rng.normal(0, 0.05, 2)
    focal_length = CROP_SIZE / side
    return PinholeCamera(rotation, transl, float(focal_length), -focal_length * corner)


def sample_lighting(rng: np.random.Generator) -> Lighting:
    """Indoor to outdoor lighting: a main light, a fill light from the other side, a rim light."""
    azimuth, elevation = rng.uniform(-1.9, 1.9), rng.uniform(-0.1, 1.2)
    fill_azimuth = -np.sign(azimuth) * rng.uniform(0.3, 1.6)
    fill = fill_azimuth, rng.uniform(-0.5, 0.8)
    rim = rng.uniform(2.2, 4.1), rng.uniform(-0.2, 1)
    around, up = np.array([(azimuth, elevation), fill, rim]).T
    directions = np.stack(
        [np.sin(around) * np.cos(up), -np.sin(up), -np.cos(around) * np.cos(up)], -1
    )
    main_strength, fill_strength = rng.uniform(0.5, 1.3), rng.uniform(0.0, 0.5)
    rim_strength = rng.uniform(0.0, 0.7) * (rng.uniform() < 0.5)
    strength = np.array([main_strength, fill_strength, rim_strength])
    ambient = rng.uniform(0.12, 0.55)
    return Lighting(
        directions=directions,
        colors=strength[:, None] * np.stack([_light_color(rng) for _ in range(3)]),
        sky=ambient * _light_color(rng),
        ground=ambient * rng.uniform(0.3, 0.9) * _light_color(rng),
        shadow_softness=float(rng.uniform(0.002, 0.02)),
    )


def to_linear(srgb: np.ndarray) -> np.ndarray:
    """Linear values of sRGB display values in [0, 1]."""
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def _light_color(rng):
    """A color between candle light (warm) and blue sky, with mean 1."""
    warmth = rng.normal(0, 0.22)
    color = np.exp(warmth * np.array([1.0, 0.1, -1.1]) + rng.normal(0, 0.03, 3))
    return color / color.mean()
