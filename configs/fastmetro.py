from dice_jax.configs.baselines import fastmetro as get_config  # noqa: F401
