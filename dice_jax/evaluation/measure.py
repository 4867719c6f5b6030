"""Measures predictions over a whole split, on all local devices.

The devices share each batch. The metrics of a sample do not depend on the rest of its batch, and
the samples are collected on the host, so one device with one batch gives the same result.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any

import jax
import numpy as np
from jaxtyping import Float

from dice_jax import inference, models
from dice_jax.array_types import Array
from dice_jax.body_models.lbs import BodyModel
from dice_jax.errors import UserError
from dice_jax.evaluation import summarize
from dice_jax.evaluation.summarize import MetricSums, ReferenceChoices
from dice_jax.structs import Batch, Prediction
from dice_jax.training.data_parallel import on_local_devices, put_replicated

# What `input_pipeline.loader.sequential_batches` yields: each batch with a mask over its samples
# that is False for the repeats at the end.
Batches = Iterable[tuple[Batch, np.ndarray]]
Predictor = Callable[[Batch], Prediction]


def summarize_split(
    predict: Predictor, batches: Batches, hand_model: BodyModel, head_model: BodyModel
) -> dict[str, Any]:
    """`summarize.summarize` of all samples of a split; arguments as for `measure_split`."""
    samples = measure_split(predict, batches, hand_model, head_model)
    return summarize.summarize(summarize.total(samples))


def measure_split(
    predict: Predictor,
    batches: Batches,
    hand_model: BodyModel,
    head_model: BodyModel,
    *,
    reference: ReferenceChoices = summarize.OWN_CHOICES,
) -> MetricSums:
    """Contribution of each sample of a split to the metrics, in the order of the samples.

    Args:
        predict: maps a batch to head-centered meshes, for example `predictor(model)`.
        batches: from `loader.sequential_batches`; the repeats that fill up its last batch are left
            out.
        hand_model, head_model: body models that pose the ground truth.
        reference: choices of the authors' evaluation.

    Returns:
        NumPy arrays; the first axis is the sample.

    Raises:
        UserError: there is no sample, or a prediction is not finite.
    """
    measure = _measure_with(reference)
    chunks, count = [], 0
    for batch, valid in batches:
        measurable = predict(batch), batch, valid.astype(np.float32)
        samples = jax.device_get(on_local_devices(measure, (hand_model, head_model), measurable))
        finite = _finite_samples(samples)
        if not finite.all():
            sample = count + int(np.argmin(finite))
            raise UserError(
                f"the prediction for sample {sample} is not finite: the weights are damaged"
            )
        chunks.append(jax.tree.map(lambda x, valid=valid: x[valid], samples))
        count += int(valid.sum())
    if not count:
        raise UserError("the split to evaluate is empty")
    return jax.tree.map(lambda *x: np.concatenate(x), *chunks)


def predictor(model: inference.Model) -> Predictor:
    """`inference.infer` on all local devices, for `measure_split`."""
    replicated = put_replicated(model)
    return lambda batch: on_local_devices(_infer, replicated, batch.images)


def _infer(model: inference.Model, images: Array) -> Prediction:
    return inference.infer(model, images)


def _measure(
    bodies: tuple[BodyModel, BodyModel],
    measurable: tuple[Prediction, Batch, Float[Array, "B"]],
    reference: ReferenceChoices,
) -> MetricSums:
    prediction, batch, valid = measurable
    return summarize.measure_samples(
        prediction,
        models.pose_targets(batch, *bodies),
        batch,
        bodies[1],
        valid=valid,
        reference=reference,
    )


@functools.cache  # `on_local_devices` compiles once for each function object
def _measure_with(reference: ReferenceChoices) -> Callable[..., MetricSums]:
    return functools.partial(_measure, reference=reference)


def _finite_samples(samples: MetricSums) -> np.ndarray:
    """Mask of the samples whose values are all finite."""
    finite = [np.isfinite(x).reshape(len(x), -1).all(-1) for x in jax.tree.leaves(samples)]
    return np.all(finite, axis=0)
