"""The house rules, held by tests."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import yaml
from tests.house.deferred_cases import DEFERRED

ROOT = Path(__file__).resolve().parents[2]
GROUPS = [
    "TEP", "CAU", "SCP", "RES", "INT", "REV", "DIS", "ROT", "SEC", "LOG", "TEN", "ADM",
    "SAS", "JWT", "CLK", "CRS", "DBF", "PKJ", "SSR", "RAC", "CLI", "MTL", "DPO", "REG", "TEX", "RLM", "SCA",
]  # fmt: skip
CASE = re.compile(r"\b(?:" + "|".join(GROUPS) + r")-\d{3}\b")


def tracked() -> list[Path]:
    out = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    return [ROOT / name for name in out.stdout.split("\0") if name and (ROOT / name).is_file()]


def test_every_test_says_what_would_be_lost() -> None:
    """A test without a docstring is deleted by the next reader who finds it in the way."""
    bare = [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"
        for path in (ROOT / "tests").rglob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
        and not ast.get_docstring(node)
    ]
    assert not bare, "\n".join(bare)


def test_no_sleep_and_no_patching() -> None:
    """Sleeping tests are slow and flaky; patched ones prove nothing about the real code."""
    bad = re.compile(r"time\.sle" r"ep\(|monkey" r"patch|mock\.pat" r"ch")
    hits = [str(p.relative_to(ROOT)) for p in (ROOT / "tests").rglob("*.py") if bad.search(p.read_text())]
    assert not hits, hits


def test_no_long_source_file() -> None:
    """A file of more than 400 lines holds more than one idea."""
    lengths = {p: len(p.read_text().splitlines()) for p in (ROOT / "src").rglob("*.py")}
    assert not {str(p.relative_to(ROOT)): n for p, n in lengths.items() if n > 400}


def test_no_machine_path_or_registry_host() -> None:
    """A tracked path or registry host of one machine breaks the build on every other."""
    bad = re.compile(
        r"(?<![\w.])/(?:wo" r"rk|ro" r"ot|op" r"t)/\w|(?:py" r"pi|pythonh" r"osted|npm" r"js)\.(?:org|com)"
    )
    hits = []
    for path in tracked():
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            continue
        hits += [f"{path.relative_to(ROOT)}: {m.group()}" for m in bad.finditer(text)]
    assert not hits, "\n".join(hits)


def test_imports_point_down() -> None:
    """Without the contracts, the layers of the design are only a picture."""
    program = Path(sys.executable).parent / "lint-imports"
    done = subprocess.run([str(program)], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_shared_case_is_named_or_deferred(shared_dir: Path) -> None:
    """A case that no test names and no issue owes is a requirement silently dropped."""
    wanted: set[str] = set()
    for group in GROUPS:
        found = yaml.safe_load((shared_dir / "cases" / f"{group.lower()}.yaml").read_text())
        wanted |= set(re.findall(rf"'id': '({group}-\d{{3}})'", repr(found)))
    assert wanted, "no case ids were read from the shared cases"
    named: set[str] = set()
    for path in (ROOT / "tests").rglob("*.py"):
        if "house" not in path.parts:
            named |= set(CASE.findall(path.read_text()))
    missing = sorted(wanted - named - DEFERRED.keys())
    assert not missing, f"{len(missing)} cases neither named nor deferred: {' '.join(missing)}"
    stale = sorted(DEFERRED.keys() & named)
    assert not stale, f"deferred but named by a test: {' '.join(stale)}"


def test_every_decision_is_in_the_index() -> None:
    """A record that the index does not list is not found when the question comes up again."""
    folder = ROOT / "docs" / "decisions"
    index = (folder / "README.md").read_text()
    assert not [p.name for p in folder.glob("0*.md") if p.name not in index]


_LETS_GO = {"without_frames", "note", "problem_of", "str", "repr", "type", "isinstance", "getattr"}
"""What gives back an exception without its frames, or no exception."""


def kept_exceptions(source: str) -> list[int]:
    """Lines on which a handler gives its exception another name, or a place in a collection."""
    found: list[int] = []
    for handler in ast.walk(ast.parse(source)):
        if isinstance(handler, ast.ExceptHandler) and handler.name:
            for node in (each for statement in handler.body for each in ast.walk(statement)):
                kept = _kept(node)
                if kept is not None and handler.name in _names(kept):
                    found.append(node.lineno)  # type: ignore[attr-defined]
    return found


def _kept(node: ast.AST) -> ast.AST | None:
    """What stays after this statement, in a local, in an attribute or in a collection."""
    if isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign | ast.NamedExpr):
        return node.value
    if isinstance(node, ast.Return) and not isinstance(node.value, ast.Call):
        return node.value
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in ("append", "add"):
        return ast.Tuple(elts=node.args)
    return None


def _names(node: ast.AST) -> set[str]:
    """The names that a value is made of: not those of which it has an attribute, a text or nothing."""
    if isinstance(node, ast.Attribute | ast.JoinedStr):
        return set()
    if isinstance(node, ast.Call):
        function = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if function in _LETS_GO:
            return set()
    if isinstance(node, ast.Name):
        return {node.id}
    return {name for child in ast.iter_child_nodes(node) for name in _names(child)}


def test_nobody_keeps_an_exception() -> None:
    """A local that names an exception keeps the frames it came through, and the request's body with them."""
    assert kept_exceptions("try:\n f()\nexcept A as e:\n told = e\n") == [4]
    assert kept_exceptions("try:\n f()\nexcept A as e:\n told = B(e.text) if e.old else e\n") == [4]
    assert kept_exceptions("try:\n f()\nexcept A as e:\n told = without_frames(e)\n text = e.text\n") == []
    hits = [
        f"{path.relative_to(ROOT)}:{line}"
        for folder in ("server", "jose")
        for path in (ROOT / "src" / "watchword" / folder).rglob("*.py")
        for line in kept_exceptions(path.read_text())
    ]
    assert not hits, "\n".join(hits)
