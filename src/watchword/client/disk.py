"""Cache tokens on disk for processes that end before their token expires: cron jobs, `watchword token`.

Each token is one file of mode 0600 in a folder of mode 0700, replaced in one step. The file's name is a MAC under the
client secret: a program with another secret finds nothing. If the operating system has a keyring, the content is
encrypted with a key in the keyring. The cache never makes a call fail: a file that cannot be read counts as absent.
"""

from __future__ import annotations

import json
import os
import stat
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from watchword.client.errors import TokenError, TokenRefused, TokenUnavailable
from watchword.client.flow import Learned, Pause, Plan, Steps, renew
from watchword.client.secret import Secret
from watchword.client.token import AccessToken, Held
from watchword.client.wire import LONGEST_LIFE

if TYPE_CHECKING:
    from filelock import BaseFileLock

    from watchword.jose.sealing import MasterKey

POLL: Final = 0.05
"""Seconds between two looks at a lock that another process holds."""
PATIENCE: Final = 30.0
"""Seconds after which this process sends its own request: the holder of the lock may be stopped."""
_BIGGEST: Final = 131_072
_OPEN: Final = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)


def default_folder() -> Path:
    """``$WATCHWORD_CACHE``, else systemd's ``$CACHE_DIRECTORY``, else ``watchword`` in the user's cache folder."""
    if given := os.environ.get("WATCHWORD_CACHE"):
        return Path(given)
    if systemd := os.environ.get("CACHE_DIRECTORY"):
        return Path(systemd.split(":")[0], "tokens")
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(base, "watchword", "tokens")


@dataclass(frozen=True, slots=True)
class Failure:
    """Why another process got no token, and when (Unix seconds)."""

    at: float
    error: TokenError


@dataclass(frozen=True, slots=True)
class Record:
    """The content of a file: a token, or the failure of the last request, which waiting processes do not repeat."""

    held: Held | None = None
    failure: Failure | None = None


class DiskCache:
    """A folder of tokens that processes of one user share.

    Args:
        folder: created with mode 0700; a folder that other users can enter is not used.
        key: 32 bytes for encryption; None uses a key in the operating system's keyring. Without a keyring (a
            server's cron has none) the files are not encrypted: mode 0600 protects the token.
    """

    def __init__(self, folder: str | os.PathLike[str] | None = None, key: Secret | None = None) -> None:
        self.folder = default_folder() if folder is None else Path(folder)
        self._key = key
        self._seal: MasterKey | None = None
        self._asked_keyring = False

    def __repr__(self) -> str:
        return f"DiskCache({str(self.folder)!r})"

    def name(self, plan: Plan) -> str:
        """The file's name for the tokens of ``plan``."""
        identity: list[Any] = [plan.issuer, plan.endpoint, plan.client_id, *plan.parameters]
        if plan.dpop is not None:
            identity.append(plan.dpop.jkt)
        return plan.proof.mac(json.dumps(identity).encode()).hex()

    def read(self, name: str) -> Record:
        """The record of ``name``; an empty one if the file is absent or cannot be trusted."""
        try:
            handle = os.open(self.folder / name, _OPEN)
            with os.fdopen(handle, "rb") as file:
                if not _is_private(os.fstat(file.fileno())):
                    return Record()
                content = file.read(_BIGGEST)
            return _parse(json.loads(self._opened(content, name)))
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return Record()

    def write(self, name: str, record: Record) -> None:
        """Keep ``record``, in one step. A folder that cannot be written is no error."""
        fresh = self.folder / f"{name}.{os.getpid()}.{os.urandom(4).hex()}"
        try:
            self._prepare()
            handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(handle, "wb") as file:
                file.write(self._sealed(json.dumps(_plain(record)).encode(), name))
            fresh.replace(self.folder / name)
            self._prune()
        except OSError:
            with suppress(OSError):
                fresh.unlink()

    def forget(self, name: str, value: str) -> None:
        """Remove the token ``value``: an API has refused it."""
        held = self.read(name).held
        if held is not None and held.token.value == value:
            with suppress(OSError):
                (self.folder / name).unlink()

    def lock(self, name: str) -> BaseFileLock | None:
        """The lock for ``name``, one of 256 files that are never removed; None where none can be made."""
        from filelock import FileLock

        try:
            self._prepare()
        except OSError:
            return None
        return FileLock(self.folder / f"lock-{name[:2]}", mode=0o600, thread_local=False)

    def _prepare(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not _is_private(self.folder.stat()):
            raise PermissionError(f"{self.folder} is open to others")

    def _prune(self) -> None:
        """Remove files that are older than any token can be: those of former secrets and scopes."""
        oldest = time.time() - LONGEST_LIFE
        for entry in os.scandir(self.folder):
            if not entry.name.startswith("lock-"):
                with suppress(OSError):
                    if entry.stat(follow_symlinks=False).st_mtime < oldest:
                        os.unlink(entry.path)

    # -- sealing --------------------------------------------------------------------------------

    def _sealed(self, plain: bytes, name: str) -> bytes:
        seal = self._sealing()
        return plain if seal is None else seal.seal(plain, name)

    def _opened(self, content: bytes, name: str) -> bytes:
        """The plain bytes. When there is a key, a file that is not encrypted is ignored: it is old, or planted."""
        if (seal := self._sealing()) is None:
            return content
        from watchword.jose.sealing import SealBroken

        try:
            return seal.unseal(content, name)
        except SealBroken:
            raise ValueError("not sealed by us") from None

    def _sealing(self) -> MasterKey | None:
        if self._seal is None and not self._asked_keyring:
            self._asked_keyring = True
            text = self._key.reveal() if self._key is not None else _key_of_keyring()
            if text is not None:
                from watchword.jose.sealing import MasterKey

                self._seal = MasterKey(bytes.fromhex(text))
        return self._seal


def shared_renewal(plan: Plan, learned: Learned, old: Held | None, disk: DiskCache) -> Steps[tuple[Held, Learned]]:
    """`renew`, but one request for all processes that share ``disk``; the others get its token, or its failure."""
    name, began = disk.name(plan), plan.now()

    def found() -> Held | None:
        record = disk.read(name)
        if record.failure is not None and record.failure.at >= began:
            raise record.failure.error
        return record.held if record.held is not None and plan.now() < record.held.renew_at else None

    if (held := found()) is not None:
        return held, learned
    lock = disk.lock(name)
    waited = 0.0
    while lock is not None and not _taken(lock):
        if waited >= PATIENCE:
            lock = None
            break
        yield Pause(POLL)
        waited += POLL
        if (held := found()) is not None:
            return held, learned
    try:
        if (held := found()) is not None:
            return held, learned
        held, learned = yield from renew(plan, learned, old or disk.read(name).held)
        disk.write(name, Record(held))
        return held, learned
    except (TokenRefused, TokenUnavailable) as error:
        disk.write(name, Record(failure=Failure(plan.now(), error)))
        raise
    finally:
        if lock is not None:
            lock.release()


def _taken(lock: BaseFileLock) -> bool:
    from filelock import Timeout

    try:
        lock.acquire(blocking=False)
    except Timeout:
        return False
    except OSError:  # a file system without locks: better two requests than none
        return True
    return True


def _is_private(found: os.stat_result) -> bool:
    """Only this user can enter it. Systems without user ids protect the folder of the user's profile as a whole."""
    if not hasattr(os, "getuid"):
        return True
    return found.st_uid == os.getuid() and not stat.S_IMODE(found.st_mode) & 0o077


def _plain(record: Record) -> dict[str, Any]:
    if record.held is not None:
        token = record.held.token
        return {"value": token.value, "exp": token.expires_at, "scope": token.scope, "renew": record.held.renew_at}
    assert record.failure is not None
    error = record.failure.error
    told: dict[str, Any] = {"at": record.failure.at, "message": str(error)}
    if isinstance(error, TokenRefused):
        told |= {"error": error.error, "description": error.description, "status": error.status, "behind": error.behind}
    elif isinstance(error, TokenUnavailable):
        told["retry_after"] = error.retry_after
    return {"failure": told}


def _parse(document: object) -> Record:
    if not isinstance(document, dict):
        raise ValueError("not what we wrote")
    told = document.get("failure")
    if told is None:
        token = AccessToken(str(document["value"]), float(document["exp"]), document["scope"])
        return Record(Held(token, float(document["renew"])))
    error: TokenError
    if "error" in told:
        error = TokenRefused(told["error"], told["description"], told["status"], told["behind"])
    else:
        error = TokenUnavailable(told["message"], told["retry_after"])
    return Record(failure=Failure(float(told["at"]), error))


def _key_of_keyring() -> str | None:
    """Our key in the operating system's keyring, made on first use; None when there is no keyring."""
    try:
        import keyring

        kept = keyring.get_password("watchword", "token-cache")
        if kept is None:
            keyring.set_password("watchword", "token-cache", os.urandom(32).hex())
            kept = keyring.get_password("watchword", "token-cache")  # another process may have been first
        return kept if kept and len(bytes.fromhex(kept)) == 32 else None
    except Exception:  # not installed, no backend, locked: each backend has errors of its own
        return None
