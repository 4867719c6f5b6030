from dice_jax.configs.ablations import no_rough as get_config  # noqa: F401
