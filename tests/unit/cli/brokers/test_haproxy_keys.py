"""Lines for HAProxy's configuration, with one issuer's keys."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from watchword.cli.brokers import key_export
from watchword.jose import Algorithm, PrivateKey

CONFIGURATION = "defaults\n  mode http\n  timeout client 1s\nfrontend f\n  bind 127.0.0.1:1\n  {lines}\n"


def test_a_key_id_that_begins_with_a_dash(tmp_path: Path) -> None:
    """HAProxy would read the id of one key in 64 as an option, and would not start on the day that it is used."""
    made = PrivateKey.generate(Algorithm.ES256)
    key = PrivateKey.from_pem(made.to_pem(), "-m").public
    files, [line] = key_export._FOLDERS[key_export.Format.haproxy]([key], tmp_path)
    assert "-m str -- -m }" in line
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    program = shutil.which("haproxy", path="/usr/sbin:/usr/bin")
    if program is not None:  # tests/interop run it in any case
        (tmp_path / "haproxy.cfg").write_text(CONFIGURATION.format(lines=line))
        checked = subprocess.run(
            [program, "-c", "-f", str(tmp_path / "haproxy.cfg")], capture_output=True, text=True, check=False
        )
        assert "ACL" not in checked.stderr, checked.stderr
