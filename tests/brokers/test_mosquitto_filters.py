"""What the plugin's C takes a topic filter for, asked without a broker around it (MQTT 5 section 4.7)."""

from __future__ import annotations

import ctypes
import shutil
import socket
import subprocess
from collections.abc import Callable

import pytest
from examples.brokers.mosquitto import SOURCE
from hypothesis import given
from hypothesis import strategies as st

LEVELS = st.lists(st.sampled_from(["a", "b", "", "$x", "+"]), min_size=1, max_size=4)
TOPICS = st.lists(st.sampled_from(["a", "b", "", "$x"]), min_size=1, max_size=5)


@pytest.fixture(scope="module")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    """The plugin's own functions, without a broker around them."""
    made = tmp_path_factory.mktemp("plugin") / "watchword_mosquitto.so"
    subprocess.run([shutil.which("make") or "make", "-C", SOURCE, f"OUT={made}"], check=True, capture_output=True)
    library = ctypes.CDLL(str(made), mode=1)  # RTLD_LAZY: the broker's functions are not there
    for name in ("watchword_covers", "watchword_allows", "watchword_read"):
        getattr(library, name).restype = ctypes.c_bool
    return library


@pytest.fixture(scope="module")
def covers(plugin: ctypes.CDLL) -> Callable[[str, str], bool]:
    """Whether a filter covers a topic."""

    def asked(allowed: str, topic: str) -> bool:
        held = ctypes.create_string_buffer(f"{allowed}\nsub x\n".encode())
        start = ctypes.addressof(held)
        end = ctypes.c_void_p(start + len(allowed.encode()))
        return bool(plugin.watchword_covers(ctypes.c_void_p(start), end, ctypes.c_char_p(topic.encode())))

    return asked


@pytest.mark.parametrize(
    ("allowed", "asked", "within"),
    [
        ("a/b", "a/b", True), ("a/b", "a/bc", False), ("a/bc", "a/b", False), ("a/b", "a", False), ("a", "a/b", False),
        ("a/#", "a", True), ("a/#", "a/", True), ("a/#", "a/b/c", True), ("a/#", "a/#", True), ("a/#", "ab", False),
        ("a/#", "+/b", False), ("a/+", "a/b", True), ("a/+", "a/+", True), ("a/+", "a/#", False), ("a/+", "a", False),
        ("a/+", "a/", True), ("a/+/c", "a/b/c", True), ("a/+/c", "a/+/#", False), ("a/+/#", "a/#", False),
        ("#", "a/b", True), ("#", "#", True), ("#", "$SYS/x", False), ("#", "$SYS/#", False), ("+/x", "$SYS/x", False),
        ("$SYS/#", "$SYS/x", True), ("a", "#", False), ("a", "+", False), ("+", "+", True), ("+", "#", False),
        ("", "a", False), ("a//b", "a//b", True), ("a/+/b", "a//b", True), ("a/", "a", False), ("a/#", "b/../a", False),
    ],
)  # fmt: skip
def test_what_a_filter_covers(allowed: str, asked: str, within: bool, covers: Callable[[str, str], bool]) -> None:
    """A filter that covers too much is another's topic in the wrong hands; too little, a deaf device."""
    assert covers(allowed, asked) is within


@given(
    allowed=LEVELS, tail=st.booleans(), topic=st.lists(st.sampled_from(["a", "b", "", "$x"]), min_size=1, max_size=5)
)
def test_topics_match_as_the_standard_says(
    allowed: list[str], tail: bool, topic: list[str], covers: Callable[[str, str], bool]
) -> None:
    """C that walks two texts at once is easily wrong at their ends (MQTT 5 section 4.7)."""
    wanted = [*allowed, "#"] if tail else allowed
    same = all(one in ("+", other) for one, other in zip(allowed, topic, strict=False))
    long_enough = len(topic) >= len(allowed) if tail else len(topic) == len(allowed)
    hidden = topic[0].startswith("$") and wanted[0] in ("+", "#")
    if "/".join(topic):  # a topic has at least one character
        assert covers("/".join(wanted), "/".join(topic)) is (same and long_enough and not hidden)


@pytest.mark.parametrize(
    ("rights", "publishes", "allowed"),
    [
        ("pub a\n", True, True), ("pub a\n", False, False), ("sub a\n", False, True), ("sub a\n", True, False),
        ("", False, False), ("\n", False, False), ("a\n", False, False), ("su\n", False, False),
        ("sub\n", False, False), ("sub \n", False, False), ("xub a\n", False, False), ("\nsub a\n", False, True),
        ("pub\nsub a\n", True, False),
        ("sub a", False, False), ("p\na\n", True, False),
    ],
)  # fmt: skip
def test_a_line_that_is_no_right_gives_nothing(
    rights: str, publishes: bool, allowed: bool, plugin: ctypes.CDLL
) -> None:
    """A line under four bytes was read beyond its end: the next one's text became a right."""
    asked = plugin.watchword_allows(rights.encode(), publishes, b"a")
    assert asked is allowed


@pytest.mark.parametrize(("sent", "closes", "whole"), [(b"yes", True, True), (b"y", False, False), (b"", True, True)])
def test_a_dripping_answer_has_an_end(sent: bytes, closes: bool, whole: bool, plugin: ctypes.CDLL) -> None:
    """Each byte began the time-out anew: a service that drips would hold the broker, and its clients, for hours."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(sent)
        if closes:
            theirs.shutdown(socket.SHUT_WR)
        answer = ctypes.create_string_buffer(16)
        asked = plugin.watchword_read(ours.fileno(), answer, ctypes.c_size_t(16), ctypes.c_long(0))
    assert asked is whole
    assert answer.value == sent


def test_an_answer_that_never_ends_is_cut_off(plugin: ctypes.CDLL) -> None:
    """It would be written beyond the plugin's memory."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(b"x" * 64)
        answer = ctypes.create_string_buffer(16)
        assert not plugin.watchword_read(ours.fileno(), answer, ctypes.c_size_t(16), ctypes.c_long(9))
    assert answer.value == b"x" * 15
