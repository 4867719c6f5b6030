"""`python -m tools.contact_sheet` is `python -m dice_jax.tools.contact_sheet`."""

import runpy

runpy.run_module("dice_jax.tools.contact_sheet", run_name="__main__", alter_sys=True)
