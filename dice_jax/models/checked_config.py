"""Configurations as frozen dataclasses: built from nested mappings, and checked."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Literal, TypeAlias, TypeVar

from ml_collections import ConfigDict

# A section of a configuration, as read from a file or as a part of a `ConfigDict`.
Section: TypeAlias = Mapping[str, Any] | ConfigDict
# Least and largest values by field.
Ranges: TypeAlias = Mapping[str, tuple[float, float]]
_MAX_LENGTH = 64  # of a list
ConfigType = TypeVar("ConfigType", bound="CheckedConfig")


@dataclasses.dataclass(frozen=True)
class CheckedConfig:
    """Base class of the configurations.

    Each field must have its annotated type, and a field with a `Literal` one of its values. Numbers
    are finite and in the range of `RANGES`, or in `DEFAULT_RANGE`. Rules that involve several
    fields are in `problems`.
    """

    # The least and the largest value of numbers, by field; of each number of a tuple.
    RANGES: ClassVar[Ranges] = {}
    DEFAULT_RANGE: ClassVar[tuple[float, float]] = (0, 16_384)

    def problems(self, path: str) -> Iterator[str]:
        """Yields one line for each rule that the fields break, with the full path of each field.

        Args:
            path: path of this configuration, such as "model.mesh_net".
        """
        yield from ()

    def check(self, path: str) -> None:
        """Checks this configuration and those inside it.

        Raises:
            ValueError: in one line, the path of the first field that is wrong and its choices.
        """
        for name, annotation in typing.get_type_hints(type(self)).items():
            value = getattr(self, name)
            if typing.get_origin(annotation) is ClassVar:
                continue
            limits = self.RANGES.get(name, self.DEFAULT_RANGE)
            check_value(annotation, value, limits, f"{path}.{name}")
            if isinstance(value, CheckedConfig):
                value.check(f"{path}.{name}")
        for problem in self.problems(path):
            raise ValueError(problem)

    @classmethod
    def from_dict(cls: type[ConfigType], values: Section, path: str) -> ConfigType:
        """Builds the configuration from nested mappings, such as a section of a `ConfigDict`.

        Args:
            values: fields by name. Lists become tuples, and fields left out keep their defaults.
            path: path of the section, for error messages.

        Raises:
            ValueError: an unknown field or a wrong value; one line that names the field's path.
        """
        config = cls._build(values, path)
        config.check(path)
        return config

    @classmethod
    def _build(cls: type[ConfigType], values: Any, path: str) -> ConfigType:
        if not isinstance(values, Mapping | ConfigDict):
            raise ValueError(f"{path} is {values!r:.40}, not a section with fields")
        hints = typing.get_type_hints(cls)
        annotations = {field.name: hints[field.name] for field in dataclasses.fields(cls)}
        if unknown := sorted(set(values) - set(annotations)):
            fields = ", ".join(annotations)
            raise ValueError(f"{path} has no field {', '.join(unknown)}: the fields are {fields}")
        fields = {}
        for name, value in values.items():
            annotation = annotations[name]
            if isinstance(annotation, type) and issubclass(annotation, CheckedConfig):
                value = annotation._build(value, f"{path}.{name}")
            value = tuple(value) if isinstance(value, list) else value
            limits = cls.RANGES.get(name, cls.DEFAULT_RANGE)
            check_value(annotation, value, limits, f"{path}.{name}")
            fields[name] = value
        if missing := [
            field.name
            for field in dataclasses.fields(cls)
            if field.name not in fields and field.default is dataclasses.MISSING
        ]:
            raise ValueError(f"{path} lacks {', '.join(missing)}")
        return cls(**fields)


def check_value(annotation: Any, value: Any, limits: tuple[float, float], path: str) -> None:
    """Checks one value of a configuration.

    Args:
        annotation: its type: bool, int, float (which takes integers too), str, a `Literal`, or a
            tuple of these.
        value: the value.
        limits: least and largest value of a number, or of each number of a tuple.
        path: of the field.

    Raises:
        ValueError: another type, no finite number, or outside of the limits; one line with the
            path.
    """
    found = f"{path} is {value!r:.60}"
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Literal:
        if not any(type(value) is type(choice) and value == choice for choice in arguments):
            raise ValueError(f"{found}, choose one of {', '.join(map(str, arguments))}")
    elif origin is tuple:
        if not isinstance(value, tuple):
            raise ValueError(f"{found}, not a list")
        varying = arguments[-1] is Ellipsis
        if not varying and len(value) != len(arguments):
            raise ValueError(f"{found}, not a list of {len(arguments)}")
        if len(value) > _MAX_LENGTH:
            raise ValueError(f"{path} has {len(value)} entries, more than {_MAX_LENGTH}")
        for index, entry in enumerate(value):
            check_value(arguments[0], entry, limits, f"{path}[{index}]")
    elif annotation is bool:
        if not isinstance(value, bool):
            raise ValueError(f"{found}, choose True or False")
    elif annotation in (int, float):
        low, high = limits
        kind = int if annotation is int else int | float
        if isinstance(value, bool) or not isinstance(value, kind):
            wanted = "a whole number" if annotation is int else "a number"
            raise ValueError(f"{found}, not {wanted}")
        if not low <= value <= high:  # NaN neither
            raise ValueError(f"{found}, not from {low:g} to {high:g}")
    elif annotation is str and not isinstance(value, str):
        raise ValueError(f"{found}, not text")
