import numpy as np
from support import micro_run

from dice_jax.evaluation.sample_labels import LabeledSource
from dice_jax.input_pipeline import loader


class CountingSource(list):
    """Records which samples were read."""

    def __init__(self, samples):
        super().__init__(samples)
        self.read = []

    def __getitem__(self, index):
        self.read.append(index)
        return super().__getitem__(index)


def test_labels_are_recorded_while_batches_are_read_and_cost_no_further_read():
    samples = [
        micro_run.sample(seed) | {"gesture": b"wave", "skin_tone": np.float32(0.1 * seed)}
        for seed in range(5)
    ]
    source = CountingSource(samples)
    labeled = LabeledSource(source)
    for batch, _ in loader.sequential_batches(labeled, 5):
        assert len(batch.images) == 5
    labels = labeled.labels(5)
    assert sorted(source.read) == [0, 1, 2, 3, 4]
    np.testing.assert_array_equal(labels.subject, np.arange(5))
    np.testing.assert_array_equal(labels.gesture, ["wave"] * 5)
    np.testing.assert_allclose(labels.skin_tone, 0.1 * np.arange(5), rtol=1e-6)


def test_each_sample_without_a_subject_counts_as_a_subject_of_its_own():
    labeled = LabeledSource([{}, {"subject": 7}, {}])
    for index in range(3):
        labeled[index]
    labels = labeled.labels(3)
    assert len(set(labels.subject)) == 3 and labels.subject[1] == 7
    assert (labels.gesture == "").all() and np.isnan(labels.skin_tone).all()
