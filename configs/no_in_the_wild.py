from dice_jax.configs.ablations import no_in_the_wild as get_config  # noqa: F401
