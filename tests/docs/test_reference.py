"""The reference of the Python API is built from docstrings: `make docs`."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pdoc.doc
import pytest
from tests.docs.blocks import ROOT

MODULES = ["watchword.client", "watchword.resource", "watchword.jose"]


@pytest.mark.parametrize("name", MODULES)
def test_every_public_name_is_documented(name: str) -> None:
    """The reference would show a signature and leave its reader to guess shapes, units and errors."""
    module = pdoc.doc.Module(importlib.import_module(name))
    public = module.obj.__all__
    assert len(set(public)) == len(public)
    home = [module, *_parts(name)]
    bare = [one for one in public if not any(one in m.members and m.members[one].docstring for m in home)]
    for one in public:
        member = module.members[one]
        if isinstance(member, pdoc.doc.Class):
            bare += [part.fullname for part in member.own_members if _speaks(part) and not part.docstring]
    assert not bare


def _parts(name: str) -> list[pdoc.doc.Module]:
    """The package's own modules: a constant is documented where it is assigned, not where it is passed on."""
    package = importlib.import_module(name)
    known = [m for n, m in sys.modules.items() if n.startswith(f"{package.__name__}.")]
    return [pdoc.doc.Module(one) for one in known]


def _speaks(member: pdoc.doc.Doc[object]) -> bool:
    """A public method or property; what a field means stands in the docstring of its class."""
    return isinstance(member, pdoc.doc.Function) and not member.name.startswith("_")


def test_the_reference_builds(tmp_path: Path) -> None:
    """A reference that cannot be built is noticed on the day of the release."""
    given = [f"BIN={Path(sys.executable).parent}", f"REFERENCE={tmp_path}"]
    command = ["make", "--old-file=venv", "docs", *given]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    pages = {str(page.relative_to(tmp_path)) for page in tmp_path.rglob("*.html")}
    assert {f"{name.replace('.', '/')}.html" for name in MODULES} <= pages
    assert "ClientCredentials" in (tmp_path / "watchword" / "client.html").read_text()


def test_a_warning_fails_the_build(tmp_path: Path) -> None:
    """A link into nowhere or a type that cannot be read would be printed and overlooked."""
    (tmp_path / "broken.py").write_text('"""A module."""\n\n\ndef f(x: "Nowhere") -> None:\n    """A function."""\n')
    command = [sys.executable, "-W", "error", "-m", "pdoc", "-o", str(tmp_path / "out"), "./broken.py"]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.returncode != 0
    assert "Nowhere" in ran.stderr
