from dice_jax.configs.baselines import pixie_r as get_config  # noqa: F401
