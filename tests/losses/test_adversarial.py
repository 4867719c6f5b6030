import jax
import numpy as np
import pytest

from dice_jax.losses import adversarial


def logits(rng, n=20):
    return rng.normal(scale=4, size=n).astype(np.float32)


def test_the_generator_s_two_forms(rng):
    x = logits(rng)
    probability = 1 / (1 + np.exp(-x.astype(np.float64)))
    np.testing.assert_allclose(
        adversarial.adversarial_loss(x, non_saturating=False),
        np.log(1 - probability),
        rtol=1e-4,
        atol=1e-6,
    )
    np.testing.assert_allclose(
        adversarial.adversarial_loss(x), -np.log(probability), rtol=1e-4, atol=1e-6
    )


def test_both_forms_reward_looking_real(rng):
    x = logits(rng)
    for non_saturating in (True, False):
        gradient = jax.grad(
            lambda x, ns=non_saturating: adversarial.adversarial_loss(x, non_saturating=ns).sum()
        )(x)
        assert (np.asarray(gradient) < 0).all()


def test_the_non_saturating_form_teaches_where_the_paper_s_does_not():
    gradient = lambda ns: jax.grad(lambda x: adversarial.adversarial_loss(x, non_saturating=ns))(
        -20.0
    )
    assert abs(gradient(False)) < 1e-6 and abs(gradient(True)) > 0.99


def test_discriminator_pays_minus_log_of_what_it_should_have_said(rng):
    x = logits(rng)
    probability = 1 / (1 + np.exp(-x.astype(np.float64)))
    np.testing.assert_allclose(adversarial.real_loss(x), -np.log(probability), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(
        adversarial.fake_loss(x), -np.log(1 - probability), rtol=1e-4, atol=1e-6
    )


def test_discriminator_equals_torch_s_cross_entropy(rng):
    torch = pytest.importorskip("torch")
    real, fake = logits(rng), logits(rng)
    entropy = lambda x, y: torch.nn.functional.binary_cross_entropy_with_logits(
        torch.tensor(x), torch.full((len(x),), y), reduction="none"
    ).numpy()
    np.testing.assert_allclose(
        adversarial.real_loss(real), entropy(real, 1.0), rtol=1e-4, atol=1e-6
    )
    np.testing.assert_allclose(
        adversarial.fake_loss(fake), entropy(fake, 0.0), rtol=1e-4, atol=1e-6
    )
