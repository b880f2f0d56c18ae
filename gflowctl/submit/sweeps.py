"""Arrays and sweeps from options. Imported only if needed."""

from __future__ import annotations

from gflowd.core.errors import BadUsage, Refused
from gflowd.core.job import arrays
from gflowd.core.job.arrays import Axis, Family
from gflowd.core.job.model import Job, Queued, Wish
from gflowd.core.request import sweep_parameters, validation

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterable, Iterator
    from typing import TypeVar

    from gflowd.core.job.model import Spec

    Found = TypeVar("Found")

LARGEST_TABLE = 4 * validation.LARGEST_SCRIPT  # bytes


def asked(args: argparse.Namespace) -> Family:
    """The array or sweep that the options ask for. Raises `Refused`, or `BadUsage` for options that do not fit
    together.
    """
    if args.array is None and not args.param and args.param_file is None:
        raise BadUsage(f"{_first(args)} needs --array, --param or --param-file")
    ranges, concurrent = ((), None) if args.array is None else _said("--array", arrays.parse_array, args.array)
    if concurrent is not None and args.max_concurrent is not None:
        raise BadUsage("give either --max-concurrent or a number after % in --array, not both")
    axes = [
        given if isinstance(given, Axis) else _said("--param", sweep_parameters.parse_param, given)
        for given in args.param
    ]
    if args.param_file is not None:
        axes.append(_said(f"--param-file {args.param_file}", sweep_parameters.parse_csv, _table(args.param_file)))
    return arrays.new_family(
        ranges,
        axes,
        max_concurrent=concurrent if args.max_concurrent is None else args.max_concurrent,
        max_failures=args.max_failures,
    )


def _first(args: argparse.Namespace) -> str:
    if args.name_template is not None:
        return "--name-template"
    return "--max-concurrent" if args.max_concurrent is not None else "--max-failures"


def _said(option: str, parse: Callable[[str], Found], given: str) -> Found:
    try:
        return parse(given)
    except Refused as error:
        raise Refused(f"{option}: {error}") from None


def _table(path: str) -> str:
    try:
        with open(path, "rb") as file:
            content = file.read(LARGEST_TABLE + 1)
    except OSError as error:
        raise Refused(f"--param-file {path}: {error.strerror}") from None
    except ValueError:
        raise Refused("--param-file: the name contains a NUL character") from None
    if len(content) > LARGEST_TABLE:
        raise Refused(f"--param-file {path}: larger than {LARGEST_TABLE >> 20} MiB")
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise Refused(f"--param-file {path}: not valid UTF-8") from None


def jobs(spec: Spec, first_id: int, wish: Wish) -> Iterator[Job]:
    """The elements, as they are submitted."""
    assert spec.family is not None
    return (Job(first_id + place, spec, wish, Queued(), first_id) for place in range(arrays.size(spec.family)))


def part(family: Family, positions: Iterable[int]) -> Family:
    """Some elements of a family as a family of their own. Elements of an array keep their indices."""
    ascending = sorted(positions)
    if not family.axes:
        from gflowd.core.syntax import ranges

        kept = ranges.compact(arrays.index_of(family, position) for position in ascending)
        return family.replace(ranges=tuple(kept))
    names = tuple(name for axis in family.axes for name in axis.names)
    rows = tuple(tuple(arrays.parameters(family, position).values()) for position in ascending)
    return family.replace(axes=(Axis(names=names, rows=rows),), overrides=())
