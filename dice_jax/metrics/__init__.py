"""The paper's metrics, exact over ragged batches and several devices."""
