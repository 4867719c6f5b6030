"""A blind network lifts landmarks, looks at no picture, and is a part of the one that does."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util
from support.fast_compile import run_fast
from support.random_detections import random_detections, random_intrinsics
from support.random_variables import init

from dice_jax import models
from dice_jax.models import presets

SIZE = 2


@pytest.fixture(scope="module")
def blind(bodies):
    section = presets.tiny()
    section.blind, section.hand_presence = True, False
    module, queries = models.create_model(section, *bodies)
    images = jnp.zeros((1, 224, 224, 3))
    return module, queries, init(module, np.random.default_rng(3), images, queries, train=False)


@pytest.fixture(scope="module")
def run(blind):
    module, queries, variables = blind

    def run(images, *evidence):
        apply = lambda *args: module.apply(variables, args[0], queries, *args[1:], train=False)
        return jax.device_get(run_fast(apply, images, *evidence))

    return run


def outputs(output):
    return np.concatenate([np.ravel(x) for x in jax.tree.leaves(output)])


def test_it_answers_by_the_landmarks_and_not_by_the_picture(run, rng):
    images = jnp.asarray(rng.normal(size=(2, SIZE, 224, 224, 3)), jnp.float32)
    evidence = random_detections(rng, SIZE), random_intrinsics(rng, SIZE)
    others = random_detections(rng, SIZE), evidence[1]
    first, again, other = (
        outputs(run(*inputs))
        for inputs in ((images[0], *evidence), (images[1], *evidence), (images[0], *others))
    )
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 1e-3


def test_without_landmarks_its_answer_is_finite(run, rng):
    assert np.isfinite(outputs(run(jnp.zeros((SIZE, 224, 224, 3))))).all()


def test_its_weights_are_those_of_the_seeing_network_without_the_eyes(blind, network):
    own, seeing = (
        {name: np.shape(x) for name, x in traverse_util.flatten_dict(tree, sep="/").items()}
        for tree in (blind[2], network[2])
    )
    assert own.items() <= seeing.items()
    missing = {name.split("/")[1] for name in set(seeing) - set(own)}
    assert missing == {"backbone", "fine_map", "heatmaps", "hand_presence"}


def test_its_gradients_are_finite_with_and_without_landmarks(blind, rng):
    module, queries, variables = blind
    found = random_detections(rng, SIZE)
    found = found.replace(hand_points=found.hand_points.at[0].set(0.0))
    rngs = {"dropout": jax.random.key(0), "mask": jax.random.key(1)}

    def loss(params):
        output, _ = module.apply(
            {**variables, "params": params},
            jnp.zeros((SIZE, 224, 224, 3)),
            queries,
            found,
            train=True,
            rngs=rngs,
            mutable=["batch_stats"],
        )
        return sum((x**2).sum() for x in jax.tree.leaves(output))

    gradient = outputs(run_fast(jax.grad(loss), variables["params"]))
    assert np.isfinite(gradient).all() and np.abs(gradient).max() > 0


def test_it_needs_landmarks(bodies):
    section = presets.tiny()
    section.blind, section.evidence_hidden = True, 0
    with pytest.raises(ValueError, match=r"model\.blind needs model\.evidence_hidden"):
        models.create_model(section, *bodies)
