"""Runs the networks of the folder `networks`: by LiteRT, or by OpenCV where that is not installed.

LiteRT is the runtime that MediaPipe itself uses. On a CPU it is several times as fast as OpenCV and
gives the same answers; `tools/benchmarks/detection.py` times both.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float, Float32, UInt8

from dice_jax.errors import UserError

FOLDER = Path(__file__).parent / "networks"
_MAX_THREADS = 4
_THREADS = "DICE_DETECTION_THREADS"  # in the environment: another number

_of_this_thread = threading.local()
_stderr_lock = threading.Lock()

Run = Callable[[Float32[np.ndarray, "S S 3"]], list[np.ndarray]]


@dataclasses.dataclass(frozen=True)
class Spec:
    """A network with one image as input.

    Attributes:
        file: name in the folder `networks`.
        size: side of the input, pixels.
        outputs: their names.
        black: input value of a black pixel; white is 1.
    """

    file: str
    size: int
    outputs: tuple[str, ...]
    black: float = 0.0


# Outputs: boxes and logits.
FACE_DETECTION = Spec("face_detection.tflite", 128, ("regressors", "classificators"), -1.0)
PALM_DETECTION = Spec("palm_detection.tflite", 192, ("Identity", "Identity_1"))
# Outputs: points and logit of the presence.
FACE_MESH = Spec("face_mesh.tflite", 192, ("conv2d_21", "conv2d_31"))
# Outputs: points, presence, probability of a right hand, world points.
HAND_LANDMARKS = Spec(
    "hand_landmarks.tflite", 224, ("Identity", "Identity_1", "Identity_2", "Identity_3")
)


class Network:
    """A network that is ready to run; safe to call from several threads.

    Attributes:
        size: side of the input, pixels.
    """

    def __init__(self, spec: Spec, runtime: str, threads: int = 1):
        """Reads the network.

        Args:
            spec: which one.
            runtime: "litert" or "opencv".
            threads: that it runs on; OpenCV has a setting of its own.
        """
        self.size = spec.size
        self._black = spec.black
        self._lock = threading.Lock()  # both runtimes keep their buffers from call to call
        path = FOLDER / spec.file
        if runtime == "litert":
            self._run = _litert(path, spec.outputs, threads)
        else:
            self._run = _opencv(path, spec.outputs)

    def __call__(self, image: UInt8[np.ndarray, "S S 3"]) -> list[Float[np.ndarray, "..."]]:
        """The outputs, without the batch dimension."""
        pixels = image.astype(np.float32) * np.float32((1.0 - self._black) / 255)
        pixels += np.float32(self._black)
        with self._lock:
            return self._run(pixels)


def network(spec: Spec) -> Network:
    """The network, read once, in the fastest runtime that is installed."""
    own: dict[Spec, Network] | None = getattr(_of_this_thread, "networks", None)
    if own is None:
        return _shared_network(spec)
    if spec not in own:
        own[spec] = Network(spec, _runtime(), threads=1)
    return own[spec]


@functools.cache
def _shared_network(spec: Spec) -> Network:
    return Network(spec, _runtime(), _threads())


def use_own_networks() -> None:
    """Gives the calling thread networks of its own, which run on that thread alone.

    For several threads that look at different photos: they need not wait for each other.
    """
    _of_this_thread.networks = {}


def _runtime() -> str:
    return "litert" if has_litert() else "opencv"


def use_threads(count: int) -> None:
    """Sets the number of threads of the shared networks that this process reads from now on."""
    os.environ[_THREADS] = str(count)


def _threads() -> int:
    wanted = os.environ.get(_THREADS) or str(min(_MAX_THREADS, os.cpu_count() or 1))
    if not wanted.isdecimal() or int(wanted) == 0:
        raise UserError(f"{_THREADS}={wanted}: give the number of threads, 1 or more")
    return int(wanted)


@functools.cache
def has_litert() -> bool:
    """Whether LiteRT is installed."""
    try:
        import ai_edge_litert.interpreter  # noqa: F401 # pyright: ignore[reportMissingImports]
    except ImportError:
        return False
    return True


def _litert(path: Path, outputs: Sequence[str], threads: int) -> Run:
    from ai_edge_litert.interpreter import (  # pyright: ignore[reportMissingImports] (optional)
        Interpreter,
    )

    with _without_stderr():
        interpreter = Interpreter(model_path=str(path), num_threads=threads)
        interpreter.allocate_tensors()
    index_of = {output["name"]: output["index"] for output in interpreter.get_output_details()}
    entry = interpreter.get_input_details()[0]["index"]

    def run(pixels: Float32[np.ndarray, "S S 3"]) -> list[np.ndarray]:
        interpreter.set_tensor(entry, pixels[None])
        interpreter.invoke()
        return [interpreter.get_tensor(index_of[name])[0] for name in outputs]

    return run


def _opencv(path: Path, outputs: Sequence[str]) -> Run:
    # The new engine runs the network once for each output.
    net = cv2.dnn.readNetFromTFLite(str(path), cv2.dnn.ENGINE_CLASSIC)

    def run(pixels: Float32[np.ndarray, "S S 3"]) -> list[np.ndarray]:
        net.setInput(np.ascontiguousarray(pixels.transpose(2, 0, 1)[None]))
        return [np.array(output[0]) for output in net.forward(list(outputs))]

    return run


@contextlib.contextmanager
def _without_stderr() -> Iterator[None]:
    """Hides LiteRT's note about the XNNPACK delegate, which no setting turns off."""
    with _stderr_lock:
        kept = os.dup(2)
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def geometric_mean(scores: Sequence[float]) -> float:
    """Of probabilities; one of zero counts as 1e-4."""
    return float(np.exp(np.mean(np.log(np.asarray(scores) + 1e-4))))


def probability(logits: Float[np.ndarray, "*B"]) -> Float[np.ndarray, "*B"]:
    """The logistic function."""
    return 1.0 / (1.0 + np.exp(-np.clip(logits, -50.0, 50.0)))
