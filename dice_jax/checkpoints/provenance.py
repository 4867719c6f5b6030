"""The origin of a checkpoint: configuration, code and data."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

import dice_jax

# Fields without effect on the updates of a run that has begun.
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
    """Everything that, together with the state, determines all later updates, for JSON.

    Args:
        config: of the run.
        samples: size of the training split, on which the order of the samples depends.
    """
    return {
        "dice_jax": dice_jax.__version__,
        "git": git_commit(),
        "jax": jax.__version__,
        "data": {"samples": samples},
        "config": config.to_dict(),
    }


def git_commit() -> str | None:
    """The commit of the source tree, or None for an installed package.

    It ends with "-dirty" if files differ from that commit.
    """
    root = Path(dice_jax.__file__).parents[1]
    if not (root / ".git").exists():
        return None
    options = ("--always", "--dirty", "--abbrev=40", "--exclude=*")
    command = ["git", "-C", str(root), "describe", *options]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
        return done.stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Differences that make later updates differ from those of the uninterrupted run.

    Args:
        before: `about` of the checkpoint; fields that it lacks are not compared.
        now: `about` of the run.

    Returns:
        One phrase, "FIELD OLD -> NEW", for each field.
    """
    sections = lambda about: {name: about[name] for name in ("config", "data") if name in about}
    old, new = dict(_fields(sections(before))), dict(_fields(sections(now)))
    return [
        f"{name} {old[name]!r} -> {new[name]!r}"
        for name in old
        if name in new and name not in _FREE and old[name] != new[name]
    ]


def _fields(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """All fields of nested mappings, with dotted names; tuples as lists, as JSON has them."""
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from _fields(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", list(value) if isinstance(value, tuple) else value
