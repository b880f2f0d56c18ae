from __future__ import annotations

import errno
import os
import pwd

import pytest

from gflowd.core.errors import Refused, TryAgain
from gflowd.effects.shared_mode import account

NOBODY = 4_200_000_000


def test_a_submitter_is_known_by_number_and_name() -> None:
    found = pwd.getpwuid(os.getuid())
    assert account.of_submitter(found.pw_uid, found.pw_name) == account.Account(
        found.pw_uid, found.pw_gid, found.pw_name
    )


@pytest.mark.parametrize(
    ("uid", "name", "why"),
    [
        (0, "ada", "user 0 was ada and is root now"),
        (NOBODY, "ada", f"user {NOBODY}, ada, is no longer a user of this machine"),
        (None, "ada", "it is not known which user of this machine submitted it"),
    ],
)
def test_who_is_not_there_any_more_starts_nothing(uid: int | None, name: str, why: str) -> None:
    with pytest.raises(Refused) as refused:
        account.of_submitter(uid, name)
    assert str(refused.value) == why


def test_a_database_that_does_not_answer_fails_nobodys_job(monkeypatch: pytest.MonkeyPatch) -> None:
    assert account._trouble(NOBODY) in account.ABSENT
    assert account._trouble(0) == 0
    monkeypatch.setattr(account, "_trouble", lambda _uid: errno.ECONNREFUSED)
    with pytest.raises(TryAgain, match="Connection refused"):
        account.of_submitter(NOBODY, "ada")
