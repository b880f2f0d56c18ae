from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gflowd.core.errors import Refused
from gflowd.core.request import script_head
from gflowd.core.request.script_head import Head
from gflowd.core.slurm import sbatch_options, sbatch_semantics, sbatch_variables
from gflowd.core.slurm.sbatch_options import GRAMMAR, Option


def slurm(*lines: str, **settings: object) -> Head:
    content = "\n".join(("#!/bin/bash", *(f"#SBATCH {line}" for line in lines), "true", ""))
    return script_head.read(content.encode(), **settings)  # type: ignore[arg-type]


def refusal(content: bytes) -> str:
    with pytest.raises(Refused) as caught:
        script_head.read(content)
    assert "\n" not in str(caught.value)
    return str(caught.value)


SCRIPT = b"""\
#!/bin/bash -l
# A job for either system.
#SBATCH --job-name="a name"   # quoted
#SBATCH -p gpu --gres=gpu:a100:2

   # GFLOW --gpus=9, indented: only a comment
# GFLOW --gpus 1 --comment='one # two'
#GFLOW\t--hold
##SBATCH --time=1
# SBATCH --time=2
#SBATCHES --time=3
#GFLOWER --time=3
#PBS -l walltime=1:00:00
#SBATCH--mem=4G
#SBATCH
cd /tmp
#SBATCH --time=4
# GFLOW --time=5
"""


def test_only_the_head_counts() -> None:
    head = script_head.read(SCRIPT)
    assert head.argv == (
        "--name=a name", "--gpus=2", "--gpu-type=a100", "--memory=4G", "--gpus", "1", "--comment=one # two", "--hold",
    )  # fmt: skip
    assert head.lines == (3, 4, 4, 14, 7, 7, 7, 8)
    assert head.notes == (
        "line 13: ignored: all #PBS lines; write #SBATCH or # GFLOW", "line 4: --partition=gpu has no effect",
    )  # fmt: skip
    assert head.slurm
    assert script_head.read(SCRIPT.replace(b"#SBATCH\n", b"#SBATCH --ignore-pbs\n")).notes[0].startswith("line 4:")


def test_of_a_file_that_is_no_script_the_line_is_told_whose_options_nobody_would_read() -> None:
    assert script_head.unread(SCRIPT) == 3
    assert script_head.unread(b"\n#!/bin/sh\n#GFLOW -c 2\n") == 3
    assert script_head.unread(b"echo #SBATCH\n#SBATCH -c 2\n") is None, "that is no head"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"#!/bin/sh",
        b"#!/bin/sh\ntrue\n#SBATCH --wait\n",
        b"\x7fELF\n#SBATCH --wait\n",
        b"# GFLOW --hold\n",
        b"#!x\n\n#",
    ],
)
def test_a_file_without_directives_asks_for_nothing(content: bytes) -> None:
    assert script_head.read(content) == Head()


def test_a_script_of_our_own_is_none_for_slurm() -> None:
    head = script_head.read(b"#!/bin/sh\n# GFLOW --gpus=1\n# GFLOW\n# GFLOW # nothing")
    assert head == Head(argv=("--gpus=1",), lines=(2,))


def test_what_is_behind_the_head_may_be_anything() -> None:
    assert script_head.read(b"#!/bin/sh\n# \xff\0\x1b\n#SBATCH --hold\nexit\n\0\xff\r\n#SBATCH \xff").argv == (
        "--hold",
    )


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"#!/bin/sh\r\n# GFLOW --hold\r\n", "line 1 ends in CR LF"),
        (b"#!/bin/sh\n#SBATCH --hold\r\n", "line 2 ends in CR LF"),
        (b"#!/bin/sh\n#SBATCH\r\n", "line 2 ends in CR LF"),
        (b"#!/bin/sh\n# GFLOW\r\n", "line 2 ends in CR LF"),
        (b"#!/bin/sh\n# GFLOW --name=\x1b[31m\n", "line 2: the directive contains a control character"),
        (b"#!/bin/sh\n#SBATCH --job-name=a\0b\n", "line 2: the directive contains a control character"),
        (b"#!/bin/sh\n\n# GFLOW --name=\xff\n", "line 3: the directive is not valid UTF-8"),
        (b"#!/bin/sh\n# GFLOW --name='a\n", "line 2: the directive has an unclosed quote or ends in a backslash"),
        (b"#!/bin/sh\n# GFLOW --name=a\\\n", "line 2: the directive has an unclosed quote or ends in a backslash"),
        (b"#!/bin/sh\n# GFLOW gpus=2\n", "line 2: # GFLOW gpus=2: not an option (such as --gpus=2)"),
        (b"#!/bin/sh\n# GFLOW --hold -- true\n", "line 2: # GFLOW --: not an option for a script"),
        (
            b"#!/bin/sh\n# GFLOW --ignore-unknown-directives\n",
            "line 2: # GFLOW --ignore-unknown-directives: not an option for a script",
        ),
        (b"#!/bin/sh\n# GFLOW -Hh\n", "line 2: # GFLOW -Hh: not an option for a script"),
        (b"#!/bin/sh\n# GFLOW -n " + b"x" * 65536, "line 2: the directive is 65540 bytes long; the limit is 65536"),
        (b"#!/bin/sh\n# GFLOW --wrap=true\n", "line 2: # GFLOW --wrap=true: not an option for a script"),
        (b"#!/bin/sh\n#SBATCH hetjob\n", "line 2: #SBATCH hetjob: gflow has no heterogeneous jobs"),
        (b"#!/bin/sh\n#SBATCH time=1\n", "line 2: #SBATCH time=1: not an option"),
        (b"#!/bin/sh\n#SBATCH --\n", "line 2: #SBATCH --: not an option"),
        (b"#!/bin/sh\n#SBATCH -\n", "line 2: #SBATCH -: not an option"),
        (b"#!/bin/sh\n#SBATCH --colour=red\n", "line 2: #SBATCH --colour=red: not an option of sbatch"),
        (b"#!/bin/sh\n#SBATCH --tiem=3\n", "line 2: #SBATCH --tiem=3: not an option of sbatch (did you mean --time?)"),
        (b"#!/bin/sh\n#SBATCH -y\n", "line 2: #SBATCH -y: not an option of sbatch"),
        (b"#!/bin/sh\n#SBATCH --time\n", "line 2: #SBATCH --time: its value is missing"),
        (b"#!/bin/sh\n#SBATCH -t\n", "line 2: #SBATCH -t: its value is missing"),
        (b"#!/bin/sh\n#SBATCH --hold=yes\n", "line 2: #SBATCH --hold=yes: takes no value"),
        (b"#!/bin/sh\n#SBATCH --cpus=4\n", "line 2: #SBATCH --cpus=4: may be any of --cpus-per-gpu, --cpus-per-task"),
        (b"#!/bin/sh\n#SBATCH -N 2\n", "line 2: #SBATCH --nodes=2: gflow runs jobs on one machine"),
        (b"#!/bin/sh\n\n#SBATCH -I\n#SBATCH -N2", "line 3: #SBATCH --immediate: gflow queues every job"),
        (b"#!/bin/sh\n#SBATCH -N2\n#SBATCH x\n", "line 2: #SBATCH --nodes=2"),
        (b"#!/bin/sh\n#SBATCH x\n#SBATCH -N2\n", "line 2: #SBATCH x"),
    ],
)
def test_a_wrong_head_is_refused_naming_line_and_option(content: bytes, said: str) -> None:
    assert refusal(content).startswith(said)


def test_a_refusal_says_how_to_go_on() -> None:
    assert refusal(b"#!/bin/sh\n#SBATCH -N 2\n").endswith("; --ignore-unknown-directives ignores it")


def test_what_is_ignored_is_said() -> None:
    head = slurm("-N 2 --hold", "--colour=red --time=5", "word", ignore_unknown=True)
    assert head.argv == ("--hold", "--time=5")
    assert head.notes == (
        "line 2: ignored: #SBATCH --nodes=2: gflow runs jobs on one machine",
        "line 3: ignored: #SBATCH --colour=red: not an option of sbatch",
        "line 4: ignored: #SBATCH word: not an option",
    )


@pytest.mark.parametrize(
    ("line", "argv"),
    [
        ("--gres=gpu:2", ["--gpus=2"]),
        ("--gres=gpu", ["--gpus=1"]),
        ("--gres=gpu:a100:2", ["--gpus=2", "--gpu-type=a100"]),
        ("--gres=gpu:a100", ["--gpus=1", "--gpu-type=a100"]),
        ("--gres=gpu:1g.5gb:1", ["--gpus=1", "--gpu-type=1g.5gb"]),
        ("--gres=gres/gpu:3", ["--gpus=3"]),
        ("--gres=none", ["--gpus=0"]),
        ("--gpus=2", ["--gpus=2"]),
        ("-G v100:2", ["--gpus=2", "--gpu-type=v100"]),
        ("--gpus-per-node=4", ["--gpus=4"]),
        ("--gpus-per-task 1", ["--gpus=1"]),
        ("--time=1-12:00:00", ["--time=1-12:00:00"]),
        ("-t UNLIMITED", ["--time=0"]),
        ("--mem=0", ["--memory=all"]),
        ("--mem 800M", ["--memory=800M"]),
        ("-c4", ["--cpus=4"]),
        ("-c 4 --mem-per-cpu=2G", ["--cpus=4", "--memory=8192M"]),
        ("--mem-per-cpu=512", ["--memory=512M"]),
        ("--gpus=2 --cpus-per-gpu=3 --mem-per-cpu=1G", ["--gpus=2", "--mincpus=6", "--memory=6144M"]),
        ("--gres=gpu:2 --mem-per-gpu=10G", ["--gpus=2", "--memory=20480M"]),
        ("--job-name=x", ["--name=x"]),
        ("-J 'two words'", ["--name=two words"]),
        ("--job=x", ["--name=x"]),
        ("--output=%x-%j.out -e %x.%J.err", ["--output=%x-%j.out", "--error=%x.%j.err"]),
        ("-o slurm.%N.%t.%n.%s.%%N.out", ["--output=slurm.%%N.0.0.batch.%%N.out"]),
        ("-o none -i None", ["--output=/dev/null", "--input=/dev/null"]),
        ("--input=in.txt", ["--input=in.txt"]),
        ("--open-mode=append", ["--append"]),
        ("--open-mode=truncate", []),
        ("--array=1-10%2", ["--array=1-10%2"]),
        ("-a 0-20:5", ["--array=0-20:5"]),
        ("--dependency=afterok:1:2", ["--depends-on=afterok:1:2"]),
        ("-d singleton", ["--depends-on=singleton"]),
        ("--begin=now+1hour", ["--begin=now+3600s"]),
        ("--begin='now + 2 Days'", ["--begin=now+172800s"]),
        ("--begin=now+60", ["--begin=now+60s"]),
        ("--begin=now+0", ["--begin=now+0s"]),
        ("--begin=now+2h", ["--begin=now+2h"]),
        ("-b 16:00", ["--begin=16:00"]),
        ("--begin=Noon", ["--begin=12:00"]),
        ("--deadline=now+1hour", ["--deadline=now+3600s"]),
        ("--deadline 2030-01-20", ["--deadline=2030-01-20"]),
        ("--begin=2030-01-20T12:34:00", ["--begin=2030-01-20T12:34:00"]),
        ("-D /data --export=ALL,X=1", ["--chdir=/data", "--export=ALL,X=1"]),
        ("--workdir=/data", ["--chdir=/data"]),
        ("--signal=USR1", ["--signal=USR1@60"]),
        ("--signal=B:USR1@120", ["--signal=B:USR1@120"]),
        ("--signal=R:10@5", ["--signal=10@5"]),
        ("--signal=RB:TERM@5", ["--signal=B:TERM@5"]),
        ("--requeue", ["--requeue"]),
        ("--no-requeue", []),
        ("--mail-user=a@b.c --mail-type=END,FAIL", ["--mail-user=a@b.c", "--mail-type=END,FAIL"]),
        ("-A lab --comment=why", ["--project=lab", "--comment=why"]),
        ("--nice", ["--nice=100"]),
        ("--nice=-5", ["--nice=-5"]),
        ("-H -W", ["--hold", "--wait"]),
        ("-HWc2", ["--hold", "--wait", "--cpus=2"]),
        ("--test-only --parsable", ["--dry-run", "--parsable"]),
        ("--kill-on-invalid-dep=yes", []),
        ("--kill-on-invalid-dep=no", ["--no-auto-cancel"]),
        ("--ntasks=1 -N1 --ntasks-per-node=1 --nodes=1-4", ["--ntasks=1", "--ntasks-per-node=1"]),
        ("-n 4 -c 2 --mem-per-cpu=1G", ["--ntasks=4", "--cpus=2", "--memory=8192M"]),
        ("--tasks-per-node=8 --mem-per-cpu=1G", ["--ntasks-per-node=8", "--memory=8192M"]),
        ("-n 4 --gpus-per-task=2 --mem-per-gpu=1G", ["--ntasks=4", "--gpus=8", "--memory=8192M"]),
        ("-n2 -G 4 --gpus-per-task=v100:2", ["--ntasks=2", "--gpus=4", "--gpu-type=v100"]),
        ("-G 3 --ntasks-per-gpu=2 --mem-per-cpu=1G", ["--gpus=3", "--ntasks=6", "--memory=6144M"]),
        ("-n 6 --ntasks-per-gpu=4 --mem-per-gpu=1G", ["--ntasks=6", "--gpus=2", "--memory=2048M"]),
        ("-n 8 -O --mincpus=2 --mem-per-cpu=1G", ["--ntasks=8", "--overcommit", "--mincpus=2", "--memory=2048M"]),
        ("--exclusive --mem=0", ["--exclusive", "--memory=all"]),
        ("--exclusiv=user", []),
        ("-N 4 --time=5 -N 1 --time=6 -n8 -n 2", ["--time=6", "--ntasks=2"]),
        ("--partition=gpu --qos=high -w node1 -Q -v -k", []),
        ("--requeue --no-requeue", []),
        ("--no-requeue --requeue", ["--requeue"]),
        ("--exclusive -n 4 --mem-per-cpu=128", ["--exclusive", "--ntasks=4", "--memory=all"]),
        ("--gres=gpu:1,", ["--gpus=1"]),
        ("--get-user-env", ["--get-user-env"]),
        ("--get-user-env=10L", ["--get-user-env"]),
        ("--gres=gpu:1 -G 2 --gres=gpu:4", ["--gpus=2", "--gpus=4"]),
        ("--reservation=r -L matlab:2 --propagate --propagate=NONE", []),
        ("-C 'a100&nvlink'", ["--constraint=a100&nvlink"]),
        ("--array=[1-200]", ["--array=1-200"]),
        ("--array=0-23%", ["--array=0-23"]),
        ("--array=[0-9:3]%2", ["--array=0-9:3%2"]),
        ("--array=4,1-3,,2,3-6%0,", ["--array=1-6"]),
        ("--array=", []),
        ("--time=2-", ["--time=2-0"]),
        ("-t 35:59:30", ["--time=2160"]),
        ("-t 00:00:10", ["--time=1"]),
        ("--gres=gpu:1080:1", ["--gpus=1", "--gpu-type=1080"]),
        ("--gres=GPU:1080", ["--gpus=1080"]),
        ("--gres=gres:gpu:2", ["--gpus=2"]),
        ("-G gpu:2", ["--gpus=2"]),
        ("-o %3a.%04j.%12A.%5J.%2n.%3x.%y.%%a.%", ["--output=%3a.%4j.%10A.%5j.00.%x.%%y.%%a.%%"]),
        (f"-o %{'9' * 5000}j.%{'0' * 5000}3a", ["--output=%10j.%3a"]),
        ("-o logs/%x/%b --error=''", ["--output=logs/%x/%b"]),
        ("-c 2 '' -n 4", ["--cpus=2"]),
        ("--mail-type=start,END", ["--mail-type=END"]),
        ("--mail-user=a@b,c", ["--mail-user=a@b,c"]),
        ("--mail-user=<address>", []),
        ("--mail-type=start", []),
    ],
)
def test_what_an_option_of_sbatch_means(line: str, argv: list[str]) -> None:
    assert list(slurm(line).argv) == argv


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("--ntasks=0", "the least is 1"),
        ("-c0", "the least is 1"),
        ("--ntasks-per-gpu=4", "the job asks for no GPU"),
        ("-n x", "not a number"),
        ("--nodes=1-0", "gflow runs jobs on one machine"),
        ("--gres=nvme:1", "no other generic resource"),
        ("--gres=gpu:1,shard:2", "no other generic resource"),
        ("--gpus=a100:1,v100:1", "no other generic resource"),
        ("--gpus=all", "no other generic resource"),
        ("--cpus-per-gpu=4", "the job asks for no GPU"),
        ("--gpus=x --mem-per-gpu=4G", "no other generic resource"),
        ("--mem-per-cpu=lots", "is not an amount of memory"),
        ("--signal=@60", "not of the form [B:]SIGNAL[@SECONDS]"),
        ("--open-mode=both", "neither append nor truncate"),
        ("--kill-on-invalid-dep=maybe", "neither yes nor no"),
        ("--immediate", "gflow queues every job"),
        ("-I5", "gflow queues every job"),
        ("--array=1-", "not indices"),
        ("--array=,", "not indices"),
        ("--array=5-1", "not indices"),
        ("--array=0-9:0", "not indices"),
        ("--time=soon", "is not a duration"),
        ("--mem=lots", "is not an amount of memory"),
        ("-c 2 -e ''", "its value is missing"),
        ("--comment=a\\ b", "#SBATCH b: not an option"),
        ("--comment=a :", "the directive has a word that begins with ':'"),
    ],
)
def test_what_would_change_the_result_is_refused(line: str, said: str) -> None:
    with pytest.raises(Refused) as caught:
        slurm(line)
    assert said in str(caught.value)


def test_what_the_command_line_says_counts() -> None:
    head = slurm("--mem-per-cpu=1G --cpus-per-task=2 --gpus=1 --cpus-per-gpu=2", cpus=8, gpus=3)
    assert head.argv == ("--memory=8192M", "--cpus=2", "--gpus=1")


def test_no_cpus_count_as_one() -> None:
    assert slurm("--mem-per-cpu=1G", cpus=0).argv == ("--memory=1024M",)


def test_the_name_of_the_machine_is_put_into_names_of_files() -> None:
    assert slurm("-o %N.%j", host="a%b").argv == ("--output=a%%b.%j",)


def test_options_that_one_machine_has_no_use_for_are_named() -> None:
    assert slurm("-n 8 --ntasks-per-node=4").notes == (
        "line 2: --ntasks-per-node=4 (all 8 tasks are on this machine) has no effect",
    )
    assert slurm("--mail-type=begins,END,ends").notes == ("line 2: --mail-type=begins,ends has no effect",)
    assert slurm("--partition=gpu -n1 --open-mode=truncate", "-N1", "--exclusive=user").notes == (
        "line 2: --partition=gpu has no effect",
        "line 3: --nodes=1 has no effect",
        "line 4: --exclusive=user has no effect",
    )


def test_every_option_has_one_meaning() -> None:
    options = sbatch_options
    assert set(sbatch_semantics._RULES) == options.MEANINGFUL | options.WITHOUT_EFFECT
    assert not options.MEANINGFUL & options.WITHOUT_EFFECT
    assert not set(options.REFUSED) & (options.MEANINGFUL | options.WITHOUT_EFFECT)
    known = {*options.REFUSED, *options.MEANINGFUL, *options.WITHOUT_EFFECT}
    assert {*options.SHORT.values(), *options.ALIASES.values(), *options.FLAGS, *options.MAY_HAVE_VALUE} <= known


@pytest.mark.parametrize("name", sorted(sbatch_options.REFUSED))
def test_each_refusal_names_its_option(name: str) -> None:
    flag = name in sbatch_options.FLAGS
    assert f"--{name}" in refusal(f"#!/bin/sh\n#SBATCH --{name}{'' if flag else '=x'}\n".encode())


def test_the_names_of_files_are_slurms() -> None:
    assert sbatch_semantics.output_pattern(array=False) == "slurm-%j.out"
    assert sbatch_semantics.output_pattern(array=True) == "slurm-%A_%a.out"


@given(st.binary(max_size=60))
def test_any_head_is_read_or_refused(data: bytes) -> None:
    for start in (b"#!x\n#SBATCH ", b"#!x\n# GFLOW ", b"#!"):
        try:
            head = script_head.read(start + data)
        except Refused as error:
            said = str(error)
        else:
            assert len(head.argv) == len(head.lines)
            said = "".join(head.notes)
        assert "\n" not in said


WORDS = st.lists(
    st.tuples(
        st.sampled_from(["--", "-"]),
        st.sampled_from([*sbatch_options.SHORT, *sbatch_options.FLAGS, "time", "gres", "x"]),
        st.sampled_from(["", "=", " "]), st.text("ab1:%@-= ", max_size=4),
    ).map("".join).filter(lambda word: " :" not in word),
    max_size=4,
)  # fmt: skip


@given(WORDS)
def test_what_is_ignored_is_never_an_error(words: list[str]) -> None:
    head = slurm(*words, ignore_unknown=True)
    assert all(word.startswith("--") for word in head.argv)


@given(st.text(st.characters(exclude_categories=["Cc", "Cs"])))
def test_a_quoted_value_arrives_as_it_was(value: str) -> None:
    import shlex

    slurms = shlex.quote(value.replace("\\", "\\\\"))  # a backslash in quotes takes the meaning of the next one
    content = f"#!/bin/sh\n# GFLOW --name={shlex.quote(value)}\n#SBATCH --comment={slurms}\n"
    assert script_head.read(content.encode()).argv == (f"--comment={value}", f"--name={value}")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", []), (" -c 4\t-n2 ", ["-c", "4", "-n2"]), ("--a='b c' # d 'e", ["--a=b c"]), ("a#b", ["a"]),
        ("a'#'b", ["a#b"]), ("\\#a", ["#a"]), ("'a\\'b' \"c'd\"", ["a'b", "c'd"]), ("'a\\b'", ["ab"]), ("a\\", ["a"]),
        ("''", []), ("a '' b", ["a"]), ("a\\ b", ["a", "b"]), ("'a\\ b'c", ["a bc"]), ('a="" b', ["a=", "b"]),
        ("\\ a", []), ("a \\", ["a"]), ("\\-a", ["-a"]), ("a:b=:", ["a:b=:"]), ("a\\\tb", ["a", "b"]),
        ("a\u00a0b\u2003", ["a\u00a0b\u2003"]), ("a\\\\b \\\\", ["a\\b", "\\"]),
        ("a #b", ["a"]), ("a 'b\"'c", ["a", 'b"c']),
    ],
)  # fmt: skip
def test_the_words_of_a_line_are_slurm_s(text: str, words: list[str]) -> None:
    assert sbatch_options.split(text) == words


@pytest.mark.parametrize(
    ("text", "why"),
    [("'a", "an unclosed quote"), ('a "b', "an unclosed quote"), ("a :b", "begins with ':'"), (":", "begins with ':'")],
)
def test_what_slurm_cannot_split_is_an_error(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        sbatch_options.split(text)


@pytest.mark.parametrize(
    ("content", "noted"),
    [
        (b"#!/bin/sh\n# a\r\n", 2),
        (b"#!/usr/bin/env bash\ncat <<E\na\r\nE\n", 3),
        (b"#!/usr/bin/python3\nprint(1)\r\n", None),
        (b"#!/bin/sh\necho\n", None),
    ],
)
def test_a_line_from_windows_in_the_body_of_a_shell_script_is_noted(content: bytes, noted: int | None) -> None:
    notes = script_head.read(content).notes
    assert [note.partition(" ends")[0] for note in notes] == ([] if noted is None else [f"line {noted}"])


def test_a_shell_script_whose_first_command_is_from_windows_is_refused() -> None:
    with pytest.raises(Refused, match="line 3 ends in CR LF"):
        script_head.read(b"#!/bin/bash -e\n\necho\r\n")


def test_options_of_sbatch_take_precedence_over_every_line() -> None:
    content = b"#!/bin/sh\n#SBATCH -c2 --mem=4G --requeue -p a\n# GFLOW --name=own\n"
    over = [Option(0, *pair) for pair in (("mem-per-cpu", "1G"), ("no-requeue", None), ("job-name", "x"), ("qos", "q"))]
    head = script_head.read(content, over=over)
    assert head.argv == ("--cpus=2", "--name=own", "--memory=2048M", "--name=x")
    assert head.lines == (2, 3, 0, 0)
    assert head.notes == ("line 2: --partition=a has no effect", "--qos=q has no effect")
    assert head.slurm
    assert script_head.read(b"", over=()).slurm
    for wrong, said in (
        ([Option(0, "comment", "x"), Option(0, "uid", "1")], "--uid=1: a job runs as its submitter"),
        ([], "line 2: #SBATCH --uid=1: a job runs as its submitter"),
    ):
        with pytest.raises(Refused) as caught:
            script_head.read(b"#!/bin/sh\n#SBATCH --uid=1\n", over=wrong)
        assert str(caught.value) == said


def test_variables_are_options_of_sbatch() -> None:
    environ = {
        "SBATCH_TIMELIMIT": "5",
        "SBATCH_REQUEUE": "",
        "SBATCH_WAIT": "1",
        "SBATCH_MEM_BIND": "x",
        "SLURM_X": "1",
    }
    found = {option.name: option.value for option in sbatch_variables.options(environ)}
    assert found == {"time": "5", "wait": None, "mem-bind": "x"}
    known = GRAMMAR.flags | GRAMMAR.valued | GRAMMAR.may_have_value
    assert set(sbatch_variables.NAMES.values()) <= known
