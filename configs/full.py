from dice_jax.configs.full import get_config as get_config
