"""The page on Segment's SDKs names everything that the mapping knows."""

from pathlib import Path

from lendsignal.source.segment import EVENTS, FIELDS, INTEGRATION_IDS
from lendsignal.source.segment_door import SEGMENT_PATHS
from lendsignal.source.settings import EVERY_SCOPE

HOW_TO = Path(__file__).parents[2] / "docs" / "how-to"
PAGE = (HOW_TO / "use-a-segment-sdk.md").read_text()


def test_every_name_of_a_track_call_is_listed() -> None:
    assert [name for name, kind in EVENTS.items() if name != kind and f"`{name}`" not in PAGE] == []


def test_every_name_of_a_property_is_listed() -> None:
    assert [name for name, field in FIELDS.items() if name != field and f"`{name}`" not in PAGE] == []


def test_every_id_of_a_partner_and_every_path_is_listed() -> None:
    ids = {id_ for known in INTEGRATION_IDS.values() for id_ in known.values()}

    assert [id_ for id_ in ids if f"`{id_}`" not in PAGE] == []
    assert [path for path in SEGMENT_PATHS if f"`{path}`" not in PAGE] == []


def test_every_scope_is_explained() -> None:
    page = (HOW_TO / "keys-for-sources.md").read_text()

    assert [scope for scope in EVERY_SCOPE if f"| `{scope}` |" not in page] == []
