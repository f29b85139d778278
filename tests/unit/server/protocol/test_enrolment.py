"""What a device may say at enrolment, and what its group makes of it: the rules alone."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from watchword.server.protocol.enrolment import EnrolmentRequest, admitted, check_open, check_repeat
from watchword.server.protocol.errors import EnrolmentRefused
from watchword.server.registry.errors import Invalid
from watchword.server.registry.fleet.enrolment import REPEAT_WITHIN, EnrolmentCode, EnrolmentGroup
from watchword.server.registry.model import Application, Secret

NOW = 1_000_000
GROUP = EnrolmentGroup(tenant_id="t", group_id="g", name="sensors", created_at=0)
WANTED = EnrolmentRequest(unverified_code="c", enrolment_id="d")
SECRET = Secret(id="s", digest="hmac:", created_at=NOW, repeat_until=NOW + REPEAT_WITHIN)


def enrolled(**more: Any) -> Application:
    """One that has its secret."""
    return replace(admitted(GROUP, WANTED, "0123456789", NOW), secrets=(SECRET,), **more)


def test_the_first_method_with_a_secret_is_given() -> None:
    """The administrator's order would mean nothing, and devices get a method that their firmware has not."""
    group = replace(GROUP, auth_methods=("private_key_jwt", "client_secret_post", "client_secret_basic"))
    assert admitted(group, WANTED, "x", NOW).auth_method == "client_secret_post"
    with pytest.raises(EnrolmentRefused):
        admitted(replace(GROUP, auth_methods=("private_key_jwt",)), WANTED, "x", NOW)


def test_names_follow_the_pattern() -> None:
    """Two devices of one name could not be told apart by the people who look after them."""
    assert admitted(GROUP, WANTED, "0123456789", NOW).name == "device-01234567"
    by_serial = replace(GROUP, name_pattern="s-{serial}-{id}")
    assert admitted(by_serial, replace(WANTED, serial="7"), "0123456789", NOW).name == "s-7-01234567"
    with pytest.raises(Invalid):
        admitted(by_serial, WANTED, "0123456789", NOW)


def test_a_group_closes_at_its_second() -> None:
    """A device that comes at the end would be let in by one node and refused by another."""
    group = replace(GROUP, expires_at=NOW)
    assert check_open(group, "code", NOW - 0.001) is group
    for closed, at in ((group, NOW), (replace(GROUP, ways=()), 0), (None, 0)):
        with pytest.raises(EnrolmentRefused):
            check_open(closed, "code", at)


def test_a_code_ends_at_its_second() -> None:
    """The look before the transaction and the statement within it would disagree."""
    code = EnrolmentCode(tenant_id="t", digest="d", group_id="g", uses_left=1, expires_at=NOW)
    assert code.live(NOW - 1)
    assert not code.live(NOW)
    assert not replace(code, uses_left=0).live(NOW - 1)


@pytest.mark.parametrize(("before", "wanted", "now", "used"), [
    (enrolled(), WANTED, NOW + REPEAT_WITHIN, False),
    (enrolled(), WANTED, NOW, True),
    (replace(enrolled(), secrets=(replace(SECRET, repeat_until=None),)), WANTED, NOW, False),
    (enrolled(), replace(WANTED, serial="7"), NOW, False),
    (enrolled(enabled=False), WANTED, NOW, False),
    (replace(enrolled(), secrets=(SECRET, replace(SECRET, id="by hand"))), WANTED, NOW, False),
    (replace(enrolled(), auth_method="private_key_jwt", secrets=()), WANTED, NOW, False),
])  # fmt: skip
def test_a_repeat_that_gets_nothing(before: Application, wanted: EnrolmentRequest, now: float, used: bool) -> None:
    """Who finds a code later would take over the device that it let in."""
    check_repeat(enrolled(), WANTED, NOW + REPEAT_WITHIN - 1, secret_was_used=False)
    with pytest.raises(EnrolmentRefused):
        check_repeat(before, wanted, now, secret_was_used=used)


def test_a_request_hides_its_code() -> None:
    """A log line or a trace would print what opens the door."""
    assert "wwenr" not in repr(replace(WANTED, unverified_code="wwenr_1", unverified_proof="wwenr_2"))
