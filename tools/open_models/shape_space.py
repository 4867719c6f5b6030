"""Random adults in MakeHuman's morph coefficients, and the principal components of the shapes they
give.
"""

from __future__ import annotations

import re

import numpy as np
import scipy.sparse as sp

from tools.open_models.source import METRES_PER_UNIT, Source

_RACES = ("african", "asian", "caucasian")
_LEVELS = {
    "minmuscle": 0,
    "averagemuscle": 1,
    "maxmuscle": 2,
    "minweight": 0,
    "averageweight": 1,
    "maxweight": 2,
}
_OPPOSITES = (
    ("incr", "decr"),
    ("up", "down"),
    ("out", "in"),
    ("forward", "backward"),
    ("convex", "concave"),
    ("triangle", "pointed"),
    ("round", "square"),
)


def macro_targets(source: Source) -> list[str]:
    """The targets of grown-ups that depend on sex, age, race, muscle, weight, height and
    proportions.
    """
    names = source.targets("macrodetails")
    return [name for name in names if not {"baby", "child"} & set(_tokens(name))]


def _tokens(name: str) -> list[str]:
    return name.rsplit("/", 1)[-1].removesuffix(".target.gz").split("-")


def sample_macro(
    names: list[str], count: int, rng: np.random.Generator, height_std: float, proportion_std: float
) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients (count, len(names)) of random adults, and how male each is, in [0, 1].

    A macro target applies to one corner of the space of traits, e.g.
    `female-young-maxmuscle-minweight`; its coefficient is the product of the traits' memberships.
    Seven in ten people are plainly a woman or a man; age leans to the young.
    """
    maleness = rng.uniform(0, 1, count)
    maleness = np.where(rng.uniform(size=count) < 0.7, (maleness > 0.5).astype(float), maleness)
    age = rng.beta(1, 2.5, count)
    race = rng.dirichlet([0.5] * 3, count)
    height = np.clip(height_std * rng.standard_normal(count), -1, 1)
    proportion = np.clip(proportion_std * rng.standard_normal(count), -1, 1)
    membership = {
        "male": maleness,
        "female": 1 - maleness,
        "old": age,
        "young": 1 - age,
        "universal": np.ones(count),
    }
    membership |= {name: race[:, i] for i, name in enumerate(_RACES)}
    membership |= {"maxheight": np.maximum(height, 0), "minheight": np.maximum(-height, 0)}
    membership |= {
        "idealproportions": np.maximum(proportion, 0),
        "uncommonproportions": np.maximum(-proportion, 0),
    }
    for trait, spread in (("muscle", 0.18), ("weight", 0.22)):
        value = np.clip(0.5 + spread * rng.standard_normal(count), 0, 1)
        hats = (
            np.maximum(1 - 2 * value, 0),
            1 - np.abs(2 * value - 1),
            np.maximum(2 * value - 1, 0),
        )
        membership |= {
            token: hats[level] for token, level in _LEVELS.items() if token.endswith(trait)
        }
    columns = [np.prod([membership[token] for token in _tokens(name)], axis=0) for name in names]
    return np.stack(columns, 1), maleness


def sample_local(
    names: list[str], stds: np.ndarray, count: int, rng: np.random.Generator
) -> np.ndarray:
    """Coefficients (count, len(names)) in [0, 1] of local targets; of two opposites (`-incr`,
    `-decr`) one is zero.

    The left and the right of a pair share most of their deviate (correlation 0.94), so faces are
    nearly symmetric.
    """
    index = {name: i for i, name in enumerate(names)}
    coefficients = np.zeros((count, len(names)))
    shared: dict[str, np.ndarray] = {}
    for name, std in zip(names, stds, strict=True):
        opposite = _opposite(name, index)
        if opposite is None:
            half_normal = np.abs(rng.standard_normal(count)) * (rng.uniform(size=count) < 0.5)
            coefficients[:, index[name]] = np.clip(1.3 * std * half_normal, 0, 1)
        elif opposite > name:
            one_sided = re.sub(r"/[lr]-", "/", name)
            if one_sided not in shared:
                shared[one_sided] = rng.standard_normal(count)
            deviate = shared[one_sided]
            if one_sided != name:
                deviate = np.sqrt(1 - 0.35**2) * deviate + 0.35 * rng.standard_normal(count)
            value = np.clip(std * deviate, -1, 1)
            coefficients[:, index[name]], coefficients[:, index[opposite]] = (
                np.maximum(value, 0),
                np.maximum(-value, 0),
            )
    return coefficients


def _opposite(name: str, among: dict[str, int]) -> str | None:
    stem = name.removesuffix(".target.gz")
    for pair in _OPPOSITES:
        for one, other in (pair, pair[::-1]):
            candidate = f"{stem[: -len(one)]}{other}.target.gz"
            if stem.endswith("-" + one) and candidate in among:
                return candidate
    return None


def resampled_targets(source: Source, names: list[str], resampling: sp.csr_matrix) -> np.ndarray:
    """(K, V, 3) float32 meters: every target on the points that are rows of `resampling` (V, base
    vertices).
    """
    displacements = np.zeros((len(names), resampling.shape[0], 3), np.float32)
    columns = resampling.tocsc()
    for i, name in enumerate(names):
        indices, values = source.target(name)
        if len(indices):
            displacements[i] = (columns[:, indices] @ values) * METRES_PER_UNIT
    return displacements


def principal_components(
    samples: np.ndarray, count: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """PCA of (N, D) samples: mean (D,), components (count, D) scaled to one standard deviation, all
    variances.
    """
    mean = samples.mean(0)
    _, singular_values, directions = np.linalg.svd(samples - mean, full_matrices=False)
    variances = singular_values**2 / (len(samples) - 1)
    return mean, with_fixed_signs(directions[:count] * np.sqrt(variances[:count, None])), variances


def principal_mixtures(
    covariance: np.ndarray, targets: np.ndarray, count: int, mirror: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """PCA of `coefficients @ targets` and its mirror images, without forming a single sample.

    Args:
        covariance: (K, K) of the coefficients (about their mean, or about zero for a space that
            starts at rest).
        targets: (K, V, 3) displacements.
        count: components wanted.
        mirror: (V,) the vertex on the other side.

    Returns:
        components (count, 3 V) scaled to one standard deviation, each symmetric or antisymmetric;
        and all variances in falling order.
    """
    values, vectors = np.linalg.eigh(covariance)
    root = vectors * np.sqrt(np.maximum(values, 0))
    shapes = np.tensordot(root.T, targets.astype(np.float64), 1)
    both = np.concatenate([shapes, shapes[:, mirror] * [-1, 1, 1]]) / np.sqrt(2)
    scaled = both.reshape(len(both), -1)
    variances, directions = np.linalg.eigh(scaled @ scaled.T)
    order = np.argsort(-variances)
    return with_fixed_signs(directions[:, order[:count]].T @ scaled), variances[order]


def with_fixed_signs(components: np.ndarray) -> np.ndarray:
    """Each row turned so that its entry of largest magnitude is positive: PCA leaves the sign to
    the library.

    The two sides of an antisymmetric component tie for the largest, up to rounding: the first of
    them counts.
    """
    magnitudes = np.abs(components)
    first = (magnitudes > magnitudes.max(1, keepdims=True) * (1 - 1e-6)).argmax(1)
    largest = np.take_along_axis(components, first[:, None], 1)
    return components * np.where(largest < 0, -1.0, 1.0)
