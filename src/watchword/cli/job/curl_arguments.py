"""What `watchword curl` passes on to curl: the token goes to one host, also when curl follows a redirect.

curl sends a header of its configuration with every request that it makes. So all its URLs have to be on one host, and
options are refused that read further URLs from elsewhere or that let the header follow a redirect to another host.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Final
from urllib.parse import urlsplit

from watchword.client.wire import may_use_proxy

REFUSED: Final = {
    "--config": "its file can name other hosts",
    "-K": "its file can name other hosts",
    "--location-trusted": "it sends the token to wherever a redirect leads",
    "--next": "run `watchword curl` once for each request",
    "-:": "run `watchword curl` once for each request",
    "--oauth2-bearer": "`watchword curl` brings the token",
}
_FLAGS: Final = "#0123 46aBfgGijJkIlLMnNOpqRsSvZ".replace(" ", "")
"""Short options of curl without a value: the next letter is an option as well (`-sK FILE`)."""
_TAKES_TEXT: Final = re.compile(
    r"-[dehHFux]|--(data.*|json|referer|header|form.*|user|proxy.*|preproxy|socks.*|url-query|doh-url|unix-socket)"
)
"""Options whose value may look like a URL and is none that curl requests."""
_URL: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


def checked_arguments(arguments: Sequence[str], check_target: Callable[[str], None]) -> list[str]:
    """The arguments for curl. Raises ValueError for a second host, a refused option, or a URL where no token may go."""
    for name in _options(arguments):
        if name in REFUSED:
            raise ValueError(f"{name} cannot be used here: {REFUSED[name]}")
    urls = list(_urls(arguments))
    for url in urls:
        check_target(url)
    hosts = {(urlsplit(url).hostname, urlsplit(url).port) for url in urls}
    if len(hosts) > 1:
        raise ValueError("the URLs are on several hosts, and the token is for one: call each host on its own")
    direct = ["--noproxy", "*"] if urls and not all(map(may_use_proxy, urls)) else []
    return [*direct, *arguments]


def _options(arguments: Sequence[str]) -> Iterator[str]:
    """The names of all options; of short ones written together, each."""
    for argument in arguments:
        if argument.startswith("--"):
            yield argument.partition("=")[0]
        elif argument.startswith("-"):
            for letter in argument[1:]:
                yield f"-{letter}"
                if letter not in _FLAGS:
                    break


def _urls(arguments: Sequence[str]) -> Iterator[str]:
    before = ""
    for argument in arguments:
        url = argument.removeprefix("--url=")
        if _URL.match(url) and not _TAKES_TEXT.fullmatch(before):
            yield url
        before = argument
