"""Which samples belong together: by gesture, by skin tone, by whether hand and face touch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from jaxtyping import Bool, Float, Int

from dice_jax.evaluation import bootstrap
from dice_jax.evaluation.summarize import MetricSums

# First and last of the ten tones of the Monk scale (E. Monk, 2023), on which 0 is tone 1, the
# lightest, and 1 tone 10.
SKIN_TONES = {"light, Monk 1–3": (1, 3), "medium, Monk 4–7": (4, 7), "dark, Monk 8–10": (8, 10)}


def groups(
    samples: MetricSums, gesture: np.ndarray, skin_tone: Float[np.ndarray, "N"]
) -> dict[str, dict[str, Bool[np.ndarray, "N"]]]:
    """Masks over N samples by kind of group and name; kinds that the data do not tell are left out.

    Args:
        samples: as measured. A scene touches where a vertex of either part is labeled as touching.
        gesture: names, "" where unknown.
        skin_tone: 0 the lightest to 1 the darkest, NaN where unknown.
    """
    monk = 1 + np.round(9 * skin_tone)  # NaN is in no group
    labeled = np.asarray(samples.contact_frames) > 0
    touches = (
        sum(
            c.true_positive + c.false_negative for c in (samples.hand_contact, samples.head_contact)
        )
        > 0
    )
    kinds = {
        "touch": {"touching": labeled & touches, "not touching": labeled & ~touches},
        "skin tone": {
            name: (monk >= first) & (monk <= last) for name, (first, last) in SKIN_TONES.items()
        },
        "gesture": {str(name): gesture == name for name in np.unique(gesture) if name},
    }
    present = lambda masks: {name: mask for name, mask in masks.items() if mask.any()}
    return {kind: present(masks) for kind, masks in kinds.items() if present(masks)}


def summarize_groups(
    samples: MetricSums,
    subjects: Int[np.ndarray, "N"],
    kinds: Mapping[str, Mapping[str, Bool[np.ndarray, "N"]]],
) -> dict[str, dict[str, Any]]:
    """`bootstrap.summarize_subjects` of every group of `groups`."""

    def one(mask):
        return bootstrap.summarize_subjects(
            jax.tree.map(lambda x: x[mask], samples), subjects[mask]
        )

    return {
        kind: {name: one(mask) for name, mask in masks.items()} for kind, masks in kinds.items()
    }
