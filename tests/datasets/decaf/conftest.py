"""A miniature of Decaf's files for all of its tests."""

import pytest
from support import decaf_miniature as miniature

TAKES = {("train", "S2"): ("084", "108"), ("train", "S5"): ("102",), ("test", "S1"): ("108",)}


@pytest.fixture(scope="session")
def download(tmp_path_factory):
    """The unpacked download, and the ground truth of every take."""
    root = tmp_path_factory.mktemp("download") / "DecafDataset"
    targets = {
        subject: miniature.write_take(
            root,
            mode,
            subject,
            cameras,
            native_order=subject == "S5",
            with_transforms=subject != "S1",
        )
        for (mode, subject), cameras in TAKES.items()
    }
    return root, targets
