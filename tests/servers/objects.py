"""An S3-compatible object store over real HTTP for scenario tests: moto's server, in this process."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from tests.running import call

INSTALL = "make setup"


class ObjectStore:
    """A store at `address`; `client` is boto3's."""

    def __init__(self, address: str, client: Any) -> None:
        self.address = address
        self._client = client
        self._client.create_bucket(Bucket="loans")

    @property
    def environment(self) -> dict[str, str]:
        """How programs that know S3 are told of it."""
        return {
            "AWS_ENDPOINT_URL": self.address,
            "AWS_ACCESS_KEY_ID": "made-up",
            "AWS_SECRET_ACCESS_KEY": "made-up",
            "AWS_DEFAULT_REGION": "us-east-1",
        }

    def get(self, key: str) -> bytes:
        """The body of an object."""
        found: bytes = self._client.get_object(Bucket="loans", Key=key)["Body"].read()
        return found

    def drop(self, key: str) -> None:
        """Takes an object away."""
        self._client.delete_object(Bucket="loans", Key=key)

    def put(self, key: str, body: bytes) -> None:
        """Puts an object into the bucket `loans`."""
        self._client.put_object(Bucket="loans", Key=key, Body=body)

    def objects(self) -> list[str]:
        """Every object of the bucket."""
        return [one["Key"] for one in self._client.list_objects_v2(Bucket="loans").get("Contents", [])]


@contextmanager
def object_store() -> Iterator[ObjectStore]:
    """The store, while the block runs."""
    try:
        import boto3
        from moto.server import ThreadedMotoServer
    except ImportError:
        pytest.skip(f"moto is not installed: {INSTALL}")
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        # What an earlier server of this process kept is there still.
        assert call(f"{host}:{port}", "POST", "/moto-api/reset")[0] == 200
        address = f"http://{host}:{port}"
        client = boto3.client(
            "s3",
            endpoint_url=address,
            region_name="us-east-1",
            aws_access_key_id="made-up",
            aws_secret_access_key="made-up",
        )
        yield ObjectStore(address, client)
        client.close()
    finally:
        server.stop()
