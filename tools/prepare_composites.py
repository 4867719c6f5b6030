"""`python -m tools.prepare_composites` is `python -m dice_jax.tools.prepare_composites`."""

import runpy

runpy.run_module("dice_jax.tools.prepare_composites", run_name="__main__", alter_sys=True)
