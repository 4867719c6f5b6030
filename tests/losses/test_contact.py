"""Cross-entropies of contact and presence: definitions, torch, and gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dice_jax.losses import contact


@pytest.mark.parametrize("positive_weight", [1.0, 3.5])
def test_cross_entropy_equals_its_definition(rng, positive_weight):
    logits, labels = rng.normal(scale=5, size=(3, 40)), rng.uniform(size=(3, 40)) < 0.3
    probability = 1 / (1 + np.exp(-logits))
    log_probs = np.where(labels, positive_weight * np.log(probability), np.log(1 - probability))
    found = contact.binary_cross_entropy(
        logits, labels.astype(float), positive_weight=positive_weight
    )
    np.testing.assert_allclose(found, -log_probs.mean(-1), rtol=1e-4)


@pytest.mark.parametrize("positive_weight", [1.0, 3.5])
def test_cross_entropy_equals_torch(rng, positive_weight):
    torch = pytest.importorskip("torch")
    logits = rng.normal(scale=5, size=(3, 40)).astype(np.float32)
    labels = (rng.uniform(size=(3, 40)) < 0.3).astype(np.float32)
    expected = torch.nn.functional.binary_cross_entropy_with_logits(
        torch.tensor(logits),
        torch.tensor(labels),
        pos_weight=torch.tensor(positive_weight),
        reduction="none",
    ).mean(-1)
    found = contact.binary_cross_entropy(logits, labels, positive_weight=positive_weight)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_a_confident_mistake_has_a_gradient():
    """The released code clamps probabilities to 1e-5, where the gradient vanishes."""
    loss = lambda x: contact.binary_cross_entropy(x[None], jnp.ones((1, 1)))[0]
    value, gradient = jax.value_and_grad(loss)(jnp.array([-1000.0]))
    assert value == pytest.approx(1000) and gradient[0] == pytest.approx(-1)
    assert loss(jnp.array([1000.0])) == 0


def test_contact_sums_over_meshes_and_averages_over_vertices(rng):
    make = lambda n: rng.normal(size=(2, n)).astype(np.float32)
    label = lambda n: (rng.uniform(size=(2, n)) < 0.5).astype(np.float32)
    logits, labels = [make(4), make(100)], [label(4), label(100)]
    expected = sum(contact.binary_cross_entropy(x, y) for x, y in zip(logits, labels))
    np.testing.assert_allclose(contact.contact_loss(logits, labels), expected, rtol=1e-6)


def test_one_touching_vertex_of_either_part_makes_presence():
    hand, head = np.zeros((3, 8), np.float32), np.zeros((3, 9), np.float32)
    hand[1, 7], head[2, 4] = 1, 1
    loss = contact.presence_loss(jnp.full(3, 2.0), hand, head)
    probability = 1 / (1 + np.exp(-2.0))
    np.testing.assert_allclose(
        loss, -np.log([1 - probability, probability, probability]), rtol=1e-5
    )
