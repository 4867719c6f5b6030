from dice_jax.configs.default import get_config as get_config
