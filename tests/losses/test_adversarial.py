"""Losses of the network and of the discriminators against their definitions."""

import jax
import numpy as np
import pytest

from dice_jax.losses import adversarial


def random_logits(rng, n=20):
    return rng.normal(scale=4, size=n).astype(np.float32)


def assert_close(actual, expected):
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-6)


def sigmoid(x):
    return 1 / (1 + np.exp(-x.astype(np.float64)))


def test_both_forms_of_the_network_s_loss_equal_their_definitions(rng):
    x = random_logits(rng)
    paper = adversarial.adversarial_loss(x, non_saturating=False)
    assert_close(paper, np.log(1 - sigmoid(x)))
    assert_close(adversarial.adversarial_loss(x), -np.log(sigmoid(x)))


@pytest.mark.parametrize("non_saturating", [True, False])
def test_both_forms_decrease_with_the_logit(rng, non_saturating):
    loss = lambda x: adversarial.adversarial_loss(x, non_saturating=non_saturating).sum()
    assert (np.asarray(jax.grad(loss)(random_logits(rng))) < 0).all()


def test_only_the_non_saturating_form_has_a_gradient_at_a_certain_discriminator():
    loss = lambda x, non_saturating: adversarial.adversarial_loss(
        x, non_saturating=non_saturating
    ).sum()
    gradient = jax.grad(loss)
    certain = np.float32([-20.0])
    assert abs(gradient(certain, False)) < 1e-6 and abs(gradient(certain, True)) > 0.99


def test_losses_of_the_discriminator_equal_their_definitions(rng):
    x = random_logits(rng)
    assert_close(adversarial.real_loss(x), -np.log(sigmoid(x)))
    assert_close(adversarial.fake_loss(x), -np.log(1 - sigmoid(x)))


def test_losses_of_the_discriminator_equal_torch_s_cross_entropy(rng):
    torch = pytest.importorskip("torch")
    real, fake = random_logits(rng), random_logits(rng)
    entropy = lambda x, y: torch.nn.functional.binary_cross_entropy_with_logits(
        torch.tensor(x), torch.full((len(x),), y), reduction="none"
    ).numpy()
    assert_close(adversarial.real_loss(real), entropy(real, 1.0))
    assert_close(adversarial.fake_loss(fake), entropy(fake, 0.0))
