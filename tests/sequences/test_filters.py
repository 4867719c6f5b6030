"""One-euro filters: noise is halved, motion lags by less than two frames, still things stay."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from dice_jax.sequences.filters import Cutoff, Mean, RotationFilter, VectorFilter
from dice_jax.sequences.people import CUTOFFS

FPS = 30.0
TIMES = np.arange(300) / FPS


def run(one, values, times=TIMES):
    return np.stack([one(value, time) for value, time in zip(values, times)])


def jitter(values):
    """Root mean square of the second differences."""
    return np.sqrt((np.diff(values, 2, axis=0) ** 2).sum(-1).mean())


def lag(smooth, true):
    """Frames by which the smooth curve comes later than the true one: the best shift."""
    shifts = np.linspace(-1, 6, 141)
    index = np.arange(len(true), dtype=float)
    inside = slice(10, -10)

    def error(shift):
        shifted = np.stack(
            [np.interp(index - shift, index, column) for column in true.reshape(len(true), -1).T]
        )
        return ((shifted.T - smooth.reshape(len(smooth), -1))[inside] ** 2).sum()

    return shifts[np.argmin([error(shift) for shift in shifts])]


def waving(rng, amplitude, noise, shape):
    """A motion of about half a hertz, and the same with noise."""
    phase, axis = rng.uniform(0, 6, shape), rng.normal(size=shape)
    true = amplitude * np.sin(2 * np.pi * 0.5 * TIMES[:, None, None] + phase) * axis
    return true, true + rng.normal(scale=noise, size=true.shape)


@pytest.mark.parametrize("strength", ["light", "strong"])
@pytest.mark.parametrize("kind", ["rotation", "position", "value"])
def test_jitter_is_halved_and_motion_lags_by_less_than_two_frames(rng, strength, kind):
    amplitude, noise = {"rotation": (0.5, 0.02), "position": (0.08, 0.002), "value": (0.5, 0.03)}[
        kind
    ]
    cutoff = getattr(CUTOFFS[strength], kind)
    true, noisy = waving(rng, amplitude, noise, (5, 3))
    if kind == "rotation":
        smooth = run(RotationFilter(cutoff), noisy)
    else:
        smooth = run(VectorFilter(cutoff), noisy)
    for joint in range(5):
        # What remains of the noise: of the curve, the second differences are small.
        assert jitter(smooth[:, joint]) < 0.5 * jitter(noisy[:, joint])
    assert lag(smooth, true) < 2.0


@pytest.mark.parametrize("strength", ["light", "strong"])
def test_noise_of_something_still_is_halved(rng, strength):
    noisy = rng.normal(scale=0.02, size=(300, 4, 3))
    for one in (
        RotationFilter(CUTOFFS[strength].rotation),
        VectorFilter(CUTOFFS[strength].value),
    ):
        smooth = run(one, noisy)
        assert smooth[30:].std() < 0.5 * noisy.std()


@given(st.integers(0, 10**6))
def test_what_is_constant_stays(seed):
    rng = np.random.default_rng(seed)
    value = rng.normal(size=(3, 3))
    vectors = Rotation.random(3, random_state=seed).as_rotvec()
    times = np.cumsum(rng.uniform(0.01, 0.1, 20))
    cutoff = Cutoff(1.0, 2.0)
    for one, constant in ((VectorFilter(cutoff), value), (RotationFilter(cutoff), vectors)):
        smooth = run(one, [constant] * 20, times)
        np.testing.assert_allclose(smooth, np.broadcast_to(constant, smooth.shape), atol=1e-7)


def test_there_is_no_transient_at_the_start(rng):
    """The error of the first frames is no larger than that of the input, on average."""
    errors = []
    for _ in range(200):
        noisy = rng.normal(scale=0.02, size=(20, 1, 3))
        errors.append(np.abs(run(VectorFilter(CUTOFFS["strong"].value), noisy, TIMES[:20])))
    mean = np.mean(errors, axis=(0, 2, 3))
    assert (mean[1:] < mean[0]).all()
    assert mean[5] < 0.6 * mean[0]  # the first sample counts no more than the others


def test_rotations_are_filtered_independently_of_the_axes(rng):
    """Turning the world turns the result: nothing depends on the coordinates of rotations."""
    _, noisy = waving(rng, 1.5, 0.05, (2, 3))
    turn = Rotation.random(random_state=1)
    turned = np.stack([(turn * Rotation.from_rotvec(x)).as_rotvec() for x in noisy])
    cutoff = CUTOFFS["light"].rotation
    smooth, smooth_turned = run(RotationFilter(cutoff), noisy), run(RotationFilter(cutoff), turned)
    expected = np.stack([(turn * Rotation.from_rotvec(x)).as_matrix() for x in smooth])
    actual = np.stack([Rotation.from_rotvec(x).as_matrix() for x in smooth_turned])
    np.testing.assert_allclose(actual, expected, atol=1e-7)


def test_a_rotation_that_passes_half_a_turn_does_not_jump(rng):
    angles = np.linspace(2.8, 3.6, 60)  # through pi, where axis-angle vectors change sign
    vectors = np.stack([Rotation.from_rotvec([[0, 0, angle]]).as_rotvec() for angle in angles])
    smooth = run(RotationFilter(CUTOFFS["strong"].rotation), vectors, TIMES[:60])
    matrices = np.stack([Rotation.from_rotvec(x[0]).as_matrix() for x in smooth])
    steps = Rotation.from_matrix(matrices[1:] @ matrices[:-1].transpose(0, 2, 1)).magnitude()
    assert steps.max() < 0.03


def test_the_mean_stands_still_after_its_samples(rng):
    values, mean = rng.normal(size=(8, 3)), Mean(5)
    means = [mean(value) for value in values]
    for count in range(5):
        np.testing.assert_allclose(means[count], values[: count + 1].mean(0))
    for later in means[5:]:
        np.testing.assert_array_equal(later, means[4])
