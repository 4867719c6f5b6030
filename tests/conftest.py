"""Test set-up: virtual CPU devices, quick compilation, checked types, strict JAX, fixtures."""

import os
from pathlib import Path

from support.fast_compile import xla_flags

# Before JAX is imported; what the user has set stays. Subprocesses of tests inherit the cache.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault(
    "JAX_COMPILATION_CACHE_DIR", str(Path(__file__).parents[1] / ".pytest_cache" / "xla")
)
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.5")
os.environ["XLA_FLAGS"] = f"{xla_flags(devices=8)} {os.environ.get('XLA_FLAGS', '')}"

import jax
import numpy as np
import pytest
import support.typechecker  # noqa: F401 (named in the hook below)
from jaxtyping import install_import_hook

install_import_hook("dice_jax", "support.typechecker.check")
jax.config.update("jax_numpy_rank_promotion", "raise")


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)
