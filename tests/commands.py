"""Shell examples as a reader types them: a real bash, in which `lendsignal` costs a fork and no start."""

import array
import ctypes
import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.running import PATIENCE

SHIM = """\
import array, json, os, socket, sys
with socket.socket(socket.AF_UNIX) as line:
    line.connect({address!r})
    asked = json.dumps([sys.argv[1:], os.getcwd(), dict(os.environ)]).encode()
    rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [0, 1, 2]))
    line.sendmsg([len(asked).to_bytes(4, "big")], [rights])
    line.sendall(asked)
    code = line.recv(1)
sys.exit(code[0] if code else 70)
"""
"""What stands on the path as `lendsignal`: it hands over its words, its place and its streams."""


PR_SET_PDEATHSIG = 1  # linux/prctl.h


class Shell:
    """A bash in a folder; `lendsignal`, `python` and `python3` are those of this test."""

    def __init__(self, folder: Path, tools: Path, env: Mapping[str, str]) -> None:
        self.folder = folder
        self.env = {**os.environ, **env, "PATH": f"{tools}:{os.environ['PATH']}", "COLUMNS": "200"}

    def run(self, text: str) -> tuple[int, str]:
        """The exit code and everything that it said; questions are answered with yes."""
        with subprocess.Popen(
            ["bash", "-o", "pipefail"],
            cwd=self.folder,
            env=self.env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        ) as shell:
            try:
                said, _ = shell.communicate(f"{{\n{text}\n}} <<< $'y\\ny\\ny'\n", timeout=PATIENCE)
            except subprocess.TimeoutExpired:
                os.killpg(shell.pid, signal.SIGKILL)
                return 124, f"no end after {PATIENCE:.0f} s: {shell.communicate()[0]}"
        return shell.returncode, said

    def export(self, **more: str) -> None:
        """What the reader has in the environment from now on."""
        self.env |= more


@contextmanager
def tools(folder: Path) -> Iterator[Path]:
    """A folder for the path with `lendsignal` in it, while the process behind it lives."""
    folder.mkdir(parents=True)
    address = Path("/tmp") / f"ls-{os.getpid()}-{os.urandom(4).hex()}"  # a socket's path must be short
    (folder / "shim.py").write_text(SHIM.format(address=str(address)))
    _script(folder / "lendsignal", f'exec {sys.executable} -I -S {folder / "shim.py"} "$@"')
    for name in ("python", "python3"):
        _script(folder / name, f'exec {sys.executable} "$@"')
    with subprocess.Popen(
        [sys.executable, "-m", "tests.commands", str(address)],
        cwd=Path(__file__).parents[1],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as server:
        try:
            assert server.stdout is not None
            assert server.stdout.readline() == "listening\n"
            yield folder
        finally:
            server.terminate()
            server.wait(PATIENCE)
            address.unlink(missing_ok=True)


def _script(path: Path, line: str) -> None:
    path.write_text(f"#!/bin/sh\n{line}\n")
    path.chmod(0o755)


def commands_in(text: str) -> list[str]:
    """A block's commands: lines, with what a backslash, a quote or a here-document takes further."""
    found: list[str] = []
    lines = iter(text.splitlines())
    for line in lines:
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        whole = line
        while whole.endswith("\\") or _is_open(whole):
            whole += f"\n{next(lines)}"
        end = re.search(r"<<-?'?(\w+)'?", whole)
        while end is not None and whole.splitlines()[-1] != end[1]:
            whole += f"\n{next(lines)}"
        found.append(whole)
    return found


def _is_open(text: str) -> bool:
    """Whether a quote is still to be closed."""
    if re.search(r"<<-?'?\w+'?$", text):
        return False
    try:
        shlex.split(text, comments=True)
    except ValueError:
        return True
    return False


def serve(address: str) -> None:
    """Listens until its caller ends; each command is a fork that has everything loaded."""
    import lendsignal.advise
    import lendsignal.report  # what most commands load: once, for all of them
    from lendsignal.cli import main

    del lendsignal
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen(8)
        print("listening", flush=True)
        threading.Thread(target=_end_with_caller, daemon=True).start()
        while True:
            line, _ = listener.accept()
            with line:
                if os.fork() == 0:
                    listener.close()
                    _answer(line, main)
            with suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass


def _end_with_caller() -> None:
    sys.stdin.read()
    os._exit(0)


def _answer(line: socket.socket, main: object) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)  # nothing outlives the test
    head, rights, _, _ = line.recvmsg(4, socket.CMSG_SPACE(12))
    streams = array.array("i", rights[0][2])
    for stream, number in enumerate(streams):
        os.dup2(number, stream)
        os.close(number)
    asked = b""
    while len(asked) < int.from_bytes(head, "big"):
        asked += line.recv(65_536)
    words, folder, env = json.loads(asked)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(env)
    code = 70
    try:
        main(words, prog_name="lendsignal")  # type: ignore[operator]
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        with suppress(OSError):  # who asked has given up
            line.sendall(bytes([code % 256]))
        os._exit(code)


if __name__ == "__main__":
    serve(sys.argv[1])
