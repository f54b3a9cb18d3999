"""One table of a card: frozen, strict, and when it is wrong, wrong in words a person can act on."""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from pydantic_core import ErrorDetails, PydanticCustomError

_WRONG = "wrong_in_a_card"
_MAX_LINES = 8
# Pydantic puts the branch of a union that it tried among the keys.
_BRANCHES = {"float", "int", "choice", "fixed"}


class Table(BaseModel):
    """Base of everything that stands in a card: no key unknown, no type converted, no NaN."""

    model_config = ConfigDict(frozen=True, strict=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _check_keys(cls, given: Any) -> Any:
        for key in given if isinstance(given, dict) else ():
            if key not in cls.model_fields:
                expected = f"one of the keys {', '.join(cls.model_fields)}"
                raise wrong(key, received=given[key], expected=expected)
        return given


def wrong(*keys: str | int, received: object, expected: str) -> PydanticCustomError:
    """An error that a validator of a table raises.

    Args:
      keys: Where in the table; places in a list count from 0.
      received: The value that stands there; None for nothing.
      expected: What should, as a clause.
    """
    context = {"keys": keys, "received": received, "expected": expected}
    return PydanticCustomError(_WRONG, "expected {expected}", context)


def explain(error: ValidationError, name: str) -> str:
    """One line for each wrong key of the file `name`: file, key, what was received, what was expected."""
    lines: dict[str, str] = {}
    for problem in error.errors():
        key, received, expected = _parts(problem)
        # Where a union was tried branch by branch, the last branch is the widest.
        lines[key] = f"{name}: {key}: received {_shown(received)}, expected {expected}"
    texts = list(lines.values())
    if len(texts) > _MAX_LINES:
        texts[_MAX_LINES:] = [f"and {len(texts) - _MAX_LINES} more"]
    return "\n".join(texts)


def _parts(problem: ErrorDetails) -> tuple[str, object, str]:
    """Key, received and expected of one of pydantic's problems."""
    keys = [part for place, part in enumerate(problem["loc"]) if place < 2 or part not in _BRANCHES]
    kind, context, received = problem["type"], problem.get("ctx", {}), problem["input"]
    expected = problem["msg"].removeprefix("Input should be ")
    if kind == _WRONG:
        keys += context["keys"]
        received, expected = context["received"], context["expected"]
    elif kind == "missing":
        received, expected = None, "a value"
    elif kind == "union_tag_not_found":
        keys.append("type")
        received, expected = None, "'float', 'int', 'choice' or 'fixed'"
    elif kind == "union_tag_invalid":
        keys.append("type")
        received, expected = context["tag"], context["expected_tags"]
    elif kind in ("model_type", "model_attributes_type", "dict_type"):
        expected = "a table"
    elif kind in ("tuple_type", "list_type"):
        expected = "a list"
    # TOML's arrays of tables have no numbers of their own; people count from one.
    return ".".join(f"#{part + 1}" if isinstance(part, int) else part for part in keys) or "card", received, expected


def _shown(value: object) -> str:
    text = "nothing" if value is None else json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= 80 else f"{text[:77]}..."
