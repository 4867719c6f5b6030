"""Functions compiled with little optimization, for tests that mostly compile."""

import jax

LITTLE_OPTIMIZATION = {"xla_backend_optimization_level": 0, "xla_cpu_use_fusion_emitters": False}


def compile_fast(function, *args):
    """Compiles `function` for arguments of these shapes."""
    return jax.jit(function).lower(*args).compile(LITTLE_OPTIMIZATION)


def run_fast(function, *args):
    """Compiles `function` and calls it."""
    return compile_fast(function, *args)(*args)
