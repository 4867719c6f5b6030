"""Prepares the data set `composites` from photos of faces: a hand is rendered upon each of them.

  python -m dice_jax.tools.prepare_composites --images ~/portraits --count 20 --out ~/data
  python -m dice_jax.train --config=small --workdir=runs/small \\
      --config.data.name=hand_face_synth:4+composites:1

The head is fitted to the photo, the light is estimated from its skin, and hands that touch the face
or are held before it are rendered with that light, with shadows, and behind the head where it hides
them. Photos without a face, with several faces or with a hand are left out, as are photos that the
fit does not match. composites_review/ has a sheet for each photo, for you to check.

An interrupted run continues where it stopped. Use photos that you may train on.
"""

from __future__ import annotations

from pathlib import Path

import jax
import numpy as np
from tqdm import tqdm

from dice_jax import errors, inference, xla_flags
from dice_jax.body_models import load_hand, load_head, pose_head
from dice_jax.body_models.lbs import BodyModel
from dice_jax.datasets import prepared_records, registry
from dice_jax.datasets.composites import Composites
from dice_jax.datasets.detected_scenes import with_detections
from dice_jax.datasets.in_the_wild import prepare
from dice_jax.detection.people import find_people
from dice_jax.io import atomic, images
from dice_jax.person import Person
from dice_jax.reconstruction import reconstruct
from dice_jax.structs import HeadParams
from dice_jax.synthetic.composite import Compositor
from dice_jax.synthetic.portrait import Portrait, camera_of, make_portrait
from dice_jax.synthetic.sample import Face

_FIRST_PERSON = 300_000_000  # numbers of people, apart from those of `hand_face_synth`
_MAX_RESIDUAL = 0.05  # of the fit, relative to the height of the face
_SHEET_TILES = 8


def main(argv: list[str] | None = None) -> None:
    parser = errors.argument_parser(__doc__, prog="python -m dice_jax.tools.prepare_composites")
    add = parser.add_argument
    add("--images", required=True, help="folder of photos of faces")
    add("--count", type=int, default=20, help="composites of each photo")
    add("--seed", type=int, default=0, help="of the hands")
    add("--out", help="folder of data sets (default: $DICE_DATA, or ~/.cache/dice_jax)")
    args = parser.parse_args(argv)

    xla_flags.keep_compiled()
    out = atomic.writable_folder(registry.data_folder(args.out))
    photos = prepare.find_photos(args.images)
    parts = prepared_records.parts_folder(out, Composites.name)
    settings = {name: str(getattr(args, name)) for name in ("images", "count", "seed")}
    settings["photographs"] = prepare.describe_photos(photos)
    prepared_records.check_settings(parts, settings)
    paths = [parts / "train" / f"{number:05d}.msgpack" for number in range(len(photos))]
    hand, head = load_hand(), load_head()
    model, compositor = inference.load(), Compositor(hand, head, args.seed)
    review = out / "composites_review"
    for number, (photo, path) in enumerate(zip(tqdm(photos, desc="composites"), paths)):
        if path.exists():
            continue
        portrait = _portrait(photo, _FIRST_PERSON + number, model, head)
        if isinstance(portrait, str):
            prepared_records.write_part(path, [], {portrait: [photo.name]})
            continue
        _write_part(path, compositor, portrait, args.count, review / f"{number:05d}.jpg")

    notes = [prepared_records.read_left_out(path).items() for path in paths]
    left_out = [f"{name}: {reason}" for note in notes for reason, names in note for name in names]
    for line in left_out:
        print(f"left out: {line}")
    sizes = prepared_records.build(Composites, out, keep_parts=False)
    print(
        f"composites: {sizes['train']} samples of {len(photos) - len(left_out)} photos; please "
        f"check the sheets in {review}"
    )


def _portrait(
    photo: prepare.Photo, number: int, model: inference.Model, head: BodyModel
) -> Portrait | str:
    """The photo with its fitted head, or the reason why it cannot be used."""
    try:
        pixels = images.read_image(photo.path)
    except ValueError as error:
        return str(error)
    people = find_people(pixels)
    if not people or people[0].face is None:
        return "no face"
    if len(people) > 1:
        return "several people"
    if people[0].hands:
        return "a hand is in view"
    (person,) = reconstruct(model, pixels, people=people)
    head_found = person.head
    assert head_found is not None
    height = np.ptp(np.asarray(head_found.keypoints_2d)[:, 1])
    if head_found.residual > _MAX_RESIDUAL * height:
        return "the head does not fit"
    return portrait_of(pixels, person, number, head)


def portrait_of(pixels: np.ndarray, person: Person, number: int, head: BodyModel) -> Portrait:
    """A photo as a portrait.

    Args:
        pixels: the photo (H, W, 3), RGB, uint8.
        person: fitted to it, with a head.
        number: of the person in the data set.
        head: the head model.
    """
    assert person.head is not None
    params = jax.tree.map(np.asarray, person.head.params)
    zero = np.zeros(3, np.float32)
    own = pose_head(
        head,
        HeadParams(params.betas, params.expression, zero, params.neck_pose, params.jaw_pose, zero),
    )
    own_vertices = np.asarray(own.vertices, np.float64)
    photo_camera = person.photo_camera
    camera = camera_of(
        own_vertices,
        np.asarray(person.head.vertices, np.float64),
        np.asarray(photo_camera.transl, np.float64),
        photo_camera.focal_length,
        np.asarray(photo_camera.center, np.float64),
    )
    single = lambda array: np.asarray(array, np.float64)
    face = Face(single(params.expression), single(params.neck_pose), single(params.jaw_pose))
    return make_portrait(pixels, number, head, own_vertices, single(params.betas), face, camera)


def _write_part(
    path: Path, compositor: Compositor, portrait: Portrait, count: int, sheet: Path
) -> None:
    """Writes the composites of one photo, and a sheet of the first of them."""
    examples = []
    for index in range(count):
        made = compositor.compose(portrait, index)
        if made is not None:
            examples.append(with_detections(*made))
    if examples:
        tiles = [example["image"] for example in examples[:_SHEET_TILES]]
        sheet.parent.mkdir(parents=True, exist_ok=True)
        images.write_image(sheet, np.concatenate(tiles, axis=1))
    prepared_records.write_part(path, examples)


if __name__ == "__main__":
    errors.run(main)
