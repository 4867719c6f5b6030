"""From a split on disk to batches: random access, decoding in threads, an order set by a seed.

Batch `step` is a pure function of (data, seed, step). The number of threads and devices does not
matter, nor where a run was interrupted. The state of the iterator is therefore the step alone, and
checkpoints store nothing else of it.
"""

from __future__ import annotations

import collections
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol, runtime_checkable

import cv2
import numpy as np
from jaxtyping import Bool, Int, UInt8

from dice_jax.constants import CROP_SIZE
from dice_jax.errors import UserError
from dice_jax.input_pipeline import schema
from dice_jax.structs import Batch, Detections, HandParams, HeadParams, Intrinsics

Sample = Mapping[str, Any]
Transform = Callable[[Sample, np.random.Generator], Sample]


@runtime_checkable
class Source(Protocol):
    """A split with random access: a TFDS data source or a list."""

    def __len__(self) -> int: ...

    # Positional only, as in `list`.
    def __getitem__(self, index: int, /) -> Sample: ...


class Loader:
    """Endless shuffled batches of a split; each process reads its share of every batch."""

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
        """Sets up the loader; nothing is read yet.

        Args:
            source: samples as in `input_pipeline.schema`, the image encoded or decoded.
            batch_size: size of the batch over all processes.
            seed: of the order and the augmentation.
            transform: applied to each decoded sample, with a random generator per sample.
            num_threads: number of decoding threads.
            process_index: which slice of every batch this process reads.
            process_count: number of slices of a batch.

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
        """The batch of update `step`, counted from 0."""
        return collate([self._sample(position) for position in self._positions(step)])

    def batches(self, start: int, stop: int, ahead: int = 3) -> Iterator[Batch]:
        """Yields the batches of updates `start` to `stop`, `ahead` of them decoded in advance."""
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
        """Positions, in the endless sequence of samples, of this process's share of a batch."""
        return range(step * self._batch_size, (step + 1) * self._batch_size)[self._share]

    def _sample(self, position: int) -> Sample:
        epoch, index = divmod(position, len(self._source))
        sample = schema.decode(self._source[int(self._permutation(epoch)[index])])
        if self._transform is None:
            return sample
        return self._transform(sample, np.random.default_rng((self._seed, 1, position)))

    def _shuffle(self, epoch: int) -> Int[np.ndarray, "N"]:
        return np.random.default_rng((self._seed, 0, epoch)).permutation(len(self._source))


def sequential_batches(
    source: Source, batch_size: int, limit: int | None = None, num_threads: int = 4
) -> Iterator[tuple[Batch, Bool[np.ndarray, "B"]]]:
    """Yields the samples in order, each once, in batches of one size.

    Args:
        source: see `Loader`.
        batch_size: the last batch is padded with repeats of the last sample.
        limit: the maximal number of samples.
        num_threads: number of decoding threads.

    Yields:
        Batches, and a mask that is False for the padding.
    """
    count = len(source) if limit is None else min(limit, len(source))
    starts = range(0, count, batch_size)
    indices = [np.minimum(np.arange(start, start + batch_size), count - 1) for start in starts]
    decode = lambda index: schema.decode(source[index])
    with ThreadPoolExecutor(num_threads) as pool:
        submit = lambda chosen: [pool.submit(decode, int(index)) for index in chosen]
        ahead = submit(indices[0]) if indices else []
        for start, following in zip(starts, [*indices[1:], []]):
            samples, ahead = ahead, submit(following)
            yield (
                collate([future.result() for future in samples]),
                np.arange(start, start + batch_size) < count,
            )


def collate(samples: Sequence[Sample]) -> Batch:
    """Stacks samples into a batch; a missing label becomes zeros and its `has_*` mask 0.

    A sample whose hand cannot be seen has no parameters and meshes: their masks cover hand and head
    together. It keeps the keypoints of the head and teaches that nothing touches.
    """

    def stack(name: str) -> np.ndarray:
        missing = np.zeros(schema.shape_of(name), np.float32)
        return np.stack([np.asarray(sample.get(name, missing), np.float32) for sample in samples])

    def has(name: str) -> np.ndarray:
        return np.array([name in sample for sample in samples], np.float32)

    unknown = np.float32(np.inf)
    focal_length = [np.float32(sample.get("focal_length", unknown)) for sample in samples]
    seen = [sample["hand_present"][0] if "hand_present" in sample else 1 for sample in samples]
    hand_seen = np.asarray(seen, np.float32)
    return Batch(
        images=np.stack([_to_crop_size(sample["image"]) for sample in samples]),
        hand_keypoints_2d=stack("hand_keypoints_2d"),
        head_keypoints_2d=stack("head_keypoints_2d"),
        hand_keypoints_depth=stack("hand_keypoints_depth"),
        head_keypoints_depth=stack("head_keypoints_depth"),
        hand_params=HandParams(
            betas=stack("hand_betas"),
            global_orient=stack("hand_global_orient"),
            hand_pose=stack("hand_pose"),
            transl=stack("hand_transl"),
        ),
        head_params=HeadParams(
            betas=stack("head_betas"),
            expression=stack("head_expression"),
            global_orient=stack("head_global_orient"),
            neck_pose=stack("head_neck_pose"),
            jaw_pose=stack("head_jaw_pose"),
            transl=stack("head_transl"),
        ),
        deformations=stack("deformations"),
        hand_contact=stack("hand_contact"),
        head_contact=stack("head_contact"),
        has_2d=has("hand_keypoints_2d"),
        has_3d=has("hand_global_orient") * hand_seen,
        has_params=has("hand_betas") * hand_seen,
        has_contact=has("hand_contact"),
        has_deformations=has("deformations"),
        has_depth=has("hand_keypoints_depth"),
        has_hand=hand_seen,
        detections=Detections(
            hand_points=stack("detected_hand_points"),
            hand_world=stack("detected_hand_world"),
            face_points=stack("detected_face_points"),
        ),
        intrinsics=Intrinsics(np.stack(focal_length), stack("camera_center")),
    )


def _to_crop_size(image: UInt8[np.ndarray, "H W 3"]) -> UInt8[np.ndarray, "224 224 3"]:
    size = (CROP_SIZE, CROP_SIZE)
    if image.shape[:2] == size:
        return image
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)
