import jax
import numpy as np
import pytest

from dice_jax.metrics import contact


@pytest.fixture
def vertices(rng):
    target = rng.uniform(size=(6, 300)) < 0.1
    probs = np.clip(rng.normal(0.3 + 0.3 * target, 0.2), 0, 1).astype(np.float32)
    return probs, target


def pooled(counts):
    return jax.tree.map(lambda x: x.sum(0), counts)


def test_scores_pool_the_vertices_of_all_samples(vertices):
    probs, target = vertices
    predicted = probs >= 0.5
    result = contact.scores(pooled(contact.confusion(predicted, target)))
    hits = (predicted & target).sum()
    precision, recall = hits / predicted.sum(), hits / target.sum()
    expected = {
        "precision": precision,
        "recall": recall,
        "accuracy": (predicted == target).mean(),
        "f1": 2 * precision * recall / (precision + recall),
    }
    assert result == pytest.approx(expected, rel=1e-6)
    of_samples = [(p & t).sum() / max(p.sum(), 1) for p, t in zip(predicted, target)]
    assert abs(np.mean(of_samples) - precision) > 1e-3  # macro averaging differs


def test_predicting_no_contact_has_f1_zero_and_high_accuracy(vertices):
    _, target = vertices
    result = contact.scores(pooled(contact.confusion(np.zeros_like(target), target)))
    assert result["f1"] == result["precision"] == result["recall"] == 0
    assert result["accuracy"] == pytest.approx(1 - target.mean())


def test_scores_without_any_vertex_are_nan():
    nothing = pooled(contact.confusion(np.zeros((0, 3), bool), np.zeros((0, 3), bool)))
    assert np.isnan(list(contact.scores(nothing).values())).all()


def test_average_precision_is_the_sum_over_thresholds(vertices):
    probs, target = vertices
    # Centers of bins, so that the histogram is exact.
    probs = (np.floor(probs * contact.BINS) + 0.5) / contact.BINS
    probs = np.minimum(probs, 1 - 0.5 / contact.BINS).astype(np.float32)
    expected, last = 0.0, 0.0
    for threshold in np.unique(probs)[::-1]:
        chosen = probs >= threshold
        hits = (chosen & target).sum()
        recall, precision = hits / target.sum(), hits / chosen.sum()
        expected, last = expected + precision * (recall - last), recall
    histogram = contact.score_histogram(probs, target).sum(0)
    assert contact.average_precision(histogram) == pytest.approx(expected, rel=1e-5)


def test_average_precision_is_one_for_a_perfect_ranking_and_the_base_rate_without_ranking(vertices):
    _, target = vertices
    precision = lambda probs: contact.average_precision(
        contact.score_histogram(np.float32(probs), target).sum(0)
    )
    assert precision(target * 0.01) == 1
    assert precision(np.full(target.shape, 0.7)) == pytest.approx(target.mean())
    assert np.isnan(contact.average_precision(np.zeros((2, contact.BINS))))


def test_the_precision_recall_curve_passes_through_the_scores_at_the_threshold(vertices):
    probs, target = vertices
    precision, recall = contact.precision_recall(contact.score_histogram(probs, target).sum(0))
    at = contact.BINS - 1 - round(contact.THRESHOLD * contact.BINS)
    expected = contact.scores(pooled(contact.confusion(probs >= contact.THRESHOLD, target)))
    np.testing.assert_allclose(
        [precision[at], recall[at]], [expected["precision"], expected["recall"]]
    )
    assert (np.diff(recall) >= 0).all() and recall[-1] == 1
    assert precision[-1] == pytest.approx(target.mean())
