"""Values that refuse what they cannot hold, in the line that makes them."""

from __future__ import annotations

from typing import Any, Final

NONE: Final = type(None)


def must_be(kind: Any, wanted: str, /, **values: object) -> None:
    """Raise TypeError unless each value is of ``kind``: a store would misread it, or not take it.

    The sentence never holds a text: it may be harmful.
    """
    for name, value in values.items():
        if not isinstance(value, kind):
            is_plain = value is None or isinstance(value, int | float)
            shown = repr(value) if is_plain else f"of the type {type(value).__name__}"
            raise TypeError(f"`{name}` must be {wanted}; it is {shown}")
