"""Traced programs are found again by a new process, and only where they are the same program."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct

from dice_jax import kept_programs
from dice_jax.kept_programs import KeptProgram


class Pair(struct.PyTreeNode):
    first: jax.Array
    second: jax.Array | None = None


class Named(struct.PyTreeNode):
    values: jax.Array
    name: object = struct.field(pytree_node=False)


@pytest.fixture
def folder(tmp_path):
    before = jax.config.values["jax_compilation_cache_dir"]
    jax.config.update("jax_compilation_cache_dir", str(tmp_path))
    yield tmp_path / "traced"
    jax.config.update("jax_compilation_cache_dir", before)


@pytest.fixture
def new_process():
    """Makes the function as a new process would; counts how often it is traced."""
    traced = []

    def make():
        @functools.partial(jax.jit, static_argnames="times")
        def function(named, y, *, times=1):
            traced.append(times)
            return Pair(times * named.values + y["y"], jnp.sin(y["y"]))

        return KeptProgram(function, (Pair,))

    make.traced = traced
    return make


def inputs(rng, size=3, name="a"):
    return Named(rng.normal(size=size).astype(np.float32), name), {"y": jnp.ones(size)}


def check(result, named, y, times=1):
    np.testing.assert_allclose(result.first, times * named.values + y["y"], rtol=1e-6)
    np.testing.assert_allclose(result.second, np.sin(y["y"]), rtol=1e-6)


def test_a_new_process_does_not_trace(folder, new_process, rng):
    given = inputs(rng)
    check(new_process()(*given), *given)
    assert len(new_process.traced) == 1 and len(list(folder.iterdir())) == 1
    again, other = new_process(), inputs(rng)
    check(again(*other), *other)
    check(again(*given), *given)
    assert len(new_process.traced) == 1


@pytest.mark.parametrize("change", ["shape", "static argument", "static field", "package", "jax"])
def test_whatever_a_program_depends_on_makes_another(folder, new_process, rng, change, monkeypatch):
    new_process()(*inputs(rng))
    size, name, times = 3, "a", 1
    if change == "shape":
        size = 4
    elif change == "static field":
        name = "b"
    elif change == "static argument":
        times = 2
    elif change == "package":
        monkeypatch.setattr(kept_programs, "_of_package", lambda: "other code")
    else:
        monkeypatch.setattr(kept_programs.importlib.metadata, "version", lambda name: "9.9")
    given = inputs(rng, size, name)
    check(new_process()(*given, times=times), *given, times)
    assert len(new_process.traced) == 2 and len(list(folder.iterdir())) == 2


class Printed:
    def __init__(self, text):
        self.text = text

    def __repr__(self):
        return self.text


@pytest.mark.parametrize("text", ["<object at 0x7f1200>", str(np.arange(5000))], ids=len)
def test_what_cannot_be_told_apart_is_not_kept(folder, new_process, rng, text):
    given = inputs(rng, name=Printed(text))
    check(new_process()(*given), *given)
    assert not folder.exists()


@pytest.mark.parametrize("damage", ["cut", "changed", "empty"])
def test_a_damaged_file_is_made_again(folder, new_process, rng, damage):
    given = inputs(rng)
    new_process()(*given)
    (path,) = folder.iterdir()
    whole = path.read_bytes()
    broken = bytearray(whole)
    broken[len(broken) // 2] ^= 1
    path.write_bytes({"cut": whole[:100], "changed": bytes(broken), "empty": b""}[damage])
    check(new_process()(*given), *given)
    assert len(new_process.traced) == 2
    check(new_process()(*given), *given)
    assert len(new_process.traced) == 2


def test_under_transformations_it_is_the_function_itself(folder, new_process, rng):
    named, y = inputs(rng)
    kept = new_process()
    check(jax.jit(lambda *args: kept(*args))(named, y), named, y)
    slope = jax.grad(lambda y: kept(named, {"y": y}).first.sum())(y["y"])
    np.testing.assert_allclose(slope, 1.0)
    many = jax.vmap(lambda y: kept(named, {"y": y}).first)(jnp.ones((2, 3)))
    np.testing.assert_allclose(many[0], named.values + 1, rtol=1e-6)
    assert not folder.exists()


def test_arrays_of_another_device_stay_there(folder, new_process, rng):
    other = jax.devices()[1]
    given = jax.device_put(inputs(rng), other)
    result = new_process()(*given)
    check(result, *given)
    assert result.first.devices() == {other} and not folder.exists()


def test_without_a_folder_nothing_is_kept(folder, new_process, rng):
    jax.config.update("jax_compilation_cache_dir", None)
    given = inputs(rng)
    check(new_process()(*given), *given)
    assert not folder.exists()


def test_a_folder_that_cannot_be_written_only_costs_time(folder, new_process, rng):
    folder.write_text("a file where the folder should be")
    given = inputs(rng)
    check(new_process()(*given), *given)
    check(new_process()(*given), *given)
    assert len(new_process.traced) == 2


def test_old_programs_are_deleted(folder, new_process, rng, monkeypatch):
    monkeypatch.setattr(kept_programs, "_MANY", 2)
    for size in (3, 4, 5, 6):
        new_process()(*inputs(rng, size))
    assert len(list(folder.iterdir())) == 2


def test_results_with_static_fields_are_refused(folder):
    kept = KeptProgram(jax.jit(lambda x: Named(x, "a")), (Named,))
    with pytest.raises(TypeError, match="no static fields"):
        kept(jnp.ones(3))
