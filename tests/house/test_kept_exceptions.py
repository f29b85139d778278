"""An exception that gets another name outlives its handler, and its frames with it: a rule that keeps that away."""

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

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
