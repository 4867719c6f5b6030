"""What a checkpoint knows of where it comes from: configuration, code and data."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

import dice_jax

# Fields that only say where to look or how often to write.
_FREE = {
    f"config.{name}"
    for name in (
        "init_from",
        "log_every",
        "validate_every",
        "checkpoint_every",
        "sheet_every",
        "sheet_samples",
        "keep_checkpoints",
        "data.dir",
        "data.threads",
    )
}


def about(config: ConfigDict, samples: int) -> dict[str, Any]:
    """What, with the state, decides every later step.

    Args:
        config: of the run.
        samples: size of the training split; batch `step` is a function of it, of `seed` and of
            `batch_size`.
    """
    return {
        "dice_jax": dice_jax.__version__,
        "git": git_commit(),
        "jax": jax.__version__,
        "data": {"samples": samples},
        "config": config.to_dict(),
    }


def git_commit() -> str | None:
    """The commit of the source tree, with "-dirty" where files differ from it; None for an
    installed package.
    """
    root = Path(dice_jax.__file__).parents[1]
    if not (root / ".git").exists():
        return None
    command = [
        "git",
        "-C",
        str(root),
        "describe",
        "--always",
        "--dirty",
        "--abbrev=40",
        "--exclude=*",
    ]
    try:
        return subprocess.run(
            command, capture_output=True, text=True, timeout=10, check=True
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What makes the steps to come others than those of the unbroken run, one phrase for each field
    that differs.

    Args:
        before: `about` of the checkpoint; fields that it does not know are not compared.
        now: `about` of the run.
    """
    fields = lambda about: dict(
        _leaves({part: about[part] for part in ("config", "data") if part in about})
    )
    old, new = fields(before), fields(now)
    return [
        f"{name} {old[name]!r} -> {new[name]!r}"
        for name in old
        if name in new and name not in _FREE and old[name] != new[name]
    ]


def _leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", list(value) if isinstance(value, tuple) else value
