from dice_jax.configs.small import get_config as get_config
