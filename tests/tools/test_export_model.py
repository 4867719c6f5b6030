"""The exported program, loaded without the package, computes what `infer` computes."""

import json
import subprocess
import sys

import numpy as np
import pytest
from support.tiny_model import save_tiny_weights

import dice_jax
from dice_jax import errors
from dice_jax.tools import export_model


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Exported by the command line: shape checks of the tests know no symbolic sizes."""
    folder = tmp_path_factory.mktemp("export")
    weights = save_tiny_weights(folder / "tiny")
    command = [sys.executable, "-m", "dice_jax.tools.export_model", "--weights", str(weights)]
    done = subprocess.run(
        [*command, "--out", str(folder / "out")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "largest difference from infer" in done.stdout
    return folder


def test_the_loader_needs_no_dice_jax_and_gives_what_infer_gives(exported):
    rng = np.random.default_rng(0)
    crops = rng.integers(0, 256, (2, 7, 7, 3), np.uint8).repeat(32, 1).repeat(32, 2)
    np.save(exported / "crops.npy", crops)
    # -I: neither the working folder nor PYTHONPATH; a finder refuses an installed package.
    code = (
        "import sys, runpy, numpy as np\n"
        "sys.modules['dice_jax'] = None\n"
        "names = runpy.run_path(sys.argv[1])\n"
        "result = names['load'](sys.argv[2])(np.load(sys.argv[3]))\n"
        "np.savez(sys.argv[4], **result)\n"
    )
    out = exported / "out"
    paths = [out / "load_dice.py", out / "model.stablehlo", exported / "crops.npy"]
    result = exported / "result.npz"
    subprocess.run([sys.executable, "-I", "-c", code, *map(str, [*paths, result])], check=True)
    expected = export_model.flat(dice_jax.infer(dice_jax.load(exported / "tiny"), crops))
    about = json.loads((out / "about.json").read_text())
    with np.load(result) as found:
        assert set(found) == set(expected) == set(about["outputs"])
        for name, value in expected.items():
            np.testing.assert_allclose(found[name], value, atol=1e-3, err_msg=name)
            assert list(found[name].shape[1:]) == about["outputs"][name][1:]
            assert about["outputs"][name][0] == "N"
    assert about["platforms"] == ["cpu", "cuda"]
    assert len((out / "load_dice.py").read_text().splitlines()) <= 25


def test_a_program_that_computes_something_else_is_refused(exported):
    data = (exported / "out" / "model.stablehlo").read_bytes()
    model = dice_jax.load(exported / "tiny")

    def other(crops):
        arrays = export_model.infer_arrays(model, crops)
        return arrays | {"head_vertices": arrays["head_vertices"] + 1e-3}

    with pytest.raises(errors.UserError, match=r"differs from the network by .* in head_vertices"):
        export_model.compare(data, other)
    with pytest.raises(errors.UserError, match="other outputs"):
        export_model.compare(data, lambda crops: {"x": crops})
