from dice_jax.configs.tiny import get_config as get_config
