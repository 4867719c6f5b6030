"""MediaPipe's landmark networks for hand and face, read from its wheel and run by OpenCV.

The wheel (`pip download mediapipe==0.10.21 --no-deps`, Apache-2.0, Google) is opened as a zip file;
nothing is installed. The detectors that ship with this package find palm and face. Each network
then takes a rotated square around one of them and predicts 21 points of the hand, or 468 points of
the face, of which 68 are iBUG's landmarks.
"""

from __future__ import annotations

import dataclasses
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from dice_jax.constants import NUM_HAND_KEYPOINTS, NUM_HEAD_KEYPOINTS
from dice_jax.detection import face_and_hand
from dice_jax.errors import UserError
from dice_jax.geometry import crop
from dice_jax.geometry.crop import CropBox

_HAND_FILE = "mediapipe/modules/hand_landmark/hand_landmark_full.tflite"
_FACE_FILE = "mediapipe/modules/face_landmark/face_landmark.tflite"
_HAND_OUTPUTS = (
    "Identity",
    "Identity_1",
    "Identity_2",
)  # points, score, probability of a right hand
_FACE_OUTPUTS = ("conv2d_21", "conv2d_31")  # points, logit
HAND_SIZE, FACE_SIZE = 224, 192  # pixels: sides of the networks' inputs
_NUM_FACE_POINTS = 468
_MIN_SCORE = 0.5
# The points of the face mesh that are iBUG's 68 landmarks.
FACE_68 = (
    *(162, 234, 93, 58, 172, 136, 149, 148, 152, 377, 378, 365, 397, 288, 323, 454, 389),  # jaw
    *(70, 63, 105, 66, 107, 336, 296, 334, 293, 300),  # brows
    *(168, 197, 5, 4, 98, 97, 2, 326, 327),  # nose
    *(33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380),  # eyes
    *(61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181),  # outer lips
    *(78, 82, 13, 312, 308, 317, 14, 87),  # inner lips
)
# Wrist, thumb, and the lower joints of the fingers, which MediaPipe tracks.
_PALM_POINTS = [0, 1, 2, 3, 5, 6, 9, 10, 13, 14, 17, 18]


@dataclasses.dataclass(frozen=True)
class Square:
    """A rotated square of a photo.

    Attributes:
        center: pixels.
        side: pixels.
        angle: of its x axis, radians.
    """

    center: Float[np.ndarray, "2"]
    side: float
    angle: float

    def matrix(self, size: int) -> Float[np.ndarray, "2 3"]:
        """The affine map from the square, resampled to `size` pixels a side, to the photo."""
        zoom, cosine, sine = self.side / size, np.cos(self.angle), np.sin(self.angle)
        linear = zoom * np.array([[cosine, -sine], [sine, cosine]])
        return np.column_stack([linear, self.center - linear @ [size / 2, size / 2]])

    def to_photo(self, points: Float[np.ndarray, "K 2"], size: int) -> Float[np.ndarray, "K 2"]:
        """Points of the square, resampled to `size` pixels a side, in pixels of the photo."""
        matrix = self.matrix(size)
        return points @ matrix[:, :2].T + matrix[:, 2]

    def cut(
        self, image: UInt8[np.ndarray, "H W 3"], size: int
    ) -> Float[np.ndarray, "{size} {size} 3"]:
        """The content of the square, resampled to `size` pixels a side, in [0, 1]."""
        matrix = self.matrix(size)
        # cv2 counts pixel centers from 0, this package from 0.5.
        matrix[:, 2] += matrix[:, :2] @ [0.5, 0.5] - 0.5
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        pixels = cv2.warpAffine(image, matrix, (size, size), flags=flags)
        return pixels.astype(np.float32) / 255


# Takes a photo and a square in it; returns the outputs as flat arrays, points in the square's
# pixels first.
Network = Callable[[UInt8[np.ndarray, "H W 3"], Square], Sequence[Float[np.ndarray, "N"]]]


class Landmarks:
    """Detects landmarks; `hand` and `face` are keypoint sources of `datasets.in_the_wild`.

    Attributes:
        is_right: whether the last hand that `hand` found was a right one; None before the first.
    """

    def __init__(self, hand_network: Network, face_network: Network):
        """See `from_wheel`, which reads the networks.

        Args:
            hand_network: has the outputs points (21, 3), score, and probability of a right hand.
            face_network: has the outputs points (468, 3) and logit.
        """
        self._hand_network, self._face_network = hand_network, face_network
        self.is_right: bool | None = None

    @classmethod
    def from_wheel(cls, wheel: str | Path) -> Landmarks:
        """Reads the networks.

        Raises:
            FileNotFoundError: the file does not exist.
            UserError: the file is not MediaPipe's wheel.
        """
        wheel = Path(wheel).expanduser()
        if not wheel.is_file():
            download = "pip download mediapipe==0.10.21 --no-deps"
            raise FileNotFoundError(f"no wheel at {wheel}: {download}")
        try:
            with zipfile.ZipFile(wheel) as archive:
                hand = _network(archive.read(_HAND_FILE), HAND_SIZE, _HAND_OUTPUTS)
                face = _network(archive.read(_FACE_FILE), FACE_SIZE, _FACE_OUTPUTS)
        except (zipfile.BadZipFile, KeyError, cv2.error) as error:
            raise UserError(f"{wheel} is not the wheel of mediapipe 0.10.21: {error}") from None
        return cls(hand, face)

    def hand(self, image: UInt8[np.ndarray, "H W 3"]) -> Float[np.ndarray, "21 3"] | None:
        """Keypoints of a hand near the face.

        Args:
            image: RGB photo.

        Returns:
            Pixels and confidence, in OpenPose's order; None if there is no hand.
        """
        near_face = face_and_hand.find(image).box
        palm = _first(face_and_hand.find_palm, image, [near_face, crop.full_box(*image.shape[:2])])
        if palm is None:
            return None
        square = _square_around_palm(*palm)
        # The second pass looks at the predicted hand, as MediaPipe does in the next frame.
        for _ in range(2):
            flat, score, right = self._hand_network(image, square)
            points = square.to_photo(flat.reshape(NUM_HAND_KEYPOINTS, 3)[:, :2], HAND_SIZE)
            square = square_around_hand(points)
        if score[0] < _MIN_SCORE:
            return None
        self.is_right = bool(right[0] > 0.5)
        return np.column_stack([points, np.full(NUM_HAND_KEYPOINTS, score[0])])

    def face(self, image: UInt8[np.ndarray, "H W 3"]) -> Float[np.ndarray, "68 3"] | None:
        """The 68 iBUG landmarks of the most prominent face.

        Args:
            image: RGB photo.

        Returns:
            Pixels and confidence; None if there is no face.
        """
        near_face = face_and_hand.find(image).box
        face = _first(face_and_hand.find_face, image, [crop.full_box(*image.shape[:2]), near_face])
        if face is None:
            return None
        box, keypoints = face
        across = keypoints[1] - keypoints[0]  # from the person's right eye to the left one
        angle = float(np.arctan2(across[1], across[0]))
        square = Square((box[:2] + box[2:]) / 2, 1.5 * float(max(box[2:] - box[:2])), angle)
        flat, logit = self._face_network(image, square)
        score = float(1 / (1 + np.exp(-np.clip(logit[0], -50, 50))))
        if score < _MIN_SCORE:
            return None
        points = square.to_photo(flat.reshape(_NUM_FACE_POINTS, 3)[:, :2], FACE_SIZE)
        return np.column_stack([points[list(FACE_68)], np.full(NUM_HEAD_KEYPOINTS, score)])


def square_around_hand(points: Float[np.ndarray, "21 2"]) -> Square:
    """MediaPipe's square for tracking: upright from wrist to knuckles, twice the palm's extent."""
    knuckles = 0.25 * (points[5] + points[13]) + 0.5 * points[9]
    angle = _upright_angle(points[0], knuckles)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    upright = points[_PALM_POINTS] @ turn.T
    low, high = upright.min(0), upright.max(0)
    side = float(max(high - low))
    center = (low + high) / 2 - [0, 0.1 * side]
    return Square(turn.T @ center, 2.0 * side, angle)


def _square_around_palm(box: Float[np.ndarray, "4"], keypoints: Float[np.ndarray, "7 2"]) -> Square:
    """MediaPipe's square for a detected palm: upright from the wrist to the middle knuckle.

    It is moved by half the palm's side towards the fingers and 2.6 times as large as the palm.
    """
    angle = _upright_angle(keypoints[0], keypoints[2])
    side = float(max(box[2:] - box[:2]))
    up = np.array([np.sin(angle), -np.cos(angle)])
    return Square((box[:2] + box[2:]) / 2 + 0.5 * side * up, 2.6 * side, angle)


def _upright_angle(wrist: Float[np.ndarray, "2"], knuckle: Float[np.ndarray, "2"]) -> float:
    """The angle of a square in which the knuckle is above the wrist, radians."""
    along = knuckle - wrist
    return float(np.arctan2(along[1], along[0]) + np.pi / 2)


def _first(
    find: Callable[[UInt8[np.ndarray, "H W 3"], CropBox], face_and_hand.Detection | None],
    image: UInt8[np.ndarray, "H W 3"],
    windows: Sequence[CropBox],
) -> face_and_hand.Detection | None:
    """The detection in the first window that has one."""
    for window in windows:
        detection = find(image, window)
        if detection is not None:
            return detection
    return None


def _network(data: bytes, size: int, outputs: Sequence[str]) -> Network:
    """A network from the content of its file, its input's side in pixels and its outputs."""
    network = cv2.dnn.readNetFromTFLite(np.frombuffer(data, np.uint8))

    def run(image: UInt8[np.ndarray, "H W 3"], square: Square) -> list[Float[np.ndarray, "N"]]:
        pixels = square.cut(image, size)
        network.setInput(np.ascontiguousarray(pixels.transpose(2, 0, 1)[None]))
        return [np.ravel(network.forward(name)) for name in outputs]

    return run
