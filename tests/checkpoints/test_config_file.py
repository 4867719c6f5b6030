"""The configuration beside weights is checked whole: one line names the field at fault."""

import json
import math

import pytest

from dice_jax.checkpoints import config_file
from dice_jax.errors import UserError
from dice_jax.models import presets


def leaves(tree, path=()):
    """The path of every field of nested sections."""
    for name, value in tree.items():
        yield from leaves(value, (*path, name)) if isinstance(value, dict) else [(*path, name)]


def replaced(tree, path, value):
    name, *rest = path
    return tree | {name: replaced(tree[name], rest, value) if rest else value}


CONTENT = {
    "model": json.loads(json.dumps(presets.full().to_dict())),
    "body_models": {"hand": "", "head": "flame"},
    "data": {"name": "hand_face_synth", "dir": "", "sizes": {"train": 5}},
}
FIELDS = [
    *(("model", *path) for path in leaves(CONTENT["model"])),
    *[("body_models", "hand"), ("data", "name"), ("data", "dir"), ("data", "sizes")],
    *[("model",), ("body_models",), ("data",), ("model", "backbone"), ("model", "mesh_net")],
]
FREE_TEXTS = {
    ("model", "backbone", "pretrained"),
    ("body_models", "hand"),
    ("data", "name"),
    ("data", "dir"),
}
# No field may have any of these.
WRONG = [{"a": 1}, [[1]], "x" * 30, -1e9, 1e30, math.nan, math.inf, True, None, [1] * 100, 10**400]


def load(folder, content):
    text = content if isinstance(content, str) else json.dumps(content)
    (folder / config_file.CONFIG_FILE).write_text(text)
    return config_file.load_config(folder)


def refused(folder, content):
    with pytest.raises(UserError) as caught:
        load(folder, content)
    message = str(caught.value)
    assert "config.json" in message and "\n" not in message and len(message) < 600
    return message


def value_at(path):
    value = CONTENT
    for name in path:
        value = value[name]
    return value


def allowed(path, wrong):
    """Whether the value is right there after all."""
    is_text = isinstance(wrong, str) and path in FREE_TEXTS
    return is_text or (isinstance(wrong, bool) and isinstance(value_at(path), bool))


@pytest.mark.parametrize("path", FIELDS, ids=".".join)
def test_every_field_refuses_every_wrong_value_with_its_path(tmp_path, path):
    load(tmp_path, CONTENT)
    for wrong in WRONG:
        if allowed(path, wrong) or (wrong is None and path == ("body_models", "hand")):
            continue
        if isinstance(value_at(path), dict) and isinstance(wrong, dict) and path[0] != "model":
            continue  # sections that may have other fields
        message = refused(tmp_path, replaced(CONTENT, path, wrong))
        not_finite = isinstance(wrong, float) and not math.isfinite(wrong)
        assert not_finite or ".".join(path) in message


@pytest.mark.parametrize(
    "content",
    [
        *["", "[]", "5", '"text"', "null", "{", '{"model": 5}', "[" * 100_000, '{"a":' * 100_000],
        *['{"model": {"a.b": 1}}', '{"__class__": 1}', '{"items": 1}', '{"model": {"keys": {}}}'],
        *["<!DOCTYPE html>", "version https://git-lfs.github.com/spec/v1\n", '{"a": NaN}'],
        '{"model": {"masking": 1' + "0" * 5000 + "}}",
        '{"a": "' + "x" * 2**21 + '"}',
    ],
)
def test_what_is_no_configuration_is_one_line(tmp_path, content):
    refused(tmp_path, content)


def test_bytes_that_are_no_text_are_one_line(tmp_path):
    (tmp_path / config_file.CONFIG_FILE).write_bytes(b"\xff\xfe{\x00}")
    with pytest.raises(UserError, match=r"config\.json"):
        config_file.load_config(tmp_path)


@pytest.mark.parametrize(
    "path, value",
    [
        (("model", "mesh_net", "refinements"), 10**9),
        (("model", "masking"), "x"),
        (("model", "mesh_net", "encoders", "heads"), 0),
        (("model", "mesh_net", "encoders", "dropout"), 1.0),
        (("model", "query_tip_ids"), [778]),
        (("model", "backbone", "width"), 0),
    ],
)
def test_a_value_out_of_range_is_refused_with_its_range(tmp_path, path, value):
    assert ".".join(path) in refused(tmp_path, replaced(CONTENT, path, value))
