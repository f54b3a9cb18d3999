"""What sets two studies apart."""

from collections.abc import Mapping
from typing import Final

# What these are where parts name none, see FeatureKey.parts and digest.outcome.
_UNNAMED: Final = {"aspect": "squash", "device": "cpu", "storage": "float32"}


def differences(old: Mapping[str, object], new: Mapping[str, object], prefix: str = "") -> tuple[str, ...]:
    """Which parts of two studies differ, as "key: old -> new" lines."""
    lines: list[str] = []
    for key in sorted({*old, *new}):
        before, after = (_as_mapping(parts.get(key, _UNNAMED.get(key))) for parts in (old, new))
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            lines.extend(differences(before, after, f"{prefix}{key}."))
        elif before != after:
            shown = (_short(before), _short(after))
            lines.append(f"{prefix}{key}: {shown[0]} -> {shown[1]}")
    return tuple(lines)


def _as_mapping(value: object) -> object:
    """A list of tables as a table with the keys #1, #2, ...; anything else as it is."""
    if isinstance(value, list) and any(isinstance(entry, Mapping) for entry in value):
        return {f"#{number}": entry for number, entry in enumerate(value, 1)}
    return value


def _short(value: object) -> str:
    if isinstance(value, Mapping):
        inside = {key: f"({_short(one)})" if isinstance(one, Mapping) else one for key, one in value.items()}
        return ", ".join(f"{key} {entry}" for key, entry in inside.items() if entry is not None)
    return "nothing" if value is None else str(value)
