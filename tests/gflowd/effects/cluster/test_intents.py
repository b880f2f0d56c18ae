"""What is about to be handed over is kept, and what is no intent of ours is passed over."""

from __future__ import annotations

from pathlib import Path

from gflowd.effects.cluster import attempt_files
from gflowd.effects.cluster.intents import ALONE, Intent, Intents


def test_intents_are_kept_until_they_are_dropped(tmp_path: Path) -> None:
    kept = Intents(str(tmp_path / "batches"))
    assert kept.load() == []
    array = Intent("7.1", "hpc", "gflow:m:s:7.1", ("--mem=1",), "/x/7.1.sh", {4: (7, 1), 5: (8, 1)}, "100", 2)
    alone = Intent("9.2", "hpc", "gflow:m:s:9.2", (), "/x/9.2.sh", {ALONE: (9, 2)})
    for intent in (array, alone):
        kept.save(intent, durable=True)
    for name, text in (("a.json", "[]"), ("b.json", "{"), ("c.json", '{"members": [], "words": []}'), ("d.new", "")):
        (tmp_path / "batches" / name).write_text(text)
        (tmp_path / "batches" / name).chmod(0o600)
    assert kept.load() == [array, alone]
    assert (array.id_of(4), alone.id_of(ALONE)) == ("100_4", None)
    kept.drop(array)
    kept.drop(array)
    assert kept.load() == [alone]


def test_the_id_in_a_pid_file_says_which_copy_has_begun(tmp_path: Path) -> None:
    assert attempt_files.real_id(str(tmp_path)) is None
    for text, known in (("boot 1 (sh) R\n", None), ("boot 1 (sh) R\n \n", None), ("boot 1 (sh) R\n12 n1\n", "12")):
        (tmp_path / "pid").write_text(text)
        assert attempt_files.real_id(str(tmp_path)) == known
