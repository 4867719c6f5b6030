from dice_jax.configs.ablations import no_depth as get_config  # noqa: F401
