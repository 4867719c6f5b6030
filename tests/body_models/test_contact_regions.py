"""Contacts by region: a fingertip at a cheek is said to be that."""

import dataclasses

import numpy as np
import pytest
from support.detected_person import left_hand, touching_person

from dice_jax.body_models import assets, contact_regions
from dice_jax.body_models.contact_regions import region_contacts


@pytest.fixture(scope="module")
def bodies():
    return assets.load_hand(), assets.load_head()


def test_fingertips_at_the_right_cheek(bodies):
    """The fixture's index and middle finger deform the right cheek."""
    contacts = region_contacts(touching_person(), *bodies)
    surest = contacts[0]
    assert surest.hand == "right" and surest.probability > 0.9
    assert {contact.hand_region for contact in contacts} & {"index fingertip", "middle fingertip"}
    assert "right cheek" in {contact.head_region for contact in contacts}
    assert "fingertip on right cheek" in " ".join(map(str, contacts))
    order = [contact.probability for contact in contacts]
    assert order == sorted(order, reverse=True)
    probabilities = touching_person().hands[0].contact_probs
    assert sum(contact.vertices for contact in contacts) == (probabilities > 0.5).sum()


def test_without_a_head_without_contact_and_with_a_far_hand_nothing_touches(bodies):
    person = touching_person()
    (hand,) = person.hands
    calm = dataclasses.replace(hand, contact_probs=np.zeros(778))
    far = dataclasses.replace(hand, vertices=hand.vertices + 1.0)
    for change in ({"head": None}, {"hands": ()}, {"hands": (calm,)}, {"hands": (far,)}):
        assert region_contacts(dataclasses.replace(person, **change), *bodies) == []


def test_both_hands_are_told_apart(bodies):
    person = touching_person()
    (hand,) = person.hands
    both = dataclasses.replace(person, hands=(hand, left_hand(hand)))
    contacts = region_contacts(both, *bodies)
    assert {contact.hand for contact in contacts} == {"right", "left"}
    touched = lambda hand: {c.head_region for c in contacts if c.hand == hand}
    assert "left cheek" in touched("left") and "left cheek" not in touched("right")


def test_every_vertex_has_a_region(bodies):
    hand_model, head_model = bodies
    for names, ids in (
        contact_regions.hand_regions(hand_model),
        contact_regions.head_regions(head_model),
    ):
        assert len(set(names)) == len(names)
        assert ids.min() >= 0 and ids.max() < len(names)
    names, ids = contact_regions.hand_regions(hand_model)
    tips = ids[np.asarray(hand_model.tip_ids)]
    assert [names[tip] for tip in tips] == [
        "thumb tip",
        *(f"{finger} fingertip" for finger in ("index", "middle", "ring", "little")),
    ]
    names, ids = contact_regions.head_regions(head_model)
    vertices = np.asarray(head_model.v_template)
    x = lambda name: vertices[ids == names.index(name), 0].mean()
    assert x("left cheek") * x("right cheek") < 0


def test_a_head_without_regions_has_one(bodies):
    hand_model, head_model = bodies
    bare = head_model.replace(regions=np.zeros((0, 5023), bool), region_names=())
    contacts = region_contacts(touching_person(), hand_model, bare)
    assert {contact.head_region for contact in contacts} == {"another part of the head"}
