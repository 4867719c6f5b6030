"""Random adults as MakeHuman's morph coefficients, and principal components of their shapes."""

from __future__ import annotations

import re

import numpy as np
import scipy.sparse as sp

from tools.open_models.source import METERS_PER_UNIT, Source

_RACES = ("african", "asian", "caucasian")
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
    """Targets of adults for sex, age, race, muscle, weight, height and proportions."""
    names = source.targets("macrodetails")
    return [name for name in names if not {"baby", "child"} & set(_tokens(name))]


def _tokens(name: str) -> list[str]:
    return name.rsplit("/", 1)[-1].removesuffix(".target.gz").split("-")


def sample_macro(
    names: list[str], count: int, rng: np.random.Generator, height_std: float, proportion_std: float
) -> tuple[np.ndarray, np.ndarray]:
    """Macro coefficients of random adults.

    A macro target applies to one corner of the space of traits, e.g.
    `female-young-maxmuscle-minweight`. Its coefficient is the product of the memberships in these
    traits. Of ten people, seven have sex 0 or 1 and three a value between; most are young.

    Args:
        names: of `macro_targets`.
        count: number of people.
        rng: random numbers.
        height_std, proportion_std: standard deviations of the two traits, whose range is [-1, 1].

    Returns:
        Coefficients (count, len(names)), and maleness (count,) in [0, 1].
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
        low, high = np.maximum(1 - 2 * value, 0), np.maximum(2 * value - 1, 0)
        average = 1 - np.abs(2 * value - 1)
        membership |= {f"min{trait}": low, f"average{trait}": average, f"max{trait}": high}
    columns = [np.prod([membership[token] for token in _tokens(name)], axis=0) for name in names]
    return np.stack(columns, 1), maleness


def sample_local(
    names: list[str], stds: np.ndarray, count: int, rng: np.random.Generator
) -> np.ndarray:
    """Coefficients (count, len(names)) in [0, 1] of local targets.

    Of two opposite targets (`-incr` and `-decr`) one is zero. Left and right targets are correlated
    (0.94), so faces are nearly symmetric.

    Args:
        names: of the targets.
        stds: (len(names),) standard deviations.
        count: number of people.
        rng: random numbers.
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
            coefficients[:, index[name]] = np.maximum(value, 0)
            coefficients[:, index[opposite]] = np.maximum(-value, 0)
    return coefficients


def _opposite(name: str, among: dict[str, int]) -> str | None:
    """The target that deforms in the opposite direction, if there is one."""
    stem = name.removesuffix(".target.gz")
    for pair in _OPPOSITES:
        for one, other in (pair, pair[::-1]):
            candidate = f"{stem[: -len(one)]}{other}.target.gz"
            if stem.endswith("-" + one) and candidate in among:
                return candidate
    return None


def resampled_targets(source: Source, names: list[str], resampling: sp.csr_matrix) -> np.ndarray:
    """Displacements (K, V, 3) of targets, meters, at the rows of `resampling`."""
    displacements = np.zeros((len(names), resampling.shape[0], 3), np.float32)
    columns = resampling.tocsc()
    for i, name in enumerate(names):
        indices, values = source.target(name)
        if len(indices):
            displacements[i] = (columns[:, indices] @ values) * METERS_PER_UNIT
    return displacements


def principal_components(
    samples: np.ndarray, count: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """PCA of samples (N, D).

    Returns:
        Mean (D,), components (count, D) scaled to one standard deviation, and all variances.
    """
    mean = samples.mean(0)
    _, singular_values, directions = np.linalg.svd(samples - mean, full_matrices=False)
    variances = singular_values**2 / (len(samples) - 1)
    return mean, with_fixed_signs(directions[:count] * np.sqrt(variances[:count, None])), variances


def principal_mixtures(
    covariance: np.ndarray, targets: np.ndarray, count: int, mirror: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """PCA of `coefficients @ targets` and its mirror images, without computing samples.

    Args:
        covariance: (K, K) of the coefficients, about their mean, or about zero for a space whose
            origin is the neutral shape.
        targets: (K, V, 3) displacements.
        count: number of components.
        mirror: (V,) the mirrored vertex.

    Returns:
        Components (count, 3 V) scaled to one standard deviation, each symmetric or antisymmetric,
        and all variances in descending order.
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
    """Flips rows so that the entry of largest magnitude is positive, since PCA leaves signs open.

    In an antisymmetric component both sides have the largest magnitude, up to rounding; the first
    one counts.
    """
    magnitudes = np.abs(components)
    first = (magnitudes > magnitudes.max(1, keepdims=True) * (1 - 1e-6)).argmax(1)
    largest = np.take_along_axis(components, first[:, None], 1)
    return components * np.where(largest < 0, -1.0, 1.0)
