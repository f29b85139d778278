"""Real gateways from Debian, configured as `docs/gateways.md` says, in front of an API that tells what it got."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "gateways.md"


def documented(language: str) -> str:
    """The one block of that language in the guide."""
    blocks: list[str] = re.findall(rf"```{language}\n(.*?)```", GUIDE.read_text(), re.S)
    assert len(blocks) == 1, language
    return blocks[0]


def program(name: str) -> str:
    """Its path. `.ci/prepare servers` installs it: a machine without it fails, so that nothing goes untested."""
    for folder in ("/usr/sbin", "/usr/bin"):
        if (Path(folder) / name).exists():
            return f"{folder}/{name}"
    raise AssertionError(f"{name} is missing: run .ci/prepare servers")


def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


@contextmanager
def api() -> Iterator[int]:
    """An API without any check of its own: it answers with the headers that reached it."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps([[name.lower(), value] for name, value in self.headers.items()]).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET

        def log_message(self, *_: object) -> None:
            """Nothing is said."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield int(server.server_address[1])
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def adapted(language: str, issuer: str, gateway_port: int, api_port: int) -> str:
    """The guide's configuration with this test's issuer and ports."""
    text = documented(language)
    for documented_address, here in (
        ("127.0.0.1:8480/t/default", issuer.removeprefix("http://")),
        ("127.0.0.1:8480", urlsplit(issuer).netloc),
        ("127.0.0.1:8080", f"127.0.0.1:{gateway_port}"),
        ("127.0.0.1:9000", f"127.0.0.1:{api_port}"),
    ):
        text = text.replace(documented_address, here)
    return text


@contextmanager
def running(command: list[str], port: int, folder: Path) -> Iterator[str]:
    """A gateway until it listens; its base URL. Its log is the failure's text."""
    log = folder / "gateway.log"
    with log.open("w") as file:
        environment = {"HOME": str(folder), "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
        child = subprocess.Popen(command, cwd=folder, env=environment, stdout=file, stderr=file)
    try:
        for _ in range(400):
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                pass
            try:
                child.wait(0.05)
            except subprocess.TimeoutExpired:
                continue
            break
        assert child.poll() is None, log.read_text()
        yield f"http://127.0.0.1:{port}"
    finally:
        child.terminate()
        child.wait(15)


@contextmanager
def nginx(issuer: str, api_port: int, folder: Path) -> Iterator[str]:
    """With every path inside the folder."""
    port = free_port()
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = "".join(f"{kind}_temp_path {folder}/{kind};\n" for kind in kinds)
    config = folder / "nginx.conf"
    config.write_text(
        f"daemon off; pid {folder}/nginx.pid; error_log stderr; events {{}}\n"
        f"http {{ access_log off;\n{temporary}{adapted('nginx', issuer, port, api_port)} }}\n"
    )
    with running([program("nginx"), "-e", "stderr", "-c", str(config)], port, folder) as url:
        yield url


@contextmanager
def caddy(issuer: str, api_port: int, folder: Path) -> Iterator[str]:
    """Without its administration port."""
    port = free_port()
    config = folder / "Caddyfile"
    options = "{\n\tadmin off\n\tauto_https off\n}\n"
    config.write_text(options + adapted("caddyfile", issuer, port, api_port))
    command = [program("caddy"), "run", "--config", str(config), "--adapter", "caddyfile"]
    with running(command, port, folder) as url:
        yield url


@contextmanager
def haproxy(issuer: str, api_port: int, folder: Path, key_rules: str) -> Iterator[str]:
    """With the rules that `key export` printed where the guide says."""
    port = free_port()
    rules = adapted("haproxy", issuer, port, api_port)
    comment = "    # the lines of `watchword key export --format haproxy`\n"
    assert comment in rules
    indented = "".join(f"    {line}\n" for line in key_rules.splitlines())
    times = "defaults\n    timeout connect 5s\n    timeout client 30s\n    timeout server 30s\n\n"
    config = folder / "haproxy.cfg"
    config.write_text(times + rules.replace(comment, indented))
    with running([program("haproxy"), "-db", "-f", str(config)], port, folder) as url:
        yield url
