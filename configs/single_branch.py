from dice_jax.configs.ablations import single_branch as get_config  # noqa: F401
