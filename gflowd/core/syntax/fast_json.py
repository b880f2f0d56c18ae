"""JSON by the two C functions under the standard library's `json`; importing `json` takes a tenth of gflowctl's start.

Returns what `json` does, and calls `json` itself for unusual values.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Scan = Callable[[str, int], tuple[Any, int]]
    Chunks = Callable[[object, int], tuple[str, ...]]


class _Reading:
    """How to read, in the names that the scanner looks for."""

    strict = True
    object_hook = object_pairs_hook = None
    parse_float = parse_constant = float  # NaN and Infinity, as `json` takes them
    parse_int = int
    memo: dict[str, str] = {}  # noqa: RUF012 -- the scanner's own


def _refuse(value: object) -> None:
    raise TypeError(f"{type(value).__name__} is not JSON")


def _unable(_value: object, _at: int) -> Any:  # pragma: no cover
    raise StopIteration


def _in_c() -> tuple[Scan, Chunks]:
    try:
        from _json import encode_basestring, make_encoder, make_scanner

        chunks = make_encoder(None, _refuse, encode_basestring, None, ":", ",", False, False, False)
        return make_scanner(_Reading), chunks  # type: ignore[arg-type] # it wants no more than these attributes
    except (ImportError, AttributeError, TypeError):  # pragma: no cover -- an unknown version of Python
        return _unable, _unable


_scan, _chunks = _in_c()


def loads(data: bytes | str) -> Any:
    """The value of a JSON document. Raises ValueError, RecursionError."""
    try:
        text = data if isinstance(data, str) else data.decode()
        value, end = _scan(text, 0)
        if end == len(text):
            return value
    except (StopIteration, ValueError):
        pass
    import json

    return json.loads(data)


def dumps(value: object) -> bytes:
    """Compact JSON in UTF-8, byte for byte what orjson writes for what we store. Raises ValueError, TypeError."""
    try:
        return "".join(_chunks(value, 0)).encode()
    except StopIteration:  # pragma: no cover
        import json

        return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
