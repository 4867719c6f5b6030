from dice_jax.configs.ablations import no_params as get_config  # noqa: F401
