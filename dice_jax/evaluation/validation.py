"""Validation during training: metrics on the validation split, and a sheet of sample images."""

from __future__ import annotations

import jax
import numpy as np
from flax import traverse_util
from jaxtyping import UInt8

from dice_jax import inference
from dice_jax.evaluation import fit_rows, measure, reference_predictions
from dice_jax.input_pipeline import loader
from dice_jax.structs import Prediction
from dice_jax.training.setup import BodyModels, TrainSetup
from dice_jax.training.state import TrainState
from dice_jax.visualization import validation_sheet


def validate(
    setup: TrainSetup,
    bodies: BodyModels,
    state: TrainState,
    split: loader.Source,
    *,
    batch_size: int,
    num_threads: int,
) -> dict[str, float]:
    """Metrics of the averaged weights of `state` on a split, with the predictions of `infer`.

    A network that sees landmarks is told those stored with the samples, as `reconstruct` tells it.

    Args:
        setup: gives the network.
        bodies: body models and token positions.
        state: of the training.
        split: samples to measure.
        batch_size: images at a time; no metric depends on it.
        num_threads: threads that decode images.

    Returns:
        `summarize.summarize`, its nested names joined by "/"; metrics without labels are left out.
    """
    model = _model(setup, bodies, state)
    batches = loader.sequential_batches(split, batch_size, num_threads=num_threads)
    with jax.transfer_guard("allow"):
        predict = measure.predictor(model)
        if setup.evidence is not None:
            predict = fit_rows.seeing(model, lambda batch: batch.detections)
        summary = measure.summarize_split(predict, batches, bodies.hand, bodies.head)
    flat = traverse_util.flatten_dict(summary, sep="/")
    return {str(name): value for name, value in flat.items() if isinstance(value, float | int)}


def draw_sheet(
    setup: TrainSetup,
    bodies: BodyModels,
    state: TrainState,
    split: loader.Source,
    *,
    count: int,
    num_threads: int,
) -> UInt8[np.ndarray, "H W 3"]:
    """Predictions and ground truth of the first `count` samples of a split, as one image."""
    model, count = _model(setup, bodies, state), min(count, len(split))
    with jax.transfer_guard("allow"):
        batch, _ = next(loader.sequential_batches(split, count, count, num_threads))
        detections = intrinsics = None
        if setup.evidence is not None:
            detections, intrinsics = batch.detections, batch.intrinsics
        predictions = inference.infer(model, batch.images, detections, intrinsics)
        targets = reference_predictions.true_prediction(batch, bodies.hand, bodies.head)
        keypoints = np.concatenate([batch.hand_keypoints_2d, batch.head_keypoints_2d], axis=1)
        return validation_sheet.sample_sheet(
            np.asarray(batch.images),
            _unstack(predictions, count),
            _unstack(targets, count),
            keypoints,
            np.asarray(bodies.hand.faces),
            np.asarray(bodies.head.faces),
            f"step {int(state.step)}",
        )


def _unstack(predictions: Prediction, count: int) -> list[Prediction]:
    """One prediction without leading dimension for each image."""
    on_host = jax.device_get(predictions)
    return [jax.tree.map(lambda x, i=i: np.asarray(x[i]), on_host) for i in range(count)]


def _model(setup: TrainSetup, bodies: BodyModels, state: TrainState) -> inference.Model:
    return inference.Model(
        variables=state.weights(),
        hand_model=bodies.hand,
        head_model=bodies.head,
        queries=bodies.queries,
        module=setup.network,
    )
