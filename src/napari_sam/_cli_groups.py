"""Commands with many options: a dataclass is a group of them, each of its fields an option.

Knows signatures and dataclasses; which options there are is said where the dataclasses are.
"""

import inspect
from collections.abc import Callable, Iterator
from dataclasses import MISSING, fields, is_dataclass
from functools import wraps
from typing import Any, get_type_hints

__all__ = ["grouped"]


def grouped(command: Callable[..., None]) -> Callable[..., None]:
    """A command for typer whose parameters are those of ``command``, dataclasses taken apart.

    Parameters
    ----------
    command
        Parameters with a dataclass as annotation get an instance of it; others stay as they are.

    Raises
    ------
    TypeError
        Two groups have an option of one name.
    """
    hints = get_type_hints(command, include_extras=True)
    own = inspect.signature(command).parameters
    groups: dict[str, Any] = {
        name: hint for name, hint in hints.items() if is_dataclass(hint) and name in own
    }
    options = [
        option
        for name, parameter in own.items()
        for option in (
            _options_of(groups[name])
            if name in groups
            else [parameter.replace(annotation=hints[name])]
        )
    ]
    if len({option.name for option in options}) != len(options):
        raise TypeError(f"two groups of {command.__name__} have an option of one name.")

    @wraps(command)
    def run(**given: Any) -> None:
        made = {
            name: group(**{field.name: given.pop(field.name) for field in fields(group)})
            for name, group in groups.items()
        }
        command(**made, **given)

    by_name = [option.replace(kind=inspect.Parameter.KEYWORD_ONLY) for option in options]
    run.__signature__ = inspect.Signature(by_name)  # type: ignore[attr-defined]
    run.__annotations__ = {option.name: option.annotation for option in options}
    del run.__wrapped__  # else its signature is looked at
    return run


def _options_of(group: Any) -> Iterator[inspect.Parameter]:
    hints = get_type_hints(group, include_extras=True)
    for field in fields(group):
        default = inspect.Parameter.empty if field.default is MISSING else field.default
        yield inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=default,
            annotation=hints[field.name],
        )
