"""The doctor's look at the machine: versions, disk, permissions, ports, copies, and who can be reached."""

import http.client
import os
import re
import resource
import socket
import ssl
import stat
import sys
import tempfile
import time
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

import apsw

from lendsignal import __version__
from lendsignal.backup import last_backup
from lendsignal.cli import giving
from lendsignal.cli.findings import Finding, act, look, ok, span
from lendsignal.clock import SystemClock
from lendsignal.config import Config
from lendsignal.errors import LogError
from lendsignal.log import DataFolder, form_at
from lendsignal.metrics import told_by
from lendsignal.role import door_of
from lendsignal.role.connections import FILES_BESIDE
from lendsignal.role.serving import listening

SYNCS = 20
SLOW_SYNC_SECONDS = 0.02
"""Every commit waits for one: at this pace the door makes fifty requests a second durable, together."""

STALE_DAYS = 2
REACH_SECONDS = 5.0

SKEW_SECONDS = 5.0
WRONG_CLOCK_SECONDS = 60.0
"""Platforms refuse events from the future, and some answer by their own day."""


def version(config: Config) -> Iterator[Finding]:
    """What is installed, what runs, and whether the data folder is of this version."""
    folder = giving.folder_of(config)
    python = ".".join(map(str, sys.version_info[:3]))
    yield ok("version", f"lendsignal {__version__}, Python {python}, SQLite {apsw.sqlite_lib_version()}")
    for role in ("core", "send", "web"):
        text = told_by(folder.path, role, time.monotonic()) or ""
        running = re.search(r'lendsignal_build_info\{[^}]*version="([^"]*)"', text)
        if running is not None and running[1] != __version__:
            yield look("version", f"{role} still runs {running[1]}", "restart the service")
    for path in folder.databases():
        form = form_at(path)
        if form is not None and form.found < form.known:
            yield act("version", f"{path.name} has form {form.found} of {form.known}", "lendsignal migrate")
        elif form is not None and form.found > form.known:
            do = "install the version that wrote it: docs/how-to/upgrade.md"
            yield act("version", f"{path.name} has form {form.found}, of a newer version", do)


def taken_up(config: Config) -> Iterator[Finding]:
    """Whether the service works by what stands in the file."""
    folder = giving.folder_of(config)
    if not folder.is_running("run"):
        return
    try:
        accepted = folder.accepted.read_text()
    except OSError:
        return
    if accepted == config.path.read_text():
        yield ok("configuration", "the service works by it")
    else:
        do = "`systemctl reload lendsignal`, or SIGHUP to `lendsignal run`"
        yield look("configuration", "the file was changed since the service took it up", do)


def durability(config: Config) -> Iterator[Finding]:
    """How long the disk takes until what is written is safe: the door's answers wait for it."""
    with tempfile.TemporaryFile(dir=giving.folder_of(config).path) as file:
        took = []
        for _ in range(SYNCS):
            begun = time.monotonic()
            file.write(b"x" * 4_096)
            file.flush()
            os.fsync(file.fileno())
            took.append(time.monotonic() - begun)
    half = sorted(took)[SYNCS // 2]
    found = (
        f"a durable write takes {1_000 * half:,.1f} ms, the slowest of {SYNCS} {1_000 * max(took):,.1f} ms"
    )
    if half > SLOW_SYNC_SECONDS:
        do = "the door's answers wait for it: a disk of its own for the data folder, no network file system"
        yield look("durability", found, do)
    else:
        yield ok("durability", found)


def open_files(config: Config) -> Iterator[Finding]:
    """Whether the machine lets the door have as many connections as it is allowed."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = config.door.max_connections + FILES_BESIDE
    if hard != resource.RLIM_INFINITY and hard < wanted:
        found = f"{hard:,} files may be open, {config.door.max_connections:,} connections want {wanted:,}"
        yield look("open files", found, "LimitNOFILE= of the unit, or a smaller door.max_connections")
    else:
        yield ok("open files", f"enough for {config.door.max_connections:,} connections")


def permissions(config: Config) -> Iterator[Finding]:
    """That nobody but the service reads what it keeps, and nobody but its owner changes its configuration."""
    folder = giving.folder_of(config)
    mode = stat.S_IMODE(folder.path.stat().st_mode)
    do = f"chmod 700 {folder.path}"
    if mode & stat.S_IRWXO:
        yield act("permissions", "everybody on this machine may look into the data folder", do)
    elif mode & stat.S_IRWXG:
        yield look("permissions", "a group may look into the data folder", do)
    elif folder.path.stat().st_uid != os.geteuid() and os.geteuid():
        do = "call the doctor as the service's user"
        yield look("permissions", "the data folder belongs to another user than this one", do)
    else:
        yield ok("permissions", "only its owner looks into the data folder")
    if stat.S_IMODE(config.path.stat().st_mode) & stat.S_IWOTH:
        yield act("permissions", f"everybody may write {config.path}", f"chmod o-w {config.path}")


def ports(config: Config) -> Iterator[Finding]:
    """That door and pages listen, or could."""
    folder = giving.folder_of(config)
    for role, host, port in (
        (door_of(config), config.door.host, config.door.port),
        ("web", config.web.host, config.web.port),
    ):
        if folder.is_running(role):
            yield _answers(folder, role)
        elif port:
            try:
                listening(host, port).close()
                yield ok("ports", f"{host}:{port} is free for {role}")
            except LogError as error:
                yield act(
                    "ports", f"{role} could not start: {error}", f"stop who has port {port}, or change it"
                )


def _answers(folder: DataFolder, role: str) -> Finding:
    try:
        address = urlsplit((folder.path / f"{role}.address").read_text())
        with socket.create_connection((address.hostname or "", address.port or 0), REACH_SECONDS):
            return ok("ports", f"{role} listens on {address.netloc}")
    except OSError as error:
        said = error.strerror or type(error).__name__
        return act("ports", f"{role} runs and does not answer: {said}", "look at its ERROR lines")


def backups(config: Config) -> Iterator[Finding]:
    """How long ago the last copy was made."""
    note = last_backup(giving.folder_of(config))
    do = "lendsignal backup TO: docs/how-to/back-up-and-restore.md"
    if note is None:
        yield look("backup", "no copy was ever made by `lendsignal backup`", do)
        return
    since = SystemClock().now_us() / 1e6 - note.made_at.timestamp()
    found = f"the last copy is {span(since)} old: {note.events:,} events, {note.bytes / 1e6:,.1f} MB"
    yield look("backup", found, do) if since > STALE_DAYS * 86_400 else ok("backup", found)


def reach(config: Config) -> Iterator[Finding]:
    """Whether each declared host answers over TLS, and what it says the time is. Nobody's data is sent."""
    hosts: dict[str, list[str]] = {}
    for name, outlet in config.outlets.items():
        for host in outlet.hosts:
            hosts.setdefault(host, []).append(name)
    if config.deliver.sandbox is not None:
        yield _reached("the sandbox", config.deliver.sandbox)
        return
    for host, names in sorted(hosts.items()):
        yield _reached(f"{host} ({', '.join(names)})", f"https://{host}")


def _reached(what: str, url: str) -> Finding:
    """One HEAD request: any answer at all is a good one."""
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=REACH_SECONDS)
    do = "see name service, firewall, proxy and the machine's certificates"
    try:
        connection.request("HEAD", "/")
        date = connection.getresponse().getheader("Date")
    except ssl.SSLCertVerificationError as error:
        return act("reach", f"{what}: its certificate is not trusted ({error.verify_message})", do)
    except (OSError, http.client.HTTPException) as error:
        said = getattr(error, "strerror", None) or type(error).__name__
        return act("reach", f"{what} cannot be reached: {said}", do)
    finally:
        connection.close()
    try:
        theirs = parsedate_to_datetime(date or "").timestamp()
    except ValueError:
        return ok("reach", f"{what} answers")
    skew = SystemClock().now_us() / 1e6 - theirs
    if abs(skew) > WRONG_CLOCK_SECONDS:
        found = f"{what} says that this clock is {span(abs(skew))} {'ahead' if skew > 0 else 'behind'}"
        return act("reach", found, "see that the machine's time is kept by NTP")
    if abs(skew) > SKEW_SECONDS:
        return look("reach", f"{what} answers, and its clock differs by {abs(skew):.0f} s")
    return ok("reach", f"{what} answers")
