"""The authors' weight files: names, formats and precision; damage and malicious code."""

import functools
import os
import pickle
import re
import zipfile

import numpy as np
import pytest
from flax import traverse_util
from support.command_line import exit_code

from dice_jax.checkpoints import npz_weights, official_weights
from dice_jax.models import presets
from dice_jax.models.config import ModelConfig
from dice_jax.tools import convert_hrnet, convert_official
from dice_jax.untrusted_files import torch_module

torch = pytest.importorskip("torch")
twin = pytest.importorskip("support.torch_twin")


@pytest.fixture(scope="module")
def network():
    return twin.build(twin.NARROW)


@pytest.fixture(scope="module")
def saved(network, tmp_path_factory):
    """The narrow network read from its pickled module."""
    path = tmp_path_factory.mktemp("narrow") / "model.bin"
    twin.save_module(network, path)
    return torch_module.read_module(path)


@pytest.fixture(scope="module")
def converted(saved):
    return official_weights.convert_network(saved)


def flat(converted):
    return traverse_util.flatten_dict(converted.variables, sep="/")


def assert_same(a, b, **tolerance):
    a, b = flat(a), flat(b)
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_allclose(a[name], b[name], err_msg=name, **tolerance or {"rtol": 0})


@pytest.fixture(scope="module")
def full_size():
    """The authors' network, with shapes but without values."""
    with torch.device("meta"):
        return twin.METRO_Decaf_Network_DeformBranch_Presence(twin.Sizes())


def test_every_entry_of_the_state_dict_is_either_mapped_or_unused(full_size):
    state = {
        name: np.broadcast_to(np.float32(0), tensor.shape)
        for name, tensor in full_size.state_dict().items()
    }
    assert len(state) == 2454
    assert sum(parameter.numel() for parameter in full_size.parameters()) == pytest.approx(
        297.57e6, abs=5e3
    )
    used, unused = official_weights.split_unused(official_weights.normalize_names(state))
    config = official_weights.network_config(used, {"trans_encoder": 4, "deform_encoder": 4})
    assert config == presets.release_config()
    mapped = len(used) - sum(name.endswith("num_batches_tracked") for name in used)
    assert len(official_weights.weight_shapes(config)) == mapped
    # A classifier, and for each of the five encoders three tables, a norm and a pooler.
    assert len(unused) == 2 + 5 * 7


def test_all_that_is_left_out_is_named(saved, converted):
    state = official_weights.normalize_names(saved.state)
    _, unused = official_weights.split_unused(state)
    *names, counters = [line for line in converted.left_out if ", rows " not in line]
    assert names == unused
    counted = sum(name.endswith(".num_batches_tracked") for name in state)
    assert counters == f"{counted} counters of batch norms (*.num_batches_tracked)"
    # Every number of the file is in the network, in the lines above, or in a row that is named.
    cut = {line.partition(",")[0]: line for line in converted.left_out if ", rows " in line}
    rows = {name: len(state[name]) - 843 for name in cut}
    for name, line in cut.items():
        assert line == f"{name}, rows 843 to {len(state[name]) - 1}: there are no tokens"
    left_out = sum(state[name].size for name in unused) + counted
    left_out += sum(count * state[name].shape[1] for name, count in rows.items())
    kept = sum(np.size(array) for array in flat(converted).values())
    assert kept + left_out == sum(array.size for array in state.values())


def test_the_release_preset_describes_the_release_configuration():
    assert ModelConfig.from_dict(presets.release()) == presets.release_config()


def test_sizes_are_read_from_the_file(converted):
    s, c = twin.NARROW, converted.config
    assert (c.backbone.width, c.backbone.depth, c.backbone.features) == (
        s.width,
        s.depth,
        s.features,
    )
    for encoders, hidden, outputs in (
        (c.mesh_net.encoders, s.mesh_hidden, s.mesh_outputs),
        (c.interaction_net.encoders, s.deform_hidden, s.deform_outputs),
    ):
        assert (encoders.hidden, encoders.outputs) == (hidden, outputs[:-1])
        assert (encoders.layers, encoders.feed_forward) == (
            (s.layers,) * len(hidden),
            s.feed_forward,
        )
        assert encoders.heads == s.heads  # an attribute of the pickled module
    assert (c.interaction_net.projection, c.camera.hidden, c.presence_hidden) == (
        s.projection,
        s.camera,
        s.presence,
    )
    assert (c.hand_ik.hidden, c.hand_ik.level, c.head_ik.hidden, c.head_ik.level) == (
        s.ik,
        0,
        s.ik,
        1,
    )


def test_all_formats_and_name_variants_give_the_same_weights(network, converted, tmp_path):
    path = tmp_path / "weights.bin"
    twin.save_module(torch.nn.DataParallel(network), path, zipped=False)
    assert_same(official_weights.convert_network(torch_module.read_module(path)), converted)
    digit = lambda match: f"encoder.{int(match[1]) - 1}."
    digits = {
        re.sub(r"encoder\.layer(\d)\.", digit, name): value
        for name, value in network.state_dict().items()
    }
    assert "deform_encoder.1.residual.bias" in digits
    torch.save({f"module.{name}": value for name, value in digits.items()}, path)
    from_state = official_weights.convert_network(torch_module.read_module(path), heads=2)
    assert_same(from_state, converted)
    assert from_state.config == converted.config and not from_state.notes


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_becomes_single_precision(saved, converted, dtype, tmp_path):
    path = tmp_path / "state.bin"
    torch.save({name: torch.tensor(value).to(dtype) for name, value in saved.state.items()}, path)
    half = official_weights.convert_network(torch_module.read_module(path), heads=2)
    assert {value.dtype for value in flat(half).values()} == {np.dtype("float32")}
    assert_same(half, converted, atol=1e-3, rtol=1e-2)


def replace_tensors(saved, **changes):
    """The saved network with some tensors replaced; None removes one."""
    state = {**saved.state, **changes}
    return saved._replace(state={name: value for name, value in state.items() if value is not None})


def test_all_tensors_that_do_not_fit_are_listed(saved):
    value = saved.state["feat_downsampler.bias"]
    bad = replace_tensors(
        saved,
        **{
            "surprise.weight": value,
            "trans_encoder.layer1.bert.LayerNorm.weight": value,
            "cam_param_fc3.bias": None,
            "feat_downsampler.bias": value[:-1],
            "head_upsampling2.bias": np.full(5023, np.nan, np.float32),
        },
    )
    with pytest.raises(official_weights.MismatchError, match="5 tensors do not fit") as caught:
        official_weights.convert_network(bad)
    problems = "\n".join(caught.value.problems)
    for line in (
        "surprise.weight is unknown",
        "trans_encoder.0.bert.LayerNorm.weight is unknown",
        "params/camera/output/bias is missing",
        "head_upsampling2.bias holds NaN",
        "feat_downsampler.bias has, as params/interaction_net/projection/bias, "
        f"shape ({len(value) - 1},), wanted",
    ):
        assert line in problems
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "name", ["conv_learn_tokens.weight", "backbone.conv1.weight", "cam_param_fc2.bias"]
)
def test_a_missing_tensor_stops_the_conversion(saved, name):
    with pytest.raises(ValueError, match=r"missing|there is no"):
        official_weights.convert_network(replace_tensors(saved, **{name: None}))


def test_tensors_of_impossible_shapes_are_refused(saved):
    with pytest.raises(ValueError, match="some weights are not matrices"):
        official_weights.convert_network(
            replace_tensors(
                saved, **{"hand_param_regressor.regressor.0.fc_block.0.weight": np.zeros(3)}
            )
        )
    with pytest.raises(ValueError, match="3 attention heads do not divide its widths"):
        official_weights.convert_network(saved._replace(modules={}), heads=3)


def test_check_weights_names_any_single_missing_weight(converted):
    variables = flat(converted)
    shapes = official_weights.weight_shapes(converted.config)
    expected = traverse_util.unflatten_dict(shapes, sep="/")
    assert len(variables) > 500
    for name in list(variables):
        *parents, last = name.split("/")
        parent = functools.reduce(dict.__getitem__, parents, converted.variables)
        value = parent.pop(last)
        with pytest.raises(
            ValueError, match=f"1 of {len(variables)} weights are missing, first {name}$"
        ):
            npz_weights.check_weights(converted.variables, expected)
        parent[last] = value
    npz_weights.check_weights(converted.variables, expected)


@pytest.mark.parametrize(
    "content", [b"no array", np.arange(3) + 5021, np.array([0.5]), np.array(["neck"])]
)
def test_a_damaged_list_of_neck_vertices_is_reported_in_one_line(
    tmp_path, capsys, network, content
):
    twin.save_module(network, tmp_path / "model.bin")
    path = tmp_path / "neck_idx.npy"
    path.write_bytes(content) if isinstance(content, bytes) else np.save(path, content)
    arguments = [str(tmp_path / "model.bin"), "--out", str(tmp_path / "out")]
    assert exit_code(convert_official.main, arguments) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and str(path) in error and not (tmp_path / "out").exists()


class Bomb:
    """Writes a file when it is unpickled without care."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return functools.partial(open, mode="w"), (str(self.path),)


class ShellBomb(Bomb):
    """Runs a shell command when it is unpickled without care."""

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("bomb", [Bomb, ShellBomb])
@pytest.mark.parametrize("zipped", [True, False])
def test_malicious_code_is_refused_and_not_executed(tmp_path, capsys, bomb, zipped):
    trap, path = tmp_path / "trap", tmp_path / "model.bin"
    module = twin.FCBlock(2, 2)
    module.config = bomb(trap)  # among the attributes of a module
    twin.save_module(module, path, zipped=zipped)
    assert exit_code(convert_official.main, [str(path), "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and str(path) in error and " names " in error
    assert not trap.exists() and not (tmp_path / "out").exists()


@pytest.mark.parametrize("convert, suffix", [(convert_official, ""), (convert_hrnet, ".npz")])
def test_other_kinds_of_files_are_reported_in_one_line(tmp_path, capsys, convert, suffix):
    whole, path, out = tmp_path / "whole.bin", tmp_path / "file.bin", tmp_path / f"out{suffix}"
    torch.save({"fc.weight": torch.zeros(300, 300)}, whole)
    torch.save([1, 2], tmp_path / "list.bin")
    contents = {
        "truncated": whole.read_bytes()[:1000],
        "text": b"These are not weights.\n" * 100,
        "empty": b"",
        "another network": whole.read_bytes(),
        "a pickle": pickle.dumps({"a": 1}),
        "a list": (tmp_path / "list.bin").read_bytes(),
    }
    for what, content in contents.items():
        path.write_bytes(content)
        assert exit_code(convert.main, [str(path), "--out", str(out)]) == 2, what
        error = capsys.readouterr().err
        assert error.startswith("error: ") and error.count("\n") == 1 and str(path) in error, (
            what,
            error,
        )
        assert not out.exists()
    assert exit_code(convert.main, [str(tmp_path / "nowhere"), "--out", str(out)]) == 2
    assert "no weights at" in capsys.readouterr().err


def test_a_truncated_storage_is_reported_with_the_file(saved, tmp_path):
    path, cut = tmp_path / "state.bin", tmp_path / "cut.bin"
    torch.save({"a": torch.zeros(1000)}, path)
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(cut, "w") as new:
        for name in old.namelist():
            new.writestr(name, old.read(name)[:400] if "/data/" in name else old.read(name))
    with pytest.raises(ValueError, match=r"cut\.bin is not a PyTorch module or state_dict"):
        torch_module.read_module(cut)
