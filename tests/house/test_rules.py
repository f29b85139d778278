"""The house rules, held by tests."""

import ast
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import yaml
from tests.house.deferred_cases import DEFERRED

ROOT = Path(__file__).resolve().parents[2]
GROUPS = [
    "TEP", "CAU", "SCP", "RES", "INT", "REV", "DIS", "ROT", "SEC", "LOG", "TEN", "ADM",
    "SAS", "JWT", "CLK", "CRS", "DBF", "PKJ", "SSR", "RAC", "CLI", "MTL", "DPO", "REG", "TEX", "RLM", "SCA",
]  # fmt: skip
MOST_LINES, MOST_PARAMETERS, MOST_MODULES, MOST_BY_POSITION = 50, 9, 25, 5
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


Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions(tree: ast.AST) -> Iterator[Function]:
    yield from (node for node in ast.walk(tree) if isinstance(node, Function))


def parameters_of(function: Function) -> int:
    """Without `self` and `cls`."""
    a = function.args
    named = [one.arg for one in (*a.posonlyargs, *a.args, *a.kwonlyargs)]
    return len(named) - (named[:1] in (["self"], ["cls"])) + (a.vararg is not None) + (a.kwarg is not None)


def is_verb(function: Function) -> bool:
    """Typer calls it: its parameters are the command line's options."""
    declared = " ".join(ast.unparse(one) for one in function.decorator_list)
    return ".command(" in declared or "typer." in ast.unparse(function.args)


def lines_of(function: Function) -> int:
    """Of a verb, those of its body: its option list is as long as its help."""
    first = function.body[0].lineno if is_verb(function) else function.lineno
    return (function.end_lineno or first) - first + 1


def too_long(function: Function) -> bool:
    return lines_of(function) > MOST_LINES or (not is_verb(function) and parameters_of(function) > MOST_PARAMETERS)


def sources() -> dict[str, ast.Module]:
    """Every module of src by its path, but the migrations: what they did does not change any more."""
    return {
        str(path.relative_to(ROOT)): ast.parse(path.read_text())
        for path in sorted((ROOT / "src").rglob("*.py"))
        if path.parent.name != "versions"
    }


def test_no_long_function_and_no_long_parameter_list() -> None:
    """A function of more than 50 lines has steps without names; of ten arguments, two are confused one day."""
    found = {f"{path}:{one.name}" for path, tree in sources().items() for one in functions(tree) if too_long(one)}
    assert not found, sorted(found)


def test_what_is_too_long() -> None:
    """A rule that measures wrongly lets everything pass."""
    ten = ", ".join(f"p{n}" for n in range(10))
    long = "".join(f"    x = {n}\n" for n in range(MOST_LINES))
    options = "a: Annotated[int, typer.Option()] = 1"
    judged = {
        f"def f({ten}): ...": True,
        f"def f(self, {ten[4:]}): ...": False,
        f"def f({ten[4:]}, *more): ...": True,
        f"async def f(*, {ten}): ...": True,
        f"def f({ten}, {options}): ...": False,
        f"@app.command('x')\ndef f({ten}): ...": False,
        f"def f():\n{long}": True,
        f"def f():\n{long[10:]}": False,
        f"def f(\n\n{options}\n):\n{long}": False,
        f"def f({options}):\n{long}    x = 1\n": True,
    }
    assert {text: any(map(too_long, functions(ast.parse(text)))) for text in judged} == judged


def test_no_crowded_folder() -> None:
    """Nobody finds a module among 66."""
    crowds = Counter(str(Path(path).parent) for path in sources())
    assert not {folder: count for folder, count in crowds.items() if count > MOST_MODULES}


def test_the_composition_passes_by_name() -> None:
    """Of six things that are passed by position, two change places unseen when they have one type."""
    hits = [
        f"{path}:{call.lineno} {ast.unparse(call.func)}"
        for path, tree in sources().items()
        if path.startswith("src/watchword/server/composition/") or path == "src/watchword/server/app.py"
        for call in ast.walk(tree)
        if isinstance(call, ast.Call) and len(call.args) > MOST_BY_POSITION
    ]
    assert not hits, "\n".join(hits)


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


def test_the_index_of_decisions_lists_each_record_once_in_order_and_says_what_was_decided() -> None:
    """A record that the index lacks is not found; of two lines for one record, one is not kept up to date."""
    folder = ROOT / "docs" / "decisions"
    rows = re.findall(r"^\| \[(\d{4})\]\(([^)]*)\) \| (.*) \|$", (folder / "README.md").read_text(), re.M)
    assert [name for _, name, _ in rows] == sorted(path.name for path in folder.glob("[0-9]*.md"))
    assert not [number for number, name, _ in rows if not name.startswith(f"{number}-")]
    told = {number: decided for number, _, decided in rows if len(decided.split()) < 8 or not decided.endswith(".")}
    assert not told, f"what was decided, in one sentence: {told}"
    titles = {number: (folder / name).read_text().partition("\n")[0] for number, name, _ in rows}
    repeated = [number for number, _, decided in rows if decided.rstrip(".").lower() in titles[number].lower()]
    assert not repeated, f"only the title again: {repeated}"


def test_the_command_line_speaks_through_one_module() -> None:
    """A name with control characters, or with markup, would move the cursor of whoever lists applications."""
    raw = re.compile(r"\b(?:out|err)\.print\(|sys\.stdout\.write\(|typer\.echo\(|^\s*print\(", re.M)
    speaks = {"say.py", "main.py"}  # main.py prints the version
    hits = [
        str(path.relative_to(ROOT))
        for path in (ROOT / "src/watchword/cli").rglob("*.py")
        if path.name not in speaks and "story" not in path.parts and raw.search(path.read_text())
    ]
    assert not hits, hits


def test_new_files_are_new() -> None:
    """A link that somebody else laid in a shared folder would be followed, and a secret written into his file."""
    opened = re.compile(r"os\.open\([^)]*O_CREAT[^)]*\)")
    found = [
        (str(path.relative_to(ROOT)), each.group())
        for path in (ROOT / "src").rglob("*.py")
        for each in opened.finditer(path.read_text())
    ]
    assert found
    assert not [one for one in found if "O_EXCL" not in one[1]]
