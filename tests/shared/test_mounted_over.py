"""What a user mounts over what is theirs in the spool, as FUSE lets them where /etc/fuse.conf allows `allow_other`: a
file system that never answers keeps nobody else waiting.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.shared_machine import new_shared_machine
from support.waiting import eventually

if TYPE_CHECKING:
    from support.shared_machine import SharedMachine

# Root mounts here what a user would mount by fusermount3.
MOUNT = """
exec 3<>/dev/fuse && options=fd=3,user_id=60001,group_id=60001,allow_other || exit
if [ -d "$1" ]; then options=$options,rootmode=40000; else options=$options,rootmode=100000; fi
mount -i -t fuse -o $options fuse "$1" && echo mounted && exec sleep 1000
"""
# Asks as gflowctl would, which would look at what is kept itself and wait there.
ASK = """
import json
from gflowd.core.errors import GflowError
from gflowd.core.gateway import asking
from gflowd.core.job.records import PROVISIONAL
from gflowd.storage import gateway_client

spec = {"command": ["true"], "name": "x", "cwd": "/", "submitted_at": 1.0, **json.loads(sys.argv[1])}
for request in (asking.commit("0" * 32, None, [], [("spec", PROVISIONAL, spec)]), asking.relay()):
    try:
        print(gateway_client.ask("/run/gflow/gate.sock", request, 10.0)[0])
    except GflowError as error:
        print(error)
"""


@pytest.mark.skipif(not os.path.exists("/dev/fuse"), reason="no FUSE")
def test_nobody_waits_for_what_a_user_has_mounted_over_what_is_theirs() -> None:
    with new_shared_machine(executor={"grace": 1}, logs={"keep": "1s"}, history={"after": "1s"}) as machine:
        machine.start()
        attack(machine)


def attack(machine: SharedMachine) -> None:
    """By gfa, while gfb goes on."""
    root, gfa, gfb = (machine.as_user(name) for name in ("root", "gfa", "gfb"))
    script = gfa.write("long.sh", "#!/bin/sh\nexec sleep 1000\n", 0o755)
    gfa.ctl("run", "true")
    fresh = {**gfa.env, "ANEW": "mounted"}
    job = gfa.submit("--cpus", "0", "--output", "all", str(script), env=fresh)
    gfa.ctl("submit", "--cpus", "0", "--array", "1-2", "--output", "all", str(script), env=fresh)
    eventually(lambda: sum(each.words == "sleep 1000" for each in machine.of_user("gfa").values()) == 3)
    kept = {place: Path(gfa.job(job)[key]) for place, key in (("env", "environment"), ("script", "script"))}
    places = [*map(str, kept.values()), machine.state.kept("outputs", 60001), machine.state.relays(60001)]
    places += [machine.state.own_job(job), machine.state.own_attempt(job, 1)]
    places += [f"{machine.root}{path}" for path in root.sh(f"ls -d /var/spool/gflow/gflow-*/{job}").stdout.split()]
    holders = []
    for path in places:
        inner = path.removeprefix(str(machine.root))
        holders.append(root.begin_program("sh", "-c", MOUNT, "sh", inner))
        assert holders[-1].stdout is not None
        assert holders[-1].stdout.readline() == b"mounted\n", inner
    try:
        asked = {place: path.name for place, path in kept.items()}
        said = gfa.python(ASK, json.dumps(asked), timeout=60).stdout.splitlines()
        assert re.fullmatch(r"\{'ok': True, 'first': \d+\}", said[0])
        assert said[1].endswith("relays: Invalid cross-device link")
        (lost,) = re.findall(r"\d+", said[0])
        assert gfb.wait(int(lost)) == 1
        assert "Invalid cross-device link" in gfb.job(int(lost))["reason"]
        gfb.ctl("submit", "--wait", "--", "true", timeout=20)
        done = gfb.submit("--wait", "true")
        machine.as_user("gfop").ctl("cancel", "--user", "gfa", "--all")
        eventually(lambda: not machine.of_user("gfa"))
        root.ctl("backup", "/root/kept", timeout=20)
        eventually(lambda: not machine.attempt(done).exists())  # a round of removals came to its end
        gfb.ctl("submit", "--wait", "--", "true", timeout=20)
    finally:
        for each in holders:
            each.kill()
            each.communicate()
