"""How long a method takes for one image, measured in the run that measures its errors."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from dice_jax.evaluation.measure import Predictor
from dice_jax.input_pipeline import loader
from dice_jax.input_pipeline.loader import Source

_REPEATS = 5


def seconds_per_image(predict: Predictor, source: Source) -> dict[str, float]:
    """Median seconds for an image, one image on each local device at a time.

    Compilation does not count.

    Args:
        predict: of a method.
        source: a split; its first samples are used.

    Returns:
        "seconds_prediction": from a batch in memory to meshes on the host. "seconds_end_to_end":
        also decoding the compressed picture and its labels.
    """
    devices = jax.local_device_count()
    samples = [source[index % len(source)] for index in range(devices)]
    read = lambda: next(iter(loader.sequential_batches(samples, devices)))[0]
    batch = read()
    predicted = lambda: jax.device_get(predict(batch))
    predicted()  # compiles
    return {
        "seconds_prediction": _median(predicted) / devices,
        "seconds_end_to_end": _median(lambda: jax.device_get(predict(read()))) / devices,
    }


def _median(function: Callable[[], Any]) -> float:
    times = []
    for _ in range(_REPEATS):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return float(np.median(times))
