"""Every parser of what people write, as a function of bytes that may raise `GflowError` and nothing else.

For `test_fuzz_parsers` and for `make fuzz`. Beside each stand words of its language, from which inputs are made.
"""

from __future__ import annotations

import json
import os
import tempfile
import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC
from zoneinfo import ZoneInfo

from gflowctl import main
from gflowctl.admin import backup_file
from gflowctl.options import signals
from gflowd.config import loader, settings, toml_file
from gflowd.core.admission import judge
from gflowd.core.admission.policy import Policy
from gflowd.core.admission.requester import Requester
from gflowd.core.errors import GflowError
from gflowd.core.execution import log_trimming, procstat
from gflowd.core.job import array_ids, arrays, codec, dependencies, records, retries
from gflowd.core.progress import bar, report
from gflowd.core.request import script_head, sweep_parameters, update_rules
from gflowd.core.request.validation import Limits
from gflowd.core.syntax import durations, filename_patterns, instants, job_ids, memory, ranges, templates
from gflowd.paths import State
from gflowd.storage.record_log import Fold, header_record, is_torn, next_id_in
from gflowd.storage.store import Store

Target = Callable[[bytes], object]

NOW = 1_800_000_000.0
ZONES = (None, UTC, ZoneInfo("Europe/Berlin"))
SPEC = {"command": ["x"], "name": "x", "cwd": "/", "env": "e"}
ASKER, POLICY = Requester(1001, "ada", is_operator=True), Policy()
KNOWN = (1, 2, 3, 5, 8, 42, 1000)


def text(parse: Callable[[str], object]) -> Target:
    """A parser of words of a command line, in which bytes that are not UTF-8 are lone surrogates."""
    return lambda data: parse(data.decode(errors="surrogateescape"))


def _instants(said: str) -> None:
    for zone in ZONES:
        instants.parse(said, NOW, zone)


def _resolve(word: str) -> list[int]:
    return job_ids.select(word, KNOWN, KNOWN)


def _elements(said: str) -> None:
    families = {1: arrays.new_family(ranges.parse("1-3"))}
    array_ids.resolve(said, families, lambda word: (_resolve(word), ()))


def _targets(word: str) -> list[tuple[int, bool]]:
    return [(job_id, False) for job_id in _resolve(word)]


def _dependencies(said: str) -> None:
    dependencies.show(dependencies.parse(said, _targets))


def _dependency_lists(said: str) -> None:
    dependencies.parse_list(said, dependencies.ALL, _targets)


def _patterns(said: str) -> None:
    filename_patterns.check(said)
    filename_patterns.expand(said, job_id=7, name="n", user="u", array_id=3, index=2)


def _template(said: str) -> None:
    templates.expand_template(said, {"a": "1"})


def _scripts(data: bytes) -> None:
    script_head.read(b"#!/bin/sh\n" + data, cpus=2, host="here")
    script_head.read(data, ignore_unknown=True)


def _command_line(said: str) -> None:
    """The first line is the command, the others are its words."""
    name, *words = said.split("\n")
    try:
        main.parser(name if name in main.COMMANDS else "submit").parse_args(words)
    except SystemExit:  # --help and --version
        return


def _configuration(data: bytes) -> None:
    found, tables = toml_file.parse("gflow.toml", data)
    gathered = loader._Gathered(system=b"[shared]" in data)
    for key, value in toml_file.entries(tables):
        try:
            loader._take_entry(gathered, key, value, {})
        except GflowError:
            toml_file.line_of(found, key)


def _environment(said: str) -> None:
    name, _, value = said.partition("=")
    loader.load(None, {"HOME": "/nonexistent", f"GFLOW_{name}": value})


def _settings(said: str) -> None:
    refusals = 0
    for setting in settings.SETTINGS:
        try:
            setting.kind.read_word(said)
        except GflowError:
            refusals += 1
    assert refusals  # no word fits all


def _snapshot(data: bytes) -> None:
    """A file of any bytes."""
    header_record(data)
    next_id_in(data)
    is_torn(data)
    fold = Fold()
    taken, _ = fold.feed(data)
    fold.salvage(data[taken:])
    Store(State("/nonexistent")).fold(data)


def _sound_snapshot(data: bytes) -> None:
    """Lines whose checksums are right, whatever they hold; then their records."""
    lines = [b'[0,1,"header",0,{"format":1}]', *data.split(b"\n")]
    whole = b"".join(b"%08x %b\n" % (zlib.crc32(line), line) for line in lines)
    _snapshot(whole)
    _snapshot(whole.partition(b"\n")[2])


def _records(data: bytes) -> None:
    """What is sound JSON and no record."""
    fold = Fold()
    fold.feed(b"".join(b"%08x %b\n" % (zlib.crc32(line), line) for line in data.split(b"\n")))
    for kind, decode in (("spec", codec.decode_spec), ("wish", codec.decode_wish), ("phase", codec.decode_phase)):
        for record in fold.of(kind).values():
            try:
                decode(record)
            except codec.NO_RECORD:
                continue


def _backup(data: bytes) -> None:
    with tempfile.TemporaryDirectory(prefix="gf-") as place:
        path = os.path.join(place, "b.tar")
        with open(path, "wb") as file:
            file.write(data)
        backup_file.unpack(path, os.path.join(place, "into"))


def _update(said: str) -> None:
    update_rules.option(said)


def _progress(data: bytes) -> None:
    for told in (report.parse(data), bar.last(data, whole=False), bar.last(data, whole=True)):
        assert told is None or (0 <= told.fraction <= 1 and told.text.isprintable())


def _request(data: bytes) -> None:
    """What any user may send to the gateway, judged beside a job of theirs."""
    try:
        asked = json.loads(data)
    except (ValueError, RecursionError):
        return
    fold = Fold()
    fold.of("spec")[1] = {**SPEC, "user": "ada", "uid": 1001, "submitted_at": 5.0}
    own = SPEC | asked if isinstance(asked, dict) else asked
    for wanted in (asked, [["spec", 1, own]], [["spec", records.PROVISIONAL, own]], [["wish", 1, asked]]):
        if isinstance(wanted, list):
            with suppress(GflowError):
                judge.judge(wanted, fold, ASKER, POLICY, Limits(), 9, NOW)


LINES = ("0,1,", "[0,1,", '"spec"', '"phase"', '"wish"', ",1,", "{}]", "null", '{"is":"queued"}', "\n", '["x"]')
TARGETS: dict[str, tuple[Target, Sequence[str]]] = {
    "durations": (text(durations.parse), ("90s", "1h30m", "1-12:30:05", "7", "d", "w", ".5", "٣")),
    "memory": (text(memory.parse), ("512", "1.5T", "800M", "G", "iB", "²")),
    "instants": (text(_instants), ("now+", "2h", "tomorrow ", "9:00", "2027-03-28", "T02:30:00", "+05:30", "Z", "999")),
    "time zones": (text(instants.zone), ("Europe/Berlin", "UTC", "/", "..", "a")),
    "job lists": (text(_resolve), ("42", "1,3,5-7", "@", "@~2", "-", "~", ",")),
    "elements": (text(_elements), ("1_3", "1_[1-2,3%5]", "42", "[", "]", "_", ",", "@")),
    "ranges": (text(ranges.parse), ("1-10", "0-20:5", "1,4,9", ":", "-")),
    "arrays": (text(arrays.parse_array), ("1-10", "%5", "0-20:5", "1,4,9", "%", ":")),
    "dependencies": (text(_dependencies), ("afterok:1:2", "after:5+10", ",", "?", "singleton", "@~1", "aftercorr:8")),
    "dependency lists": (text(_dependency_lists), ("1,2", "@", "?", "5-8")),
    "directives": (_scripts, ("#SBATCH ", "# GFLOW ", "--gres=gpu:2", "--time=1:00", "-a 1-3", "\n", "'", '"')),
    "parameters": (text(sweep_parameters.parse_param),
        ("lr=", "0.1,0.2", "1:10", "1:2:0.25", "=", ":", "1e400", "nan")),
    "CSV": (text(sweep_parameters.parse_csv), ("a,b\n", "1,2\n", '"', "\r\n", "a", ",", "\0")),
    "templates": (text(_template), ("{a}", "{", "}", "{b}")),
    "patterns": (text(_patterns), ("%j", "%A_%a", "%%", "%x", "%")),
    "retry causes": (text(retries.parse_on), ("failure", ",", "timeout", "oom", "137", "zombie")),
    "retry delays": (text(retries.parse_delay), ("30s", "x2", "1mx1.5", "x", "1e9", "xinf", "xnan")),
    "signals": (text(signals.parse), ("USR1", "SIG", "10", "RTMIN")),
    "options of update": (text(_update), ("--", "gpus", "_", "time-limit", "project")),
    "command lines": (
        text(_command_line),
        ("submit\n", "queue\n", "reserve\ncreate\n", "--time\n", "1h\n", "-g\n", "--\n", "quota\nset\n", "-a\n1-3\n"),
    ),
    "configuration": (_configuration, ("[gpu]\n", "poll_interval", " = ", "3\n", "[quota.users.a]\n", '"4x"', "{")),
    "environment": (text(_environment), ("GPU__", "POLL_INTERVAL", "=", "3", "QUOTA__DEFAULT_USER__", "__")),
    "settings": (text(_settings), ("0-3", "4x24G", "7d", "Europe/Berlin", "none", "1e5", "../x")),
    "proc stat": (text(procstat.parse), ("1 (sh) S 0 1 1 ", "0 ", ")", "-1 ")),
    "progress": (_progress, ("0.4 ", "40%", "4/10", "|", "\r", " 45%|# | 4/9 [00:10<00:12, 1it/s]", "\x1b[A")),
    "log marks": (log_trimming.decode, ("1 2 3", " ", "9")),
    "snapshots": (_snapshot, ('[0,1,"header",0,{"format":1}]', "\n", "00000000 ", "[1,2,")),
    "sound snapshots": (_sound_snapshot, LINES),
    "records": (_records, LINES),
    "requests": (_request, (
        '[["spec",1,', '[["wish",1,', '{"held":true', "}]]", '"needs":{"dependencies":[{"kind":"afterok","id":1}]}',
        '"family":{"ranges":[[1,3,1]]}', '"gpus":', "1e999", "NaN", '"\\ud800"', "null", '"retry":{"on":["failure"]}',
        '"repeat":{"rule":"every 60s","due":5}', '"output":"/%j"', '"name_template":"{a}"', "{", "}", "[", "]", "-1",
    )),
    "backups": (_backup, ("manifest.json", "ustar", "\0" * 512)),
}  # fmt: skip


def run(name: str, data: bytes) -> None:
    """Gives `data` to a parser. Raises what it must not raise."""
    try:
        TARGETS[name][0](data)
    except GflowError:
        return
