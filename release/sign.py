"""`python -m release.sign --key KEY FILE…`: signs what is released by an SSH key, beside each file as `.sig`.

OpenSSH signs and verifies, so neither who releases nor who checks installs anything. The public keys that may
release stand in `release/signers`, as `ssh-keygen` calls it an allowed signers file.
"""

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

SIGNERS = Path(__file__).parent / "signers"
NAMESPACE = "lendsignal-release"
"""What the signature is for: one that was made for mail or commits does not count."""


class NotSignedError(Exception):
    """Why a file cannot be signed, or is not signed by who may."""


def signed(file: Path, key: Path) -> Path:
    """The signature of a file by a private key; where `key` is its public half, the agent has the other.

    Raises `NotSignedError`.
    """
    beside = file.with_name(f"{file.name}.sig")
    beside.unlink(missing_ok=True)  # ssh-keygen would ask
    _run(["ssh-keygen", "-Y", "sign", "-q", "-f", str(key), "-n", NAMESPACE, str(file)])
    return beside


def verified(file: Path, signers: Path = SIGNERS) -> str:
    """Who signed the file. Raises `NotSignedError` where nobody did who may."""
    beside = file.with_name(f"{file.name}.sig")
    if not beside.exists():
        raise NotSignedError(f"there is no {beside.name}")
    found = ["-Y", "find-principals", "-f", str(signers), "-s", str(beside)]
    who = _run(["ssh-keygen", *found]).split("\n")[0]
    checked = ["-Y", "verify", "-f", str(signers), "-I", who, "-n", NAMESPACE, "-s", str(beside)]
    _run(["ssh-keygen", *checked], file)
    return who


def _run(words: Sequence[str], given: Path | None = None) -> str:
    try:
        done = subprocess.run(
            words, input=None if given is None else given.read_bytes(), capture_output=True, check=False
        )
    except FileNotFoundError:
        raise NotSignedError("ssh-keygen is missing: Debian and Ubuntu have it in openssh-client") from None
    if done.returncode:
        raise NotSignedError((done.stderr or done.stdout).decode(errors="replace").strip() or "not signed")
    return done.stdout.decode().strip()


def main() -> int:
    """0 where every file is signed; 1 with why not."""
    words = argparse.ArgumentParser(prog="python -m release.sign", description=__doc__)
    words.add_argument("--key", type=Path, required=True, help="a private key, or the public half of one")
    words.add_argument("file", type=Path, nargs="+")
    given = words.parse_args()
    try:
        for file in given.file:
            print(signed(file, given.key))
    except NotSignedError as error:
        print(f"not signed: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
