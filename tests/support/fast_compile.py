"""Quick compilation, which most of the tests' time goes to.

Imports JAX only where it is used: `conftest.py` sets `xla_flags` before JAX is imported.
"""

import importlib.metadata

# XLA aborts on flags that it does not know, and 0.11 no longer knows this one.
_EMITTERS = importlib.metadata.version("jaxlib").startswith("0.10.")
# Compiler options for tests that compile much and compute little.
LITTLE_OPTIMIZATION = {"xla_backend_optimization_level": 0}
if _EMITTERS:
    LITTLE_OPTIMIZATION["xla_cpu_use_fusion_emitters"] = False


def xla_flags(devices: int) -> str:
    """For XLA_FLAGS: a number of virtual CPU devices, and compilation in half the time."""
    emitters = "--xla_cpu_use_fusion_emitters=false" if _EMITTERS else ""
    return (
        f"--xla_force_host_platform_device_count={devices} "
        f"--xla_backend_optimization_level=1 {emitters}"
    )


def compile_fast(function, *args):
    """Compiles `function` for arguments of these shapes."""
    import jax

    return jax.jit(function).lower(*args).compile(LITTLE_OPTIMIZATION)


def run_fast(function, *args):
    """Compiles `function` and calls it."""
    return compile_fast(function, *args)(*args)
