"""MediaPipe's hand and face landmark networks, read out of its wheel and run by OpenCV.

The wheel (`pip download mediapipe==0.10.21 --no-deps`, Apache-2.0, Google) is opened as a zip:
nothing is installed. The detectors that ship with this package find palm and face; each network
then sees an upright square around what was found and marks 21 points of a hand, or 468 of a face,
of which 68 are iBUG's.
"""

from __future__ import annotations

import dataclasses
import zipfile
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from dice_jax.detection import face_and_hand
from dice_jax.errors import UserError
from dice_jax.geometry import crop

_HAND_FILE = "mediapipe/modules/hand_landmark/hand_landmark_full.tflite"
_FACE_FILE = "mediapipe/modules/face_landmark/face_landmark.tflite"
_MIN_SCORE = 0.5
# iBUG's 68 among the 468 of the face mesh.
FACE_68 = (
    162,
    234,
    93,
    58,
    172,
    136,
    149,
    148,
    152,
    377,
    378,
    365,
    397,
    288,
    323,
    454,
    389,
    70,
    63,
    105,
    66,
    107,
    336,
    296,
    334,
    293,
    300,
    168,
    197,
    5,
    4,
    98,
    97,
    2,
    326,
    327,
    33,
    160,
    158,
    133,
    153,
    144,
    362,
    385,
    387,
    263,
    373,
    380,
    61,
    39,
    37,
    0,
    267,
    269,
    291,
    405,
    314,
    17,
    84,
    181,
    78,
    82,
    13,
    312,
    308,
    317,
    14,
    87,
)


@dataclasses.dataclass(frozen=True)
class Square:
    """A turned square of a photo: center and side in pixels, and the angle of its x axis."""

    center: Float[np.ndarray, "2"]
    side: float
    angle: float

    def matrix(self, size: int) -> Float[np.ndarray, "2 3"]:
        """From points of the square's picture of `size` pixels to points of the photo."""
        zoom, cosine, sine = self.side / size, np.cos(self.angle), np.sin(self.angle)
        linear = zoom * np.array([[cosine, -sine], [sine, cosine]])
        return np.column_stack([linear, self.center - linear @ [size / 2, size / 2]])


class Landmarks:
    """Both networks; `hand` and `face` are plug-ins as `detectors` describes them."""

    def __init__(self, wheel: str | Path):
        """Reads the networks.

        Raises:
            FileNotFoundError: there is no such file.
            UserError: it is not MediaPipe's wheel.
        """
        wheel = Path(wheel).expanduser()
        if not wheel.is_file():
            raise FileNotFoundError(
                f"no wheel at {wheel}: pip download mediapipe==0.10.21 --no-deps"
            )
        try:
            with zipfile.ZipFile(wheel) as archive:
                self._hand, self._face = (
                    _network(archive.read(name)) for name in (_HAND_FILE, _FACE_FILE)
                )
        except (zipfile.BadZipFile, KeyError, cv2.error) as error:
            raise UserError(f"{wheel} is not the wheel of mediapipe 0.10.21: {error}") from None
        self.is_right: bool | None = None
        """Which hand the last call of `hand` saw."""

    def hand(self, image: UInt8[np.ndarray, "H W 3"]) -> Float[np.ndarray, "21 3"] | None:
        """Keypoints of a hand near the face, pixels and confidence, OpenPose's order; None where
        there is none.
        """
        found = face_and_hand.find(image)
        height, width = image.shape[:2]
        windows = [found.box, crop.full_box(height, width)]
        palm = next(
            (
                palm
                for palm in (face_and_hand.find_palm(image, window) for window in windows)
                if palm
            ),
            None,
        )
        if palm is None:
            return None
        box, points = palm
        # MediaPipe's own steps: upright from wrist to middle knuckle, half a palm along, 2.6 times
        # as large.
        along = points[2] - points[0]
        angle = float(np.arctan2(along[1], along[0]) + np.pi / 2)
        side = float(max(box[2:] - box[:2]))
        up = np.array([np.sin(angle), -np.cos(angle)])
        square = Square((box[:2] + box[2:]) / 2 + 0.5 * side * up, 2.6 * side, angle)
        for _ in range(
            2
        ):  # the second time around the hand itself, as MediaPipe does in the next frame
            flat, score, handedness = _run(
                self._hand, image, square, 224, ("Identity", "Identity_1", "Identity_2")
            )
            points = _to_photo(flat.reshape(21, 3)[:, :2], square, 224)
            square = _around_hand(points)
        if score[0] < _MIN_SCORE:
            return None
        self.is_right = bool(handedness[0] > 0.5)
        return np.column_stack([points, np.full(21, score[0])])

    def face(self, image: UInt8[np.ndarray, "H W 3"]) -> Float[np.ndarray, "68 3"] | None:
        """The 68 iBUG landmarks of the largest face, pixels and confidence; None where there is
        none.
        """
        found = face_and_hand.find(image)
        height, width = image.shape[:2]
        windows = [crop.full_box(height, width), found.box]
        face = next(
            (
                face
                for face in (face_and_hand.find_face(image, window) for window in windows)
                if face
            ),
            None,
        )
        if face is None:
            return None
        box, points = face
        across = points[1] - points[0]  # from the subject's right eye to the left one
        angle = float(np.arctan2(across[1], across[0]))
        square = Square((box[:2] + box[2:]) / 2, 1.5 * float(max(box[2:] - box[:2])), angle)
        flat, logit = _run(self._face, image, square, 192, ("conv2d_21", "conv2d_31"))
        score = float(1 / (1 + np.exp(-np.clip(logit[0], -50, 50))))
        if score < _MIN_SCORE:
            return None
        points = _to_photo(flat.reshape(468, 3)[:, :2], square, 192)[list(FACE_68)]
        return np.column_stack([points, np.full(68, score)])


def _network(data: bytes) -> cv2.dnn.Net:
    return cv2.dnn.readNetFromTFLite(np.frombuffer(data, np.uint8))


def _run(network, image, square, size, outputs):
    # cv2 counts pixel centers from 0, this project from 0.5.
    matrix = square.matrix(size)
    matrix[:, 2] += matrix[:, :2] @ [0.5, 0.5] - 0.5
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    pixels = cv2.warpAffine(image, matrix, (size, size), flags=flags).astype(np.float32) / 255
    network.setInput(np.ascontiguousarray(pixels.transpose(2, 0, 1)[None]))
    return [np.ravel(network.forward(name)) for name in outputs]


def _to_photo(points, square, size):
    matrix = square.matrix(size)
    return points @ matrix[:, :2].T + matrix[:, 2]


def _around_hand(points: Float[np.ndarray, "21 2"]) -> Square:
    """MediaPipe's square for tracking: upright from the wrist to the knuckles, twice the hand's
    extent.
    """
    knuckles = 0.25 * (points[5] + points[13]) + 0.5 * points[9]
    along = knuckles - points[0]
    angle = float(np.arctan2(along[1], along[0]) + np.pi / 2)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    upright = (
        points[[0, 1, 2, 3, 5, 6, 9, 10, 13, 14, 17, 18]] @ turn.T
    )  # the palm and the lower finger bones
    low, high = upright.min(0), upright.max(0)
    side = float(max(high - low))
    center = (low + high) / 2 - [0, 0.1 * side]
    return Square(turn.T @ center, 2.0 * side, angle)
