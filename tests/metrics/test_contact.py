import jax
import numpy as np
import pytest

from dice_jax.metrics import contact


@pytest.fixture
def vertices(rng):
    truth = rng.uniform(size=(6, 300)) < 0.1
    probs = np.clip(rng.normal(0.3 + 0.3 * truth, 0.2), 0, 1).astype(np.float32)
    return probs, truth


def pooled(counts):
    return jax.tree.map(lambda x: x.sum(0), counts)


def test_scores_are_those_of_all_vertices_pooled(vertices):
    probs, truth = vertices
    predicted = probs >= 0.5
    result = contact.scores(pooled(contact.confusion(predicted, truth)))
    hits = (predicted & truth).sum()
    precision, recall = hits / predicted.sum(), hits / truth.sum()
    expected = {
        "precision": precision,
        "recall": recall,
        "accuracy": (predicted == truth).mean(),
        "f1": 2 * precision * recall / (precision + recall),
    }
    assert result == pytest.approx(expected, rel=1e-6)
    mean_of_samples = np.mean([(p & t).sum() / max(p.sum(), 1) for p, t in zip(predicted, truth)])
    assert abs(mean_of_samples - precision) > 1e-3  # macro averaging would be something else


def test_predicting_nothing_scores_zero_but_is_mostly_accurate(vertices):
    _, truth = vertices
    result = contact.scores(pooled(contact.confusion(np.zeros_like(truth), truth)))
    assert result == {
        "f1": 0.0,
        "precision": 0.0,
        "recall": 0.0,
        "accuracy": pytest.approx(1 - truth.mean()),
    }


def test_no_vertex_at_all_is_undefined():
    nothing = pooled(contact.confusion(np.zeros((0, 3), bool), np.zeros((0, 3), bool)))
    assert np.isnan(list(contact.scores(nothing).values())).all()


def test_average_precision_equals_the_sum_over_ranks(vertices):
    probs, truth = vertices
    probs = (
        np.floor(probs * contact.BINS) + 0.5
    ) / contact.BINS  # on the bins, so that the histogram loses nothing
    probs = np.minimum(probs, 1 - 0.5 / contact.BINS).astype(np.float32)
    expected, last = 0.0, 0.0
    for threshold in np.unique(probs)[::-1]:
        chosen = probs >= threshold
        recall, precision = (
            (chosen & truth).sum() / truth.sum(),
            (chosen & truth).sum() / chosen.sum(),
        )
        expected, last = expected + precision * (recall - last), recall
    histogram = contact.score_histogram(probs, truth).sum(0)
    assert contact.average_precision(histogram) == pytest.approx(expected, rel=1e-5)


def test_average_precision_is_one_for_a_perfect_ranking_and_the_base_rate_for_none(vertices):
    _, truth = vertices
    precision = lambda probs: contact.average_precision(
        contact.score_histogram(np.float32(probs), truth).sum(0)
    )
    assert precision(truth * 0.01) == 1
    assert precision(np.full(truth.shape, 0.7)) == pytest.approx(truth.mean())
    assert np.isnan(contact.average_precision(np.zeros((2, contact.BINS))))


def test_the_curve_passes_through_the_scores_at_the_threshold(vertices):
    probs, truth = vertices
    precision, recall = contact.precision_recall(contact.score_histogram(probs, truth).sum(0))
    at = contact.BINS - 1 - round(contact.THRESHOLD * contact.BINS)
    expected = contact.scores(pooled(contact.confusion(probs >= contact.THRESHOLD, truth)))
    np.testing.assert_allclose(
        [precision[at], recall[at]], [expected["precision"], expected["recall"]]
    )
    assert (
        (np.diff(recall) >= 0).all()
        and recall[-1] == 1
        and precision[-1] == pytest.approx(truth.mean())
    )
