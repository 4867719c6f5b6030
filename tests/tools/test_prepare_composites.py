"""The command that prepares `composites`: which photos it uses, and what it says of the others."""

import dataclasses

import cv2
import numpy as np
import pytest
from support.detected_person import detections, touching_person

from dice_jax.constants import CROP_SIZE
from dice_jax.datasets import composites
from dice_jax.errors import UserError
from dice_jax.inference import Model
from dice_jax.input_pipeline import schema
from dice_jax.synthetic.composite import Compositor
from dice_jax.synthetic.render import Rendering
from dice_jax.tools import prepare_composites

PERSON = touching_person()
ALONE = dataclasses.replace(PERSON, hands=())  # a head that fits
BAD_FIT = dataclasses.replace(ALONE, head=dataclasses.replace(PERSON.head, residual=1e3))
BOTH = detections()
FACE, HAND = dataclasses.replace(BOTH, hands=()), dataclasses.replace(BOTH, face=None)
# What is detected in a photo, by its brightness; and why it is left out.
FOUND = {
    60: ([], "no face"),
    75: ([HAND], "no face"),
    90: ([FACE], None),
    120: ([BOTH], "a hand is in view"),
    180: ([FACE, FACE], "several people"),
    240: ([FACE], "the head does not fit"),
}


class FakeCompositor(Compositor):
    """Composites of zeros, but for every third one, for which no hand was found."""

    def __init__(self, hand, head, seed):
        pass

    def compose(self, portrait, index):
        if index % 3 == 2:
            return None
        fields = schema.FEATURES | schema.EXTRAS
        example = {
            name: np.zeros(fields[name].shape, fields[name].dtype)
            for name in composites.Composites.FIELDS
            if fields[name].dtype in ("float32", "int64", "uint8")
            and None not in fields[name].shape
        }
        example |= {
            "image": np.zeros((CROP_SIZE, CROP_SIZE, 3), np.uint8),
            "deformations": np.zeros((5023, 3)),
            "gesture": "point",
            "kind": "touch",
            "scene": index,
            "subject": portrait.person.subject,
        }
        black, flat = np.zeros((64, 64, 3), np.uint8), np.zeros((64, 64))
        return example, Rendering(black, black, flat, flat, flat > 0, flat > 0)


def reconstruct(model, pixels, people):
    """The heads; nothing else is worth a fit."""
    brightness = round(pixels.mean())
    assert brightness in (90, 240) and people == FOUND[brightness][0]
    return [ALONE if brightness == 90 else BAD_FIT]


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """A folder of photos, one of each kind, and a damaged one."""
    for name, value in (
        ("Compositor", FakeCompositor),
        ("find_people", lambda pixels: FOUND[round(pixels.mean())][0]),
        ("reconstruct", reconstruct),
    ):
        monkeypatch.setattr(prepare_composites, name, value)
    monkeypatch.setattr(prepare_composites.inference, "load", lambda: object.__new__(Model))
    monkeypatch.setattr(prepare_composites.xla_flags, "keep_compiled", lambda: None)
    folder = tmp_path / "photos"
    folder.mkdir()
    for brightness in FOUND:
        cv2.imwrite(str(folder / f"{brightness:03d}.png"), np.full((300, 400, 3), brightness))
    (folder / "damaged.png").write_bytes(b"no image")
    return folder


def prepare(photos, out):
    prepare_composites.main([f"--images={photos}", f"--out={out}", "--count=4"])


def test_photos_of_one_face_are_used_and_the_others_named(photos, tmp_path, capsys):
    prepare(photos, tmp_path)
    printed = capsys.readouterr().out
    for brightness, (_, reason) in FOUND.items():
        assert (f"left out: {brightness:03d}: {reason}" in printed) == (reason is not None)
    assert "left out: damaged: " in printed and "3 samples of 1 photos" in printed
    source = composites.load_split(tmp_path, "train")
    samples = [schema.decode(source[i]) for i in range(len(source))]
    assert [int(sample["scene"]) for sample in samples] == [0, 1, 3]
    assert {int(sample["subject"]) for sample in samples} == {prepare_composites._FIRST_PERSON + 2}
    sheets = list((tmp_path / "composites_review").iterdir())
    assert [sheet.name for sheet in sheets] == ["00002.jpg"]


def test_photos_of_which_none_can_be_used_are_one_clear_line(photos, tmp_path):
    (photos / "090.png").unlink()
    with pytest.raises(UserError, match="no sample of composites could be prepared"):
        prepare(photos, tmp_path)


def test_a_photo_that_was_replaced_is_no_part_of_a_build_that_goes_on(
    photos, tmp_path, monkeypatch
):
    def interrupt(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(prepare_composites.prepared_records, "build", interrupt)
    with pytest.raises(KeyboardInterrupt):
        prepare(photos, tmp_path)
    cv2.imwrite(str(photos / "060.png"), np.full((310, 400, 3), 90))
    with pytest.raises(UserError, match="photographs was 7"):
        prepare(photos, tmp_path)
