"""What is released is signed: by OpenSSH itself, with keys that are made for each test."""

import shutil
import subprocess
from pathlib import Path

import pytest
from release.sign import NAMESPACE, NotSignedError, signed, verified

# OpenSSH itself is the judge: nothing of ours can stand in for it.
pytestmark = pytest.mark.skipif(
    shutil.which("ssh-keygen") is None, reason="NOT RUN: ssh-keygen is missing (Debian: openssh-client)"
)


def key(folder: Path, name: str) -> Path:
    """A private key of that name; the public half is beside it."""
    path = folder / name
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(path)], check=True)
    return path


def allowed(folder: Path, *keys: Path, namespace: str = NAMESPACE) -> Path:
    """The file of those who may release."""
    lines = [f'{one.name} namespaces="{namespace}" {one.with_suffix(".pub").read_text()}' for one in keys]
    (folder / "signers").write_text("# who may release\n" + "".join(lines))
    return folder / "signers"


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    path = tmp_path / "lendsignal-0.1.0-py3-none-any.whl"
    path.write_bytes(b"all that it is made of")
    return path


def test_who_may_release_signs_and_everybody_can_tell_who_it_was(tmp_path: Path, wheel: Path) -> None:
    ada, eve = key(tmp_path, "ada"), key(tmp_path, "eve")

    assert signed(wheel, ada).name == f"{wheel.name}.sig"
    assert verified(wheel, allowed(tmp_path, eve, ada)) == "ada"
    assert signed(wheel, eve).exists(), "signing again takes the place of the one before"
    assert verified(wheel, allowed(tmp_path, eve, ada)) == "eve"


def test_a_file_that_was_changed_or_that_a_stranger_signed_does_not_pass(tmp_path: Path, wheel: Path) -> None:
    ada, eve = key(tmp_path, "ada"), key(tmp_path, "eve")
    with pytest.raises(NotSignedError, match="there is no"):
        verified(wheel, allowed(tmp_path, ada))

    signed(wheel, ada)
    wheel.write_bytes(b"something else")
    with pytest.raises(NotSignedError):
        verified(wheel, allowed(tmp_path, ada))

    signed(wheel, eve)
    with pytest.raises(NotSignedError):
        verified(wheel, allowed(tmp_path, ada))


def test_a_key_that_may_sign_something_else_may_not_release(tmp_path: Path, wheel: Path) -> None:
    ada = key(tmp_path, "ada")
    signed(wheel, ada)

    with pytest.raises(NotSignedError):
        verified(wheel, allowed(tmp_path, ada, namespace="git"))


def test_what_cannot_sign_is_named(tmp_path: Path, wheel: Path) -> None:
    with pytest.raises(NotSignedError, match="nobodys-key"):
        signed(wheel, tmp_path / "nobodys-key")
