r"""
# Values

YAML becomes plain values that remember their lines, and typed readers make something of them. A
reader takes a plain value and returns what it means, or raises `Wrong`, which says at which place
and what to do; what is wrong at several places is said of each.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from keyword import iskeyword
from typing import Any, TypeVar

T = TypeVar("T")
Read = Callable[[Any], T]
# Keys and positions on the way to a value: `("claims", 0, "margin")`.
Place = tuple[str | int, ...]
# The YAML is wrong as a whole; its place is that of all the others.
TOP: Place = ()


class Wrong(ValueError):
    """What is wrong, and where: for each, its place below the value that was read."""

    def __init__(self, found: Iterable[tuple[Place, str]]) -> None:
        self.found = tuple(found)
        super().__init__("; ".join(message for _, message in self.found))


def wrong(message: str, *place: str | int) -> Wrong:
    return Wrong([(place, message)])


def gather(
    readers: Mapping[Any, Read[Any]], values: Mapping[Any, Any]
) -> tuple[dict[Any, Any], list[tuple[Place, str]]]:
    """Each value read by the reader of its key, and what is wrong with those that cannot be."""
    done, found = {}, []
    for key, value in values.items():
        try:
            done[key] = readers[key](value)
        except Wrong as error:
            found += [((key, *place), message) for place, message in error.found]
    return done, found


def text(value: Any) -> str:
    r"""
    ## Readers
    """
    if not isinstance(value, str) or not value.strip():
        raise wrong("must be text")
    return value.strip()


def number(value: Any) -> float:
    # To YAML, `1e-6` is text.
    if isinstance(value, str) and re.fullmatch(r"[-+]?[\d.]+[eE][-+]?\d+", value):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise wrong("must be a number")
    return float(value)


def words(value: Any) -> str:
    """Text that may be empty, or a number that is meant as text."""
    if isinstance(value, bool) or not (value is None or isinstance(value, str | int | float)):
        raise wrong("must be text")
    return "" if value is None else str(value)


def one_of(*choices: str) -> Read[str]:
    def chosen(value: Any) -> str:
        if value not in choices:
            raise wrong(f"must be one of {', '.join(choices)}")
        return str(value)

    return chosen


def each(read: Read[T], what: str) -> Read[tuple[T, ...]]:
    """A list, of which every item is read."""

    def items(value: Any) -> tuple[T, ...]:
        if not isinstance(value, list) or not value:
            raise wrong(f"must be a list of {what}")
        numbered = dict(enumerate(value))
        done, found = gather(dict.fromkeys(numbered, read), numbered)
        if found:
            raise Wrong(found)
        return tuple(done.values())

    return items


def table(read: Read[T], what: str) -> Read[dict[str, T]]:
    """A mapping whose keys are the author's own."""

    def rows(value: Any) -> dict[str, T]:
        if not isinstance(value, dict):
            raise wrong(f"must be a mapping of {what}")
        done, found = gather(dict.fromkeys(value, read), value)
        if found:
            raise Wrong(found)
        return {str(key): item for key, item in done.items()}

    return rows


def record(cls: type[T], **readers: Read[Any]) -> Read[T]:
    r"""
    ## A mapping with known keys

    It becomes a dataclass, whose fields without a default are required. A key that is a word of
    Python's, such as `from`, is the field `from_`.
    """
    # mypy does not know that `cls` is a dataclass.
    fields: Any = dataclasses.fields(cls)  # type: ignore[arg-type]
    required = [
        field.name.rstrip("_")
        for field in fields
        if field.default is field.default_factory is dataclasses.MISSING
    ]

    def read(value: Any) -> T:
        if not isinstance(value, dict):
            raise wrong(f"must be a mapping with {', '.join(readers)}")
        known = {key: item for key, item in value.items() if key in readers}
        done, found = gather(readers, known)
        found += [(TOP, unknown(key, readers)) for key in value if key not in readers]
        if missing := [name for name in required if name not in value]:
            found.append((TOP, f"has no {', '.join(missing)}"))
        if found:
            raise Wrong(found)
        return cls(**{f"{key}_" if iskeyword(key) else key: item for key, item in done.items()})

    return read


def unknown(key: object, known: Iterable[str]) -> str:
    (near,) = difflib.get_close_matches(str(key), list(known), 1, 0)
    return f"unknown key {str(key)!r}; the nearest known one is {near!r}"


def load(
    source: str, line: int
) -> tuple[dict[str, Any], dict[Place, int], list[tuple[Place, str]]]:
    r"""
    ## Load

    The values of a mapping, the line of each key and of what is right inside it, and what is wrong.
    `line` is where the YAML begins.
    """
    # Only builds that read front matter pay for the import: 20 ms.
    import yaml

    # The parser in C where PyYAML was built with it.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)(source)
    try:
        node = loader.get_single_node()
        values = loader.construct_document(node) if node else {}
    except yaml.MarkedYAMLError as error:
        at = line + (error.problem_mark.line if error.problem_mark else 0)
        reason = f"is not YAML: {error.problem or error.context}"
        return {}, {TOP: at}, [(TOP, f"{reason}; quote a value that holds a colon")]
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        return {}, {TOP: line}, [(TOP, f"is not YAML: {error}")]
    if not isinstance(values, dict):
        return {}, {TOP: line}, [(TOP, "must be lines of `key: value`")]
    lines: dict[Place, int] = {}
    found: list[tuple[Place, str]] = []
    for place, mark in _marks(node):
        if place in lines:
            found.append((place, "stands twice; keep one"))
        lines[place] = line + mark.line
    return {str(key): value for key, value in values.items()}, lines, found


def _marks(node: Any) -> Iterator[tuple[Place, Any]]:
    """Where the keys of a mapping are, and the keys or items of their values."""
    for key, value in node.value if node else ():
        yield (str(key.value),), key.start_mark
        inside = value.value if value.id != "scalar" else ()
        for at, item in enumerate(inside):
            name, held = (str(item[0].value), item[0]) if value.id == "mapping" else (at, item)
            yield (str(key.value), name), held.start_mark
