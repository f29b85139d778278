"""What the plugin's C takes a topic filter for, asked without a broker around it (MQTT 5 section 4.7)."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from collections.abc import Callable

import pytest
from examples.brokers.mosquitto import SOURCE
from hypothesis import given
from hypothesis import strategies as st

LEVELS = st.lists(st.sampled_from(["a", "b", "", "$x", "+"]), min_size=1, max_size=4)
TOPICS = st.lists(st.sampled_from(["a", "b", "", "$x"]), min_size=1, max_size=5)


@pytest.fixture(scope="module")
def covers(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], bool]:
    """The plugin's own function, without a broker around it."""
    made = tmp_path_factory.mktemp("plugin") / "watchword_mosquitto.so"
    subprocess.run([shutil.which("make") or "make", "-C", SOURCE, f"OUT={made}"], check=True, capture_output=True)
    function = ctypes.CDLL(str(made), mode=1).watchword_covers  # RTLD_LAZY: the broker's functions are not there
    function.restype = ctypes.c_bool

    def asked(allowed: str, topic: str) -> bool:
        held = ctypes.create_string_buffer(f"{allowed}\nsub x\n".encode())
        start = ctypes.addressof(held)
        end = ctypes.c_void_p(start + len(allowed.encode()))
        return bool(function(ctypes.c_void_p(start), end, ctypes.c_char_p(topic.encode())))

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
