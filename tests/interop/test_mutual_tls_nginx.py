"""nginx as `docs/mutual-tls.md` configures it, in front of a server that takes certificates from it alone."""

from __future__ import annotations

import re
import ssl
import subprocess
import time
from pathlib import Path

import httpx
from tests.interop.gateways import free_port, program, running
from tests.support.certificates import authority, cn, issue
from tests.support.served import serving, watchword

from watchword.jose.development_ca import development_certificate

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "mutual-tls.md"
HEADER = ("--trusted-proxy", "127.0.0.1", "--client-cert-header", "x-forwarded-client-cert")


def test_nginx(tmp_path: Path) -> None:
    """The documented proxy would let callers write the header themselves, or lose the certificate."""
    now, port = time.time(), free_port()
    ca_file, certificate, key = development_certificate(tmp_path / "tls", now)
    ca = authority("company CA", now)
    (tmp_path / "ca.pem").write_text(ca.pem)
    held = issue(cn("caller"), now, ca)
    shown = held.files(tmp_path, "caller")
    [block] = re.findall(r"```nginx\n(.*?)```", GUIDE.read_text(), re.S)
    with serving(tmp_path, *HEADER) as base:
        made = []
        for arguments in (
            ("tenant", "anchors", "add", "ca.pem"),
            ("api", "create", "https://rs1.example/", "--scope", "a:read", "--require-bound"),
            ("app", "create", "caller", "--auth", "tls_client_auth", "--dn", "CN=caller",
             "--grant", "https://rs1.example/=a:read", "--json"),
        ):  # fmt: skip
            done = watchword(tmp_path, *arguments)
            assert done.returncode == 0, done.stderr
            made.append(done.stdout)
        found = re.search(r'"client_id": "([^"]+)"', made[-1])
        assert found is not None
        for documented, here in (
            ("127.0.0.1:8443", f"127.0.0.1:{port}"), ("127.0.0.1:8480", base.removeprefix("http://")),
            ("server.pem", str(certificate)), ("server.key", str(key)),
        ):  # fmt: skip
            block = block.replace(documented, here)
        kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        temporary = "".join(f"{kind}_temp_path {tmp_path}/{kind};\n" for kind in kinds)
        config = tmp_path / "nginx.conf"
        config.write_text(
            f"daemon off; pid {tmp_path}/nginx.pid; error_log stderr; events {{}}\n"
            f"http {{ access_log off;\n{temporary}{block} }}\n"
        )
        with running([program("nginx"), "-e", "stderr", "-c", str(config)], port, tmp_path):
            form = {"grant_type": "client_credentials", "client_id": found[1]}
            plain = ssl.create_default_context(cafile=str(ca_file))
            with_it = ssl.create_default_context(cafile=str(ca_file))
            with_it.load_cert_chain(*shown)
            stranger = ssl.create_default_context(cafile=str(ca_file))
            stranger.load_cert_chain(*issue(cn("caller"), now).files(tmp_path, "stranger"))
            url = f"https://127.0.0.1:{port}/t/default/token"
            forged = {"x-forwarded-client-cert": held.envoy}
            assert httpx.post(url, data=form, verify=with_it).status_code == 200
            assert httpx.post(url, data=form, verify=plain).status_code == 401
            assert httpx.post(url, data=form, headers=forged, verify=plain).status_code == 401
            assert httpx.post(url, data=form, headers=forged, verify=stranger).status_code == 401
            options = ["--cacert", str(ca_file), "--cert", shown[0], "--key", shown[1]]
            body = f"grant_type=client_credentials&client_id={found[1]}"
            said = subprocess.run(["curl", "-sf", *options, "-d", body, url], capture_output=True, check=False)
            assert said.returncode == 0
            assert b"access_token" in said.stdout
