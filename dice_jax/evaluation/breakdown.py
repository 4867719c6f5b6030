"""Groups of samples by touch, by skin tone and by gesture, and their metrics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from jaxtyping import Bool, Float, Int

from dice_jax.evaluation import bootstrap
from dice_jax.evaluation.summarize import MetricSums

# First and last tone of each group on the Monk scale (E. Monk, 2023), which has ten tones. A
# `skin_tone` of 0 is tone 1, the lightest; 1 is tone 10.
SKIN_TONES = {"light, Monk 1–3": (1, 3), "medium, Monk 4–7": (4, 7), "dark, Monk 8–10": (8, 10)}


def groups(
    samples: MetricSums, gesture: np.ndarray, skin_tone: Float[np.ndarray, "N"]
) -> dict[str, dict[str, Bool[np.ndarray, "N"]]]:
    """Masks over N samples, by kind of group and name of the group.

    Args:
        samples: measured samples. One touches if a vertex of either part is labeled as in contact.
        gesture: names, "" where unknown.
        skin_tone: 0 the lightest to 1 the darkest, NaN where unknown.

    Returns:
        Masks of the kinds "touch", "skin tone" and "gesture". Empty groups are left out, and so is
        a kind without labels.
    """
    monk = 1 + np.round(9 * skin_tone)  # NaN is in no group
    labeled = np.asarray(samples.contact_frames) > 0
    in_contact = lambda counts: np.asarray(counts.true_positive + counts.false_negative) > 0
    touching = in_contact(samples.hand_contact) | in_contact(samples.head_contact)
    kinds = {
        "touch": {"touching": labeled & touching, "not touching": labeled & ~touching},
        "skin tone": {
            name: (monk >= first) & (monk <= last) for name, (first, last) in SKIN_TONES.items()
        },
        "gesture": {str(name): gesture == name for name in np.unique(gesture) if name},
    }
    present = {
        kind: {name: mask for name, mask in masks.items() if mask.any()}
        for kind, masks in kinds.items()
    }
    return {kind: masks for kind, masks in present.items() if masks}


def summarize_groups(
    samples: MetricSums,
    subjects: Int[np.ndarray, "N"],
    kinds: Mapping[str, Mapping[str, Bool[np.ndarray, "N"]]],
) -> dict[str, dict[str, Any]]:
    """`bootstrap.summarize_subjects` of each group; `kinds` is from `groups`."""

    def summarize(mask):
        members = jax.tree.map(lambda x: x[mask], samples)
        return bootstrap.summarize_subjects(members, subjects[mask])

    return {
        kind: {name: summarize(mask) for name, mask in masks.items()}
        for kind, masks in kinds.items()
    }
