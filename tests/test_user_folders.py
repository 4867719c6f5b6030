"""Without a home folder everything works that needs none, and the rest says what to set."""

import os
import pathlib
import subprocess
import sys

import jax
import pytest

import dice_jax.tools
from dice_jax import user_folders, xla_flags
from dice_jax.body_models import asset_folder
from dice_jax.datasets import registry
from dice_jax.errors import UserError
from dice_jax.io import atomic
from dice_jax.tools import prepare_composites, prepare_decaf, prepare_in_the_wild

TOOLS = sorted(
    f"dice_jax.tools.{path.stem}"
    for path in pathlib.Path(dice_jax.tools.__file__).parent.glob("*.py")
    if "def main(" in path.read_text()
)
COMMANDS = ["dice_jax.train", "dice_jax.evaluate", "dice_jax.demo", *TOOLS]


@pytest.fixture(params=["none", "unwritable"])
def homeless(request, monkeypatch):
    """A user without a home folder, or with one that cannot be written."""
    for variable in ("DICE_DATA", "DICE_ASSETS"):
        monkeypatch.delenv(variable, raising=False)
    if request.param == "unwritable":
        monkeypatch.setenv("HOME", "/proc/home")  # not even the superuser can write there
        return "/proc/home"

    def no_home(path):
        if str(path).startswith("~"):
            raise RuntimeError("Could not determine home directory.")
        return path

    monkeypatch.setattr(pathlib.Path, "expanduser", no_home)
    return None


def test_compiled_programs_are_not_kept_and_one_line_says_so(homeless, capsys):
    before = jax.config.values["jax_compilation_cache_dir"]
    jax.config.update("jax_compilation_cache_dir", None)
    try:
        xla_flags.keep_compiled()
        assert jax.config.values["jax_compilation_cache_dir"] is None
    finally:
        jax.config.update("jax_compilation_cache_dir", before)
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "compiled programs are not kept" in error and "JAX_COMPILATION_CACHE_DIR" in error


def test_data_and_assets_name_the_variable_to_set(homeless):
    for function, variable in (
        (registry.data_folder, "DICE_DATA"),
        (asset_folder.assets_folder, "DICE_ASSETS"),
    ):
        if homeless:
            assert str(function()).startswith(homeless)
            continue
        with pytest.raises(UserError, match=rf"no home folder: set \${variable}"):
            function()


def test_a_path_with_a_tilde_is_one_clear_line(homeless, tmp_path):
    assert user_folders.expand(tmp_path) == tmp_path
    if homeless is None:
        with pytest.raises(UserError, match="~/data: this user has no home folder"):
            user_folders.expand("~/data")


@pytest.mark.parametrize(
    ("tool", "option"),
    [
        (prepare_composites, "--images"),
        (prepare_decaf, "--decaf"),
        (prepare_in_the_wild, "--images"),
    ],
)
@pytest.mark.parametrize("variable", ["data", ""])
def test_data_sets_are_prepared_where_training_looks_for_them(
    tool, option, variable, tmp_path, monkeypatch
):
    """Also where the variable is set to nothing."""

    def stop(path):
        raise UserError(str(path))

    (tmp_path / "train/params").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DICE_DATA", variable)
    monkeypatch.setattr(atomic, "writable_folder", stop)
    with pytest.raises(UserError) as caught:
        tool.main([f"{option}={tmp_path}"])
    assert str(caught.value) == str(registry.data_folder())


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_every_command_line_exits_with_0_without_a_home(command):
    environment = os.environ | {"HOME": "/proc/home", "PYTHONPATH": os.pathsep.join(sys.path)}
    finished = subprocess.run(
        [sys.executable, "-m", command, "--help"],
        capture_output=True,
        text=True,
        env=environment,
    )
    assert finished.returncode == 0, finished.stderr
    assert f"python -m {command}" in finished.stdout and "Traceback" not in finished.stderr
