"""A budget for hostile files that is reached soon."""

import pytest
from support.hostile_files import MEBIBYTE

from dice_jax.untrusted_files import budget


@pytest.fixture
def small_budget(monkeypatch):
    """A smaller budget than the package's, so that the tests are quick."""
    monkeypatch.setattr(budget, "SMALLEST", MEBIBYTE)
