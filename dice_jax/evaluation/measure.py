"""The metrics of anything that answers, over a whole split; and the best constant answer to compare
it with.

Every batch is split over the local devices. What is computed of a sample does not depend on its
batch, and samples are added up on the host: the figures are those of one device and one batch.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from dice_jax import inference, models
from dice_jax.body_models.lbs import BodyModel
from dice_jax.errors import UserError
from dice_jax.evaluation import summarize
from dice_jax.evaluation.summarize import MetricSums
from dice_jax.structs import Batch, Camera, HandParams, HeadParams, Prediction

# From `data.loader.sequential_batches`: which samples of a batch count.
Batches = Iterable[tuple[Batch, np.ndarray]]
_EVERYWHERE, _SPLIT = jax.sharding.PartitionSpec(), jax.sharding.PartitionSpec("devices")


def evaluate(
    predict: Callable[[Batch], Prediction],
    batches: Batches,
    hand_model: BodyModel,
    head_model: BodyModel,
) -> dict[str, Any]:
    """The metrics of `predict` over all samples that count, see `metrics.accumulate.summarize` and
    `measure_split`.
    """
    return summarize.summarize(
        summarize.total(measure_split(predict, batches, hand_model, head_model))
    )


def measure_split(
    predict: Callable[[Batch], Prediction],
    batches: Batches,
    hand_model: BodyModel,
    head_model: BodyModel,
    *,
    reference_leak_filter: bool = False,
) -> MetricSums:
    """What each sample adds to the metrics of `predict`, in the order of the samples.

    Args:
        predict: from a batch to head-centerd meshes, such as `predictor(model)`.
        batches: from `data.loader.sequential_batches`; repeats at the end of a ragged last batch do
            not count.
        hand_model, head_model: the body models that the ground truth belongs to.
        reference_leak_filter: see `metrics.interpenetration.hand_signed_distance`.

    Returns:
        NumPy arrays, the first axis is that of the samples.

    Raises:
        UserError: there is not one sample, or an answer that is not finite.
    """
    measure = _measure_as_reference if reference_leak_filter else _measure
    rows, count = [], 0
    for batch, valid in batches:
        case = predict(batch), batch, valid.astype(np.float32)
        samples = jax.device_get(on_local_devices(measure, (hand_model, head_model), case))
        finite = np.all(
            [np.isfinite(x).reshape(len(valid), -1).all(-1) for x in jax.tree.leaves(samples)],
            axis=0,
        )
        if not finite.all():
            raise UserError(
                f"the answer for sample {count + int(np.argmin(finite))} is not finite: the weights are damaged"
            )
        rows.append(jax.tree.map(lambda x, valid=valid: x[valid], samples))
        count += int(valid.sum())
    if not count:
        raise UserError("the split to evaluate is empty")
    return jax.tree.map(lambda *x: np.concatenate(x), *rows)


def predictor(model: inference.Model) -> Callable[[Batch], Prediction]:
    """`infer` on all local devices, for `measure_split`."""
    model = jax.device_put(
        model, jax.sharding.NamedSharding(_mesh(jax.local_device_count()), _EVERYWHERE)
    )
    return lambda batch: on_local_devices(_infer, model, batch.images)


def on_local_devices(
    function: Callable[[PyTree, PyTree], PyTree], shared: PyTree, batch: PyTree
) -> PyTree:
    """`function(shared, batch)` with the first axis of every array of `batch` split over local
    devices.

    Over as many of them as divide the batch. `function` is compiled once, so it should be one of a
    module, and what it answers for a sample may depend on no other.
    """
    count = math.gcd(len(jax.tree.leaves(batch)[0]), jax.local_device_count())
    put = lambda tree, spec: jax.device_put(tree, jax.sharding.NamedSharding(_mesh(count), spec))
    return _spread(function, count)(put(shared, _EVERYWHERE), put(batch, _SPLIT))


@functools.cache
def _spread(function, count):
    specs = {"in_specs": (_EVERYWHERE, _SPLIT), "out_specs": _SPLIT}
    # The replication check knows nothing of some loops; nothing is communicated here.
    return jax.jit(jax.shard_map(function, mesh=_mesh(count), check_vma=False, **specs))


def _mesh(count):
    return jax.sharding.Mesh(np.array(jax.local_devices()[:count]), ("devices",))


def mean_prediction(batches: Batches, hand_model: BodyModel, head_model: BodyModel) -> Prediction:
    """The constant answer closest to a split: mean vertices, keypoints, deformations and contact
    rates.

    Args:
        batches: from `data.loader.sequential_batches`, with every label.
        hand_model, head_model: pose the ground truth.

    Returns:
        A prediction without batch dimension. Its meshes are means over vertices, so no parameters
        belong to them: those are zero.
    """
    total, count = None, 0
    for batch, valid in batches:
        sums = jax.tree.map(
            lambda x: np.asarray(x, np.float64),
            _sum_of_answers(batch, valid, hand_model, head_model),
        )
        total = sums if total is None else jax.tree.map(np.add, total, sums)
        count += int(valid.sum())
    return jax.tree.map(lambda x: jnp.asarray(x / count, jnp.float32), total)


def _infer(model, images):
    return inference.infer(model, images)


def _measure(bodies, case, reference_leak_filter=False):
    prediction, batch, valid = case
    targets = models.pose_targets(batch, *bodies)
    return summarize.measure(
        prediction,
        targets,
        batch,
        bodies[1],
        valid=valid,
        reference_leak_filter=reference_leak_filter,
    )


_measure_as_reference = functools.partial(_measure, reference_leak_filter=True)


@jax.jit
def _sum_of_answers(batch, valid, hand_model, head_model):
    answer = true_prediction(batch, hand_model, head_model)
    return jax.tree.map(lambda x: jnp.tensordot(valid.astype(x.dtype), x, 1), answer)


def true_prediction(batch: Batch, hand_model: BodyModel, head_model: BodyModel) -> Prediction:
    """The ground truth in the shape of an answer; parameters and camera, which no metric reads, are
    zero.
    """
    targets = models.pose_targets(batch, hand_model, head_model)
    size = len(batch.images)
    zeros = lambda *shape: jnp.zeros((size, *shape))
    touched = jnp.maximum(batch.hand_contact.max(-1), batch.head_contact.max(-1))
    return Prediction(
        hand_vertices=targets.hand_vertices,
        head_vertices=targets.head_vertices,
        deformations=batch.deformations,
        deformed_head_vertices=targets.deformed_head_vertices,
        hand_keypoints_3d=targets.hand_keypoints,
        head_keypoints_3d=targets.head_keypoints,
        hand_keypoints_2d=batch.hand_keypoints_2d[..., :2],
        head_keypoints_2d=batch.head_keypoints_2d[..., :2],
        hand_contact_probs=batch.hand_contact,
        head_contact_probs=batch.head_contact,
        contact_presence=touched,
        hand_params=HandParams(zeros(10), zeros(3), zeros(45), zeros(3)),
        head_params=HeadParams(zeros(100), zeros(50), zeros(3), zeros(3), zeros(3), zeros(3)),
        camera=Camera(zeros(), zeros(2)),
    )
