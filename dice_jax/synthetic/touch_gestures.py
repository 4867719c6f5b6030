"""Gestures in which the hand touches the face, with their frequencies.

How often each part of the face is touched follows Wilson et al. (2021), Frequency of hand-to-head,
-mouth, -eyes, and -nose contacts for adults and children, J. Expo. Sci. Environ. Epidemiol. 31:
adults who do not eat touch the mouth 2.9, the eyes 2.4, the nose 2.5 and the rest of the head 6.2
times an hour. Kwok, Gralton and McLaws (2015), Face touching: a frequent habit that has
implications for hand hygiene, Am. J. Infect. Control 43, find nearly the same share of mouth, eyes
and nose, 44 %. Mueller, Martin and Grunwald (2019), Self-touch, PLoS ONE 14(3), name cheeks and
chin for the rest. The shares of single gestures within a part are our estimate.
"""

from __future__ import annotations

import dataclasses

from dice_jax.synthetic.gestures import Gesture
from dice_jax.synthetic.head_gestures import OTHER
from dice_jax.synthetic.mouth_eye_nose_gestures import EYES, MOUTH, NOSE

TOUCHES_PER_HOUR = {"mouth": 2.9, "eyes": 2.4, "nose": 2.5, "other": 6.2}


def _shared(part: str, gestures: tuple[Gesture, ...]) -> tuple[Gesture, ...]:
    """The gestures with frequencies that add up to the touches of this part, per hour."""
    total = sum(gesture.frequency for gesture in gestures)
    factor = TOUCHES_PER_HOUR[part] / total
    scale = lambda gesture: dataclasses.replace(gesture, frequency=gesture.frequency * factor)
    return tuple(scale(gesture) for gesture in gestures)


BY_PART = {
    "mouth": _shared("mouth", MOUTH),
    "eyes": _shared("eyes", EYES),
    "nose": _shared("nose", NOSE),
    "other": _shared("other", OTHER),
}
TOUCH_GESTURES = tuple(gesture for gestures in BY_PART.values() for gesture in gestures)
