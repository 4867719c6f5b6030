"""From many photos to their people, several photos at once; exported as `reconstruct_photos`."""

from __future__ import annotations

import collections
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np

from dice_jax import inference
from dice_jax.detection import runtime
from dice_jax.person import Person
from dice_jax.reconstruction import reconstruct

_WAITING = 2  # photos that are read ahead for every thread


def reconstruct_photos(
    model: inference.Model,
    photos: Iterable[np.ndarray],
    *,
    threads: int | None = None,
    **options: Any,
) -> Iterator[list[Person]]:
    """`reconstruct` of every photo, in order; the same answers in less time.

    While JAX fits the people of one photo, the detectors look at the next one. Only a few photos
    and answers are kept at a time, so the photos may come from a generator that reads a folder.

    Args:
        model: from `load`.
        photos: RGB (H, W, 3) uint8, of any sizes.
        threads: number of photos that are worked on at once; None: that of the CPU's cores.
        **options: of `reconstruct`, for all photos.

    Yields:
        What `reconstruct` returns.

    Raises:
        ValueError: see `reconstruct`; raised in the place of the photo's answer. An exception of
            the iterable is raised before the answers that were not taken yet.
    """
    threads = threads or os.cpu_count() or 1
    waiting: collections.deque[Future[list[Person]]] = collections.deque()
    with ThreadPoolExecutor(threads, initializer=runtime.use_own_networks) as pool:
        try:
            for photo in photos:
                waiting.append(pool.submit(reconstruct, model, photo, **options))
                if len(waiting) >= _WAITING * threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
