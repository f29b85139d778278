"""The development CA: what it vouches for, how long, and who may read its key."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from cryptography import x509

from watchword.jose.development_ca import development_certificate

NOW = 1_800_000_000.0
DAY = 86_400


def read(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def test_keys_are_for_their_owner_only(tmp_path: Path) -> None:
    """Whoever reads the CA's key is every loopback server to whoever trusts it."""
    development_certificate(tmp_path / "dev-tls", NOW)
    assert stat.S_IMODE((tmp_path / "dev-tls").stat().st_mode) == 0o700
    for name in ("ca.key", "server.key"):
        assert stat.S_IMODE((tmp_path / "dev-tls" / name).stat().st_mode) == 0o600


def test_loopback_names_only(tmp_path: Path) -> None:
    """A CA without constraints, once trusted, may be any host of the Internet."""
    ca, server, _ = development_certificate(tmp_path, NOW)
    constraints = read(ca).extensions.get_extension_for_class(x509.NameConstraints)
    assert constraints.critical
    assert constraints.value.permitted_subtrees is not None
    assert [str(name.value) for name in constraints.value.permitted_subtrees] == ["localhost", "127.0.0.0/8", "::1/128"]
    names = read(server).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(name.value) for name in names] == ["localhost", "127.0.0.1", "::1"]
    basic = read(ca).extensions.get_extension_for_class(x509.BasicConstraints).value
    assert (basic.ca, basic.path_length) == (True, 0)
    assert not read(server).extensions.get_extension_for_class(x509.BasicConstraints).value.ca


def test_a_restart_changes_nothing(tmp_path: Path) -> None:
    """A new CA at each start would have to be trusted again at each start."""
    first = {path: path.read_bytes() for path in development_certificate(tmp_path, NOW)}
    second = {path: path.read_bytes() for path in development_certificate(tmp_path, NOW + 59 * DAY)}
    assert first == second


def test_the_server_certificate_is_renewed_and_the_ca_is_not(tmp_path: Path) -> None:
    """After three months nobody could connect; with a new CA nobody would trust it."""
    ca, server, key = development_certificate(tmp_path, NOW)
    before = [path.read_bytes() for path in (ca, server, key)]
    later = NOW + 61 * DAY
    development_certificate(tmp_path, later)
    after = [path.read_bytes() for path in (ca, server, key)]
    assert [old == new for old, new in zip(before, after, strict=True)] == [True, False, False]
    assert read(server).not_valid_after_utc.timestamp() == later + 90 * DAY
    read(server).verify_directly_issued_by(read(ca))


def test_a_foreign_file_is_refused(tmp_path: Path) -> None:
    """A damaged key file would end in a trace, or be overwritten though others trust it."""
    development_certificate(tmp_path, NOW)
    (tmp_path / "ca.key").write_text("nothing")
    with pytest.raises(ValueError):
        development_certificate(tmp_path, NOW)
    assert (tmp_path / "ca.key").read_text() == "nothing"
