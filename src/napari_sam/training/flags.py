"""Settings as flags of a command: each field of a dataclass one, with its docstring as the help.

Knows argparse and dataclasses; nothing of training.
"""

import argparse
import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from napari_sam.errors import TrainingError

_P = TypeVar("_P")


def add_flags(
    parser: argparse.ArgumentParser,
    params: type,
    *,
    readers: Mapping[str, Callable[[str], Any]] | None = None,
    without: frozenset[str] = frozenset(),
) -> None:
    """Give a parser a flag for each field that is a number, a text, a choice or a yes.

    Parameters
    ----------
    parser
        Gets the flags; a flag that is not given leaves nothing in its namespace.
    params
        A dataclass whose docstring describes its attributes.
    readers
        For fields of other types: what makes a value of a text.
    without
        Fields that get no flag.
    """
    helps, hints = described(params), get_type_hints(params)
    group = parser.add_argument_group("settings")
    for field in fields(params):
        reader = (readers or {}).get(field.name) or _reader(hints[field.name])
        if field.name in without or reader is None:
            continue
        options: dict[str, Any] = {"default": argparse.SUPPRESS, "help": helps[field.name]}
        choices = _choices(hints[field.name])
        if reader is bool:
            options["action"] = argparse.BooleanOptionalAction
        elif choices:
            options["choices"] = choices
        else:
            options |= {"type": _refusing(reader), "metavar": field.name.upper()}
        group.add_argument("--" + field.name.replace("_", "-"), **options)


def with_flags(params: _P, given: argparse.Namespace) -> _P:
    """The settings with those changed that were given.

    Raises
    ------
    TrainingError
        A value cannot be meant.
    """
    names = {field.name for field in fields(params)}  # type: ignore[arg-type]
    return replace(params, **{n: v for n, v in vars(given).items() if n in names})  # type: ignore[type-var]


def described(params: type) -> dict[str, str]:
    """What the docstring says of each attribute, on one line.

    Raises
    ------
    KeyError
        One of the fields is not described.
    """
    text = inspect.cleandoc(params.__doc__ or "")
    _, _, listed = text.partition("Attributes\n----------\n")
    found: dict[str, str] = {}
    for match in re.finditer(r"^(\w[\w, ]*)\n((?:[ ]{4}.*\n?|\n(?=[ ]{4}))+)", listed, re.M):
        words = " ".join(match[2].split()).replace("%", "%%").replace("``", "")
        found |= {name.strip(): words for name in match[1].split(",")}
    return {field.name: found[field.name] for field in fields(params)}


def _reader(hint: Any) -> Callable[[str], Any] | None:
    if get_origin(hint) in (Union, UnionType):
        (hint,) = (h for h in get_args(hint) if h is not NoneType)
    if get_origin(hint) is Literal:
        return str
    return hint if hint in (int, float, str, bool) else None


def _choices(hint: Any) -> tuple[str, ...]:
    return get_args(hint) if get_origin(hint) is Literal else ()


def _refusing(reader: Callable[[str], Any]) -> Callable[[str], Any]:
    """The reader, its refusal in the words of argparse."""

    def read(text: str) -> Any:
        try:
            return reader(text)
        except TrainingError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    read.__name__ = getattr(reader, "__name__", "value")  # argparse says "invalid int value"
    return read
