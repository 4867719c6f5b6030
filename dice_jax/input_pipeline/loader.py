"""From a split on disk to batches: random access, decoding in threads, an order that a seed
decides.

Batch `step` is a pure function of (data, seed, step): it does not matter how many threads or
devices there are, nor where a run was broken off. So the state of the "iterator" is the step, and a
checkpoint needs no other.
"""

from __future__ import annotations

import collections
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol

import cv2
import numpy as np
from jaxtyping import Bool

from dice_jax.errors import UserError
from dice_jax.input_pipeline import schema
from dice_jax.structs import Batch, HandParams, HeadParams

Sample = Mapping[str, Any]
Transform = Callable[[Sample, np.random.Generator], Sample]


class Source(Protocol):
    """A split that can be read in any order: a TFDS data source, or a list."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Sample: ...


class Loader:
    """Endless shuffled batches of a split, this process's share of them."""

    def __init__(
        self,
        source: Source,
        batch_size: int,
        *,
        seed: int,
        transform: Transform | None = None,
        num_threads: int = 4,
        process_index: int = 0,
        process_count: int = 1,
    ):
        """Prepares to read; nothing is read yet.

        Args:
            source: samples as in `data.schema`, the image encoded or decoded.
            batch_size: size of the GLOBAL batch.
            seed: decides order and augmentation.
            transform: applied to each decoded sample with a generator of its own.
            num_threads: that decode at a time.
            process_index: which slice of every batch is ours.
            process_count: into how many slices a batch is cut.

        Raises:
            UserError: the split is empty.
        """
        if len(source) == 0:
            raise UserError("the training split is empty: build it with at least one sample")
        self._source, self._batch_size, self._seed = source, batch_size, seed
        self._transform, self._num_threads = transform, num_threads
        share = batch_size // process_count
        self._share = slice(process_index * share, (process_index + 1) * share)
        self._permutation = functools.lru_cache(maxsize=2)(self._shuffle)

    def batch(self, step: int) -> Batch:
        """The batch of update `step`, which counts from 0."""
        return collate([self._sample(position) for position in self._positions(step)])

    def batches(self, start: int, stop: int, ahead: int = 3) -> Iterator[Batch]:
        """Batches of the updates `start` to `stop`, decoded in threads, `ahead` of them in advance."""
        with ThreadPoolExecutor(self._num_threads) as pool:
            pending: collections.deque[list[Future]] = collections.deque()
            try:
                for step in range(start, stop):
                    pending.append(
                        [pool.submit(self._sample, position) for position in self._positions(step)]
                    )
                    if len(pending) > ahead:
                        yield collate([future.result() for future in pending.popleft()])
                while pending:
                    yield collate([future.result() for future in pending.popleft()])
            finally:
                pool.shutdown(wait=False, cancel_futures=True)

    def _positions(self, step: int) -> range:
        """Places in the endless sequence of samples that this process contributes to the batch."""
        return range(step * self._batch_size, (step + 1) * self._batch_size)[self._share]

    def _sample(self, position: int) -> Sample:
        epoch, place = divmod(position, len(self._source))
        sample = schema.decode(self._source[int(self._permutation(epoch)[place])])
        if self._transform is None:
            return sample
        return self._transform(sample, np.random.default_rng((self._seed, 1, position)))

    def _shuffle(self, epoch: int) -> np.ndarray:
        return np.random.default_rng((self._seed, 0, epoch)).permutation(len(self._source))


def sequential_batches(
    source: Source, batch_size: int, limit: int | None = None, num_threads: int = 4
) -> Iterator[tuple[Batch, Bool[np.ndarray, "B"]]]:
    """The samples in order, each once, in batches of one size.

    Args:
        source: see `Loader`.
        batch_size: the last batch is filled up with repeats of its last sample.
        limit: read no more samples than this.
        num_threads: that decode at a time.

    Yields:
        Batches, and which of their samples count (False: a repeat).
    """
    count = len(source) if limit is None else min(limit, len(source))
    starts = range(0, count, batch_size)
    indices = [np.minimum(np.arange(start, start + batch_size), count - 1) for start in starts]
    with ThreadPoolExecutor(num_threads) as pool:
        read = lambda chosen: [
            pool.submit(lambda i: schema.decode(source[i]), int(i)) for i in chosen
        ]
        ahead = read(indices[0]) if indices else []
        for start, following in zip(starts, [*indices[1:], []]):
            samples, ahead = ahead, read(following)
            yield (
                collate([future.result() for future in samples]),
                np.arange(start, start + batch_size) < count,
            )


def collate(samples: Sequence[Sample]) -> Batch:
    """Stacks samples; a label that a sample does not carry becomes zeros and its `has_*` 0."""

    def stack(name: str, *shape: int) -> np.ndarray:
        missing = np.zeros(shape, np.float32)
        return np.stack([np.asarray(sample.get(name, missing), np.float32) for sample in samples])

    def has(name: str) -> np.ndarray:
        return np.array([name in sample for sample in samples], np.float32)

    return Batch(
        images=np.stack([_to_crop(sample["image"]) for sample in samples]),
        hand_keypoints_2d=stack("hand_keypoints_2d", 21, 3),
        head_keypoints_2d=stack("head_keypoints_2d", 68, 3),
        hand_keypoints_depth=stack("hand_keypoints_depth", 21),
        head_keypoints_depth=stack("head_keypoints_depth", 68),
        hand_params=HandParams(
            betas=stack("hand_betas", 10),
            global_orient=stack("hand_global_orient", 3),
            hand_pose=stack("hand_pose", 45),
            transl=stack("hand_transl", 3),
        ),
        head_params=HeadParams(
            betas=stack("head_betas", 100),
            expression=stack("head_expression", 50),
            global_orient=stack("head_global_orient", 3),
            neck_pose=stack("head_neck_pose", 3),
            jaw_pose=stack("head_jaw_pose", 3),
            transl=stack("head_transl", 3),
        ),
        deformations=stack("deformations", 5023, 3),
        hand_contact=stack("hand_contact", 778),
        head_contact=stack("head_contact", 5023),
        has_2d=has("hand_keypoints_2d"),
        has_3d=has("hand_global_orient"),
        has_params=has("hand_betas"),
        has_contact=has("hand_contact"),
        has_deformations=has("deformations"),
        has_depth=has("hand_keypoints_depth"),
    )


def _to_crop(image: np.ndarray) -> np.ndarray:
    size = (schema.IMAGE_SIZE, schema.IMAGE_SIZE)
    return (
        image if image.shape[:2] == size else cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    )
