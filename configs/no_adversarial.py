from dice_jax.configs.ablations import no_adversarial as get_config  # noqa: F401
