"""Configurations as frozen dataclasses: built from nested mappings, and checked."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterator, Mapping
from typing import Any, Literal, TypeAlias, TypeVar

from ml_collections import ConfigDict

# A section of a configuration, as read from a file or as a part of a `ConfigDict`.
Section: TypeAlias = Mapping[str, Any] | ConfigDict
ConfigType = TypeVar("ConfigType", bound="CheckedConfig")


@dataclasses.dataclass(frozen=True)
class CheckedConfig:
    """Base class of the configurations.

    A field annotated with a `Literal` may hold one of the literal's values only. Rules that involve
    several fields are in `problems`.
    """

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
            _check_choice(annotation, value, f"{path}.{name}")
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
    def _build(cls: type[ConfigType], values: Section, path: str) -> ConfigType:
        annotations = typing.get_type_hints(cls)
        if unknown := sorted(set(values) - set(annotations)):
            fields = ", ".join(annotations)
            raise ValueError(f"{path} has no field {', '.join(unknown)}: the fields are {fields}")
        fields = {}
        for name, value in values.items():
            annotation = annotations[name]
            if isinstance(annotation, type) and issubclass(annotation, CheckedConfig):
                value = annotation._build(value, f"{path}.{name}")
            _check_choice(annotation, value, f"{path}.{name}")
            fields[name] = tuple(value) if isinstance(value, list) else value
        return cls(**fields)


def _check_choice(annotation: Any, value: Any, path: str) -> None:
    """Raises a ValueError if `annotation` is a `Literal` without `value`."""
    choices = typing.get_args(annotation)
    if typing.get_origin(annotation) is Literal and value not in choices:
        listed = ", ".join(map(str, choices))
        raise ValueError(f"{path} is {value!r}, choose one of {listed}")
