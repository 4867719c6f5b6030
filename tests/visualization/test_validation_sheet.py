"""The picture sheet of a training."""

import numpy as np

from dice_jax.body_models import assets
from dice_jax.structs import Camera, HandParams, HeadParams, Prediction
from dice_jax.visualization import validation_sheet


def test_an_answer_that_is_the_truth_looks_like_it(rng):
    hand, head = assets.load_hand(), assets.load_head()
    hand_vertices = np.asarray(hand.v_template) + np.float32([0.05, 0.0, -0.15])
    head_vertices = np.asarray(head.v_template) * np.float32([1, -1, -1])
    camera = Camera(np.float32(500.0), np.float32([110, 115]))
    keypoints = [hand_vertices[rng.choice(778, 21)], head_vertices[rng.choice(5023, 68)]]
    pixels = np.concatenate(keypoints)[:, :2] * 500 + [110, 115]
    one = lambda *sizes: (np.zeros(size, np.float32) for size in sizes)
    answer = Prediction(
        hand_vertices=hand_vertices,
        head_vertices=head_vertices,
        deformations=np.zeros((5023, 3), np.float32),
        deformed_head_vertices=head_vertices,
        hand_keypoints_3d=keypoints[0],
        head_keypoints_3d=keypoints[1],
        hand_keypoints_2d=pixels[:21],
        head_keypoints_2d=pixels[21:],
        hand_contact_probs=rng.random(778),
        head_contact_probs=rng.random(5023),
        contact_presence=np.float32(1),
        hand_params=HandParams(*one(10, 3, 45, 3)),
        head_params=HeadParams(*one(100, 50, 3, 3, 3, 3)),
        camera=camera,
    )
    image = rng.integers(0, 256, (224, 224, 3), dtype=np.uint8)
    labeled = np.concatenate([pixels, np.ones((89, 1))], -1)
    truth = answer.replace(camera=Camera(np.float32(0), np.zeros(2, np.float32)))
    sheet = validation_sheet.sample_sheet(
        [image],
        [answer],
        [truth],
        [labeled],
        np.asarray(hand.faces),
        np.asarray(head.faces),
        "a title",
    )
    height, width = (sheet.shape[0] - 56) // 2, (sheet.shape[1] - 8) // validation_sheet.COLUMNS
    panel = lambda row, column: sheet[56 + row * height :, 8 + column * width :][:224, :224].astype(
        int
    )
    np.testing.assert_array_equal(panel(0, 0), image)
    for column in (1, 3, 4, 5):  # over the picture, contacts, depth
        assert (np.abs(panel(0, column) - panel(1, column)).max(-1) > 20).mean() < 0.01
        assert (
            len(np.unique(panel(0, column).reshape(-1, 3), axis=0)) > 100
        )  # there is something on it
    assert (panel(1, 0) != image).any(-1).mean() > 0.002  # the keypoints
