"""What a training shows of itself on the validation split: its metrics, and pictures of a few
samples.
"""

from __future__ import annotations

import jax
import numpy as np
from flax import traverse_util
from jaxtyping import UInt8
from ml_collections import ConfigDict

from dice_jax import inference
from dice_jax.evaluation import measure
from dice_jax.input_pipeline import loader
from dice_jax.training.setup import BodyModels, TrainSetup
from dice_jax.training.state import TrainState
from dice_jax.visualization import validation_sheet


def validate(
    setup: TrainSetup,
    bodies: BodyModels,
    state: TrainState,
    split: loader.Source,
    config: ConfigDict,
) -> dict[str, float]:
    """The flat figures of `metrics.accumulate.summarize` on `split`, as `infer` sees them."""
    model = _model(setup, bodies, state)
    batches = loader.sequential_batches(split, config.batch_size, num_threads=config.data.threads)
    with jax.transfer_guard("allow"):
        summary = measure.evaluate(measure.predictor(model), batches, bodies.hand, bodies.head)
    figures = traverse_util.flatten_dict(summary, sep="/")
    return {name: value for name, value in figures.items() if value is not None}


def draw_sheet(
    setup: TrainSetup,
    bodies: BodyModels,
    state: TrainState,
    split: loader.Source,
    config: ConfigDict,
) -> UInt8[np.ndarray, "H W 3"]:
    """The first samples of `split`: what the network says of them, and the truth."""
    model, count = _model(setup, bodies, state), min(config.sheet_samples, len(split))
    with jax.transfer_guard("allow"):
        batch, _ = next(loader.sequential_batches(split, count, count, config.data.threads))
        answers = inference.infer(model, batch.images)
        truths = measure.true_prediction(batch, bodies.hand, bodies.head)
        one_by_one = (
            [jax.tree.map(lambda x, i=i: x[i], predictions) for i in range(count)]
            for predictions in jax.device_get((answers, truths))
        )
        keypoints = np.concatenate([batch.hand_keypoints_2d, batch.head_keypoints_2d], axis=1)
        faces = (np.asarray(body.faces) for body in (bodies.hand, bodies.head))
        return validation_sheet.sample_sheet(
            batch.images, *one_by_one, keypoints, *faces, f"step {int(state.step)}"
        )


def _model(setup: TrainSetup, bodies: BodyModels, state: TrainState) -> inference.Model:
    return inference.Model(state.weights(), bodies.hand, bodies.head, bodies.queries, setup.network)
