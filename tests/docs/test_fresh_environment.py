"""What `pip install` brings, in an environment that holds nothing else: the documented lines are enough."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest
from tests.adapters import contract, pages
from tests.adapters.test_contract import OverHttp

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.xdist_group("fresh environment")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The distribution."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--quiet", "wheel", "--no-deps", "--no-build-isolation", "-w", str(folder)]
    subprocess.run([*pip, str(ROOT)], check=True, capture_output=True)
    return next(folder.glob("*.whl"))


def installed(folder: Path, *wanted: str) -> Path:
    """A fresh environment with these and what they need; its programs."""
    venv.create(folder, with_pip=True)
    subprocess.run([folder / "bin" / "pip", "--quiet", "install", *wanted], check=True, capture_output=True)
    return folder / "bin"


def test_the_libraries_alone(wheel: Path, tmp_path: Path) -> None:
    """`pip install watchword uvicorn` and the page of ASGI would end in an ImportError on a user's machine."""
    programs = installed(tmp_path / "env", str(wheel), "uvicorn")
    light = "import sys, watchword.client, watchword.resource; print('watchword.server' in sys.modules)"
    ran = subprocess.run([programs / "python", "-c", light], capture_output=True, text=True, cwd=tmp_path, check=True)
    assert ran.stdout == "False\n"
    with contract.issuer() as made, pages.running("asgi", made.url, tmp_path, str(programs / "python")) as port:
        contract.accepts(OverHttp(port), "Bearer", made)


def test_the_server(wheel: Path, tmp_path: Path) -> None:
    """`pip install watchword[server]` and `watchword demo` would not tell the airline's story."""
    programs = installed(tmp_path / "env", f"{wheel}[server]")
    clean = {name: value for name, value in os.environ.items() if not name.startswith("WATCHWORD_")}
    ran = subprocess.run(
        [programs / "watchword", "demo"], cwd=tmp_path, env=clean, capture_output=True, text=True, timeout=120
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "Every step held" in ran.stdout + ran.stderr
