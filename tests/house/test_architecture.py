"""The map of the code is held against the code: its picture, its paths, and the walks that it describes."""

import re
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from docs.draw_map import MAP, Room, check_down, drawing, of_packages, reduced
from tests.house.test_rules import ROOT
from tests.house.tracing import entered_files
from tests.support.enrolling import codes, enrol, group
from tests.support.instance import BASE, Instance, credentials_of, instance

SOURCE = ROOT / "src" / "watchword"
ARCHITECTURE = ROOT / "docs" / "ARCHITECTURE.md"
CONTRIBUTING = ROOT / "CONTRIBUTING.md"
PATH = re.compile(r"`([\w.-]+(?:/[\w.-]+)*/|[\w.-]+(?:/[\w.-]+)*\.(?:py|c|md|svg|toml))`")
"""A folder ends with a slash, a file with what its kind ends with."""
Work = Callable[[], Awaitable[None]]


def test_the_picture_shows_the_imports_of_today() -> None:
    """A picture that nobody redraws is wrong after the first package that moves."""
    assert MAP.read_text() == drawing(), "run: .venv/bin/python docs/draw_map.py"


def test_the_picture_has_no_arrow_that_points_up_or_sideways() -> None:
    """Drawn anyway, an import against the layers would look as if it had been meant."""
    rows = [[Room("a", ("a",)), Room("b", ("b",))], [Room("c", ("c",))]]
    down = {"a": frozenset({"c"}), "b": frozenset({"c"}), "c": frozenset[str]()}
    check_down(rows, down)
    for importer, imported in (("c", "a"), ("a", "b")):
        with pytest.raises(ValueError, match=f"{importer} imports {imported}"):
            check_down(rows, {**down, importer: down[importer] | {imported}})


def test_an_import_between_the_light_packages_and_the_server_is_noticed() -> None:
    """They stand in columns of their own: an arrow between two columns would be drawn nowhere."""
    nothing = frozenset[str]()
    edges = {"client": frozenset({"server.app"}), "server.app": frozenset({"server.http"}), "server.http": nothing}
    assert of_packages(edges) == {"client": frozenset({"server"}), "server": nothing}


def test_an_arrow_is_left_out_only_where_a_longer_way_shows_it() -> None:
    """One arrow too few, and the picture hides an import; all of them, and nobody sees anything."""
    edges = {"a": frozenset({"b", "c", "d"}), "b": frozenset({"c"}), "c": frozenset[str](), "d": frozenset[str]()}
    assert reduced(edges) == {**edges, "a": frozenset({"b", "d"})}


@pytest.mark.parametrize("page", [ARCHITECTURE, CONTRIBUTING], ids=lambda page: page.name)
def test_every_path_on_the_page_exists(page: Path) -> None:
    """A map with a street that is gone is trusted in the wrong place."""
    named = PATH.findall(page.read_text())
    missing = [name for name in named if not any((root / name).exists() for root in (SOURCE, ROOT))]
    assert named and not missing, missing


def test_every_name_to_search_for_is_in_its_file() -> None:
    """A name that was changed in the code alone is searched for in vain."""
    pairs = re.findall(r"`([\w./]+\.py)` \(`([^`]+)`\)", ARCHITECTURE.read_text())
    lost = [(name, wanted) for name, wanted in pairs if wanted not in (SOURCE / name).read_text()]
    assert len(pairs) > 30 and not lost, lost


def test_every_package_is_on_the_map() -> None:
    """A package that the map does not name is found by its author only."""
    named = set(PATH.findall(ARCHITECTURE.read_text()))
    packages = {f"{path.parent.relative_to(SOURCE)}/" for path in SOURCE.rglob("__init__.py")} - {"./", "server/"}
    assert packages <= named, sorted(packages - named)


def steps(heading: str) -> list[str]:
    """The files before the colon of each numbered step, in order."""
    text = ARCHITECTURE.read_text().partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    heads = re.findall(r"^\d+\. ((?:`[^`]+`(?:, )?)+):", text, re.M)
    return [name for head in heads for name in PATH.findall(head)]


def out_of_order(walk: list[str], entered: list[str]) -> list[str]:
    """The steps that the code did not take in this place. A file that comes twice is entered again after the others."""
    wrong, begin = [], entered.index(walk[0])
    entered = entered[begin:]
    place = 0
    for number, name in enumerate(walk):
        after = place if name in walk[:number] else 0
        found = entered.index(name, after) if name in entered[after:] else -1
        if found < place:
            wrong.append(name)
        place = max(place, found)
    return wrong


def test_a_walk_in_another_order_is_noticed() -> None:
    """A check of the walks that passes for any order would let the page say anything."""
    entered = ["x", "a", "b", "a", "c", "a"]
    assert not out_of_order(["a", "b", "c"], entered)
    assert not out_of_order(["a", "b", "c", "a"], entered)
    assert out_of_order(["a", "c", "b"], entered) == ["b"]
    assert out_of_order(["a", "missing", "c"], entered) == ["missing"]
    assert out_of_order(["a", "b", "c", "b"], entered) == ["b"]


async def one_token_request(ww: Instance) -> Work:
    api = await ww.api("https://payments.example", "payments:charge")
    credentials = credentials_of(await ww.application("shop", api, "payments:charge"))

    async def work() -> None:
        assert (await ww.token(credentials)).status_code == 200

    await work()
    return work


async def one_admin_change(ww: Instance) -> Work:
    api = await ww.api("https://payments.example", "payments:charge")
    made = await ww.application("shop", api, "payments:charge")
    headers, url = await ww.bearer(), f"{BASE}/api/v1/applications/{made['client_id']}"

    async def work() -> None:
        answer = await ww.http.patch(url, json={"description": "sells"}, headers=headers)
        assert answer.status_code == 200, answer.text

    return work


async def one_enrolment(ww: Instance) -> Work:
    [code] = await codes(ww, await group(ww))

    async def work() -> None:
        assert (await enrol(ww, code)).status_code == 201

    return work


WALKS = {
    "One token request": one_token_request, "One admin change": one_admin_change, "One enrolment": one_enrolment,
}  # fmt: skip


@pytest.mark.parametrize("heading", WALKS)
async def test_the_code_takes_the_walk_that_the_page_describes(heading: str, tmp_path: Path) -> None:
    """Somebody who follows the walk in the debugger has to meet each file where the page says so."""
    async with instance(tmp_path) as ww:
        work = await WALKS[heading](ww)
        with entered_files() as entered:
            await work()
    walk = steps(heading)
    assert len(walk) > 10
    assert not out_of_order(walk, entered), "\n".join(dict.fromkeys(entered))
