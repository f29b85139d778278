"""The fenced code blocks of the documents, and how each is run."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt

ROOT = Path(__file__).resolve().parents[2]
RUN = ("python", "sh", "console")


@dataclass(frozen=True)
class Block:
    """One fence.

    `info` is all that follows the backticks: the language, then `as-caller`, `title=FILE` or `no-run: reason`.
    """

    path: Path
    line: int
    info: str
    text: str

    @property
    def language(self) -> str:
        return self.info.split(" ")[0]

    @property
    def reason(self) -> str | None:
        """Why it is not run; None when it is."""
        found = re.search(r"no-run:? ?(.*)", self.info)
        return found[1].strip() if found else None

    @property
    def title(self) -> str | None:
        """The file that the block is, for a later block to run."""
        found = re.search(r"\btitle=(\S+)", self.info)
        return found[1] if found else None

    @property
    def as_caller(self) -> bool:
        """A caller's environment; else the operator's, who has the profile that `init` wrote."""
        return self.language == "python" or "as-caller" in self.info.split(" ")

    @property
    def place(self) -> str:
        return f"{self.path.relative_to(ROOT)}:{self.line}"


def documents() -> list[Path]:
    """The README and every page below docs and examples."""
    return [ROOT / "README.md", *sorted(ROOT.glob("docs/**/*.md")), *sorted(ROOT.glob("examples/**/*.md"))]


def blocks(path: Path) -> list[Block]:
    """Those in a language that runs, in their order."""
    fences = [token for token in MarkdownIt().parse(path.read_text()) if token.type == "fence"]
    found = [Block(path, (token.map or [0])[0] + 1, token.info.strip(), token.content) for token in fences]
    return [block for block in found if block.language in RUN]


def turns(console: str) -> list[tuple[str, list[str]]]:
    """A console session as commands, each with the lines that it is said to print."""
    found: list[tuple[str, list[str]]] = []
    for line in console.splitlines():
        if line.startswith("$ "):
            found.append((line[2:], []))
        elif line.strip() and found:
            found[-1][1].append(line)
    return found


def missing(said: list[str], output: str) -> list[str]:
    """The lines that the output lacks; `...` stands for anything within a line, and alone for any lines."""
    lines = output.splitlines()
    patterns = {line: ".*".join(re.escape(part) for part in line.strip().split("...")) for line in said}
    return [line for line, pattern in patterns.items() if not any(re.fullmatch(pattern, o.strip()) for o in lines)]
