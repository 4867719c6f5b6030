"""The sheet of validation samples."""

import numpy as np

from dice_jax.body_models import assets
from dice_jax.constants import CROP_SIZE, NUM_HAND_VERTICES, NUM_HEAD_VERTICES
from dice_jax.structs import Camera, HandParams, HeadParams, Prediction
from dice_jax.visualization import validation_sheet

SCALE, TRANSL = 500.0, np.float32([110, 115])


def test_a_prediction_equal_to_the_ground_truth_looks_the_same(rng):
    hand, head = assets.load_hand(), assets.load_head()
    hand_vertices = np.asarray(hand.v_template) + np.float32([0.05, 0.0, -0.15])
    head_vertices = np.asarray(head.v_template) * np.float32([1, -1, -1])
    hand_keypoints = hand_vertices[rng.choice(NUM_HAND_VERTICES, 21)]
    head_keypoints = head_vertices[rng.choice(NUM_HEAD_VERTICES, 68)]
    pixels = np.concatenate([hand_keypoints, head_keypoints])[:, :2] * np.float32(SCALE) + TRANSL
    zeros = lambda *sizes: (np.zeros(size, np.float32) for size in sizes)
    prediction = Prediction(
        hand_vertices=hand_vertices,
        head_vertices=head_vertices,
        deformations=np.zeros((NUM_HEAD_VERTICES, 3), np.float32),
        deformed_head_vertices=head_vertices,
        hand_keypoints_3d=hand_keypoints,
        head_keypoints_3d=head_keypoints,
        hand_keypoints_2d=pixels[:21],
        head_keypoints_2d=pixels[21:],
        hand_contact_probs=rng.random(NUM_HAND_VERTICES, np.float32),
        head_contact_probs=rng.random(NUM_HEAD_VERTICES, np.float32),
        contact_presence=np.array(1, np.float32),
        hand_params=HandParams(*zeros(10, 3, 45, 3)),
        head_params=HeadParams(*zeros(100, 50, 3, 3, 3, 3)),
        camera=Camera(np.array(SCALE, np.float32), TRANSL),
    )
    target = prediction.replace(camera=Camera(np.zeros((), np.float32), np.zeros(2, np.float32)))
    image = rng.integers(0, 256, (CROP_SIZE, CROP_SIZE, 3), dtype=np.uint8)
    labeled = np.concatenate([pixels, np.ones((89, 1))], -1)
    faces = np.asarray(hand.faces), np.asarray(head.faces)
    sheet = validation_sheet.sample_sheet(
        image[None], [prediction], [target], labeled[None], *faces, "a title"
    )

    height, width = (sheet.shape[0] - 56) // 2, (sheet.shape[1] - 8) // validation_sheet.COLUMNS

    def panel(row, column):
        cell = sheet[56 + row * height :, 8 + column * width :]
        return cell[:CROP_SIZE, :CROP_SIZE].astype(int)

    np.testing.assert_array_equal(panel(0, 0), image)
    assert (panel(1, 0) != image).any(-1).mean() > 0.002  # the keypoints
    for column in (1, 3, 4, 5):  # over the image, contacts, depth
        predicted, true = panel(0, column), panel(1, column)
        assert (np.abs(predicted - true).max(-1) > 20).mean() < 0.01
        assert len(np.unique(predicted.reshape(-1, 3), axis=0)) > 100  # the panel is not empty
