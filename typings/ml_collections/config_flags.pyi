from typing import Any

from absl import flags

def DEFINE_config_file(
    name: str,
    default: str | None = ...,
    help_string: str = ...,
    lock_config: bool = ...,
    **kwargs: Any,
) -> flags.FlagHolder[Any]: ...
def get_config_filename(config_flag: Any) -> str: ...
