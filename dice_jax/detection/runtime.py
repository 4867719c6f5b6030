"""Runs the networks of the folder `networks`: by LiteRT, or by OpenCV where that is not installed.

LiteRT is the runtime that MediaPipe itself uses. On a CPU it is several times as fast as OpenCV and
gives the same answers; see `tools/benchmarks/detection.py`.
"""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float, Float32, UInt8

FOLDER = Path(__file__).parent / "networks"
_MAX_THREADS = 4

Run = Callable[[Float32[np.ndarray, "S S 3"]], list[np.ndarray]]


class Network:
    """A network with one image as input.

    Attributes:
        size: side of the input, pixels.
    """

    def __init__(
        self, file: str, size: int, outputs: Sequence[str], black: float = 0.0, engine: str = ""
    ):
        """Reads the network.

        Args:
            file: name in the folder `networks`.
            size: side of the input, pixels.
            outputs: their names.
            black: input value of a black pixel; white is 1.
            engine: "litert" or "opencv"; by default LiteRT if it is installed.
        """
        self.size = size
        self._black = black
        self._lock = threading.Lock()  # both runtimes keep their buffers from call to call
        litert = engine != "opencv" and (engine == "litert" or _has_litert())
        self._run = (_litert if litert else _opencv)(FOLDER / file, outputs)

    def __call__(self, image: UInt8[np.ndarray, "S S 3"]) -> list[Float[np.ndarray, "..."]]:
        """The outputs, without the batch dimension."""
        pixels = image.astype(np.float32) * np.float32((1.0 - self._black) / 255) + self._black
        with self._lock:
            return self._run(pixels.astype(np.float32))


@functools.cache
def _has_litert() -> bool:
    try:
        import ai_edge_litert.interpreter  # noqa: F401 # pyright: ignore[reportMissingImports]
    except ImportError:
        return False
    return True


def _litert(path: Path, outputs: Sequence[str]) -> Run:
    from ai_edge_litert.interpreter import (  # pyright: ignore[reportMissingImports] (optional)
        Interpreter,
    )

    threads = min(_MAX_THREADS, os.cpu_count() or 1)
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
    network = cv2.dnn.readNetFromTFLite(str(path), cv2.dnn.ENGINE_CLASSIC)

    def run(pixels: Float32[np.ndarray, "S S 3"]) -> list[np.ndarray]:
        network.setInput(np.ascontiguousarray(pixels.transpose(2, 0, 1)[None]))
        return [np.array(output[0]) for output in network.forward(list(outputs))]

    return run


def probability(logits: Float[np.ndarray, "*B"]) -> Float[np.ndarray, "*B"]:
    """The logistic function."""
    return 1.0 / (1.0 + np.exp(-np.clip(logits, -50.0, 50.0)))
