"""Array types of public signatures, checked at run time in the test suite."""

from __future__ import annotations

from typing import TypeAlias

import jax
import numpy as np

# Every function of JAX takes NumPy's arrays too; what our functions return is JAX's.
Array: TypeAlias = jax.Array | np.ndarray
