from dice_jax.configs.baselines import metro as get_config  # noqa: F401
