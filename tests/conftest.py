"""Test set-up: virtual CPU devices, checked types, strict JAX, shared fixtures."""

import os

os.environ.setdefault("JAX_PLATFORMS", "cpu")
if "xla_force_host_platform_device_count" not in os.environ.get("XLA_FLAGS", ""):
    os.environ["XLA_FLAGS"] = (
        os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8"
    )

import jax
import numpy as np
import pytest
import support.typechecker  # noqa: F401 (named in the hook below)
from jaxtyping import install_import_hook

if os.environ.get("DICE_STRICT"):
    install_import_hook("dice_jax", "support.typechecker.check")
    jax.config.update("jax_numpy_rank_promotion", "raise")


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)
