"""Strong expressions: eyes that shut, mouths that open, cheeks that come out."""

import numpy as np
import pytest

from dice_jax.body_models import load_head
from dice_jax.synthetic.expressions import FaceSampler
from dice_jax.synthetic.sample import Face

CALM = Face(np.zeros(50), np.zeros(3), np.array([0.02, 0.0, 0.0]))


@pytest.fixture(scope="module")
def head():
    return load_head()


@pytest.fixture(scope="module")
def sampler(head):
    return FaceSampler(head)


def vertices(head, face):
    basis = np.asarray(head.shapedirs, np.float64)[..., 100:]
    return np.asarray(head.v_template, np.float64) + basis @ face.expression


def lid_gaps(head, face):
    corners = vertices(head, face)[np.asarray(head.faces)[np.asarray(head.lmk_faces_idx)]]
    marks = np.einsum("lk,lkc->lc", np.asarray(head.lmk_bary_coords, np.float64), corners)
    return np.linalg.norm(marks[[37, 38, 43, 44]] - marks[[41, 40, 47, 46]], axis=1)


def test_shut_eyes_are_nearly_closed_on_both_sides(head, sampler):
    shut = sampler.with_expression(CALM, "eyes_shut", np.random.default_rng(0))
    assert (lid_gaps(head, shut) < 0.5 * lid_gaps(head, CALM)).all()


def test_puffed_cheeks_come_out(head, sampler):
    puffed = sampler.with_expression(CALM, "puffed", np.random.default_rng(0))
    cheek = np.asarray(head.region("cheek_left"))
    moved = vertices(head, puffed)[cheek] - vertices(head, CALM)[cheek]
    assert moved[:, 0].mean() > 0.0005


def test_an_open_mouth_is_wide_and_no_name_changes_nothing(sampler, rng):
    assert sampler.with_expression(CALM, "mouth_open", rng).jaw_pose[0] > 0.2
    assert sampler.with_expression(CALM, "", rng) is CALM


def test_faces_are_mostly_calm_and_within_the_range_of_the_model(sampler, rng):
    faces = [sampler(rng) for _ in range(300)]
    assert np.abs([face.expression for face in faces]).max() <= 3.5
    opening = np.array([face.jaw_pose[0] for face in faces])
    assert opening.max() > 0.3 and np.median(opening) < 0.06
