"""Destinations and routes written once for many apps."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from lendsignal.cli import main as command
from lendsignal.config import Config, config_schema, load
from lendsignal.errors import ConfigError
from lendsignal.settings import unfolded

HEAD = """\
[portfolio]
name = "acme"

[brand.acme]

[source.backend]
key_sha256 = "{digest}"
""".format(digest="a1" * 32)

APP = """\
[app.{name}]
brand    = "acme"
platform = "{platform}"
bundle   = "{bundle}"
country  = "NG"
currency = "NGN"
timezone = "Africa/Lagos"
"""

NAMES = [f"acme-{country}" for country in ("ng", "ke", "ph", "mx")]
APPS = "\n".join(
    APP.format(name=name, platform="android", bundle=f"com.acme.{name[-2:]}") for name in NAMES
) + APP.format(name="other", platform="ios", bundle="id123456789")

MMP = """\
[destination.mmp]
kind  = "appsflyer"
apps  = ["acme-*"]
token = { env = "APPSFLYER_{APP}" }
"""

TAKEN = MMP.replace(".mmp]", ".mmp-acme-ng]").replace('apps  = ["acme-*"]', 'app = "acme-ng"')

ROUTE = """\
[[route]]
to    = "mmp"
send  = { first_loan = "ev_fl" }
value = { first_loan = "fee" }
"""


@pytest.fixture(autouse=True)
def _keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.setenv(f"APPSFLYER_{name.replace('-', '_').upper()}", f"made-up-{name}")


def loaded(folder: Path, *parts: str) -> Config:
    path = folder / "lendsignal.toml"
    path.write_text("\n".join((HEAD, APPS, *parts)))
    return load(path)


def problems(folder: Path, *parts: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        loaded(folder, *parts)
    return [str(problem) for problem in caught.value.problems]


def test_a_destination_of_several_apps_is_one_destination_an_app(tmp_path: Path) -> None:
    config = loaded(tmp_path, MMP, ROUTE)

    assert list(config.outlets) == [f"mmp-{name}" for name in NAMES]
    assert [outlet.app.name for outlet in config.outlets.values()] == NAMES
    assert config.templates == {"mmp": tuple(config.outlets)}
    assert [outlet.own.token.env for outlet in config.outlets.values()] == [
        "APPSFLYER_ACME_NG", "APPSFLYER_ACME_KE", "APPSFLYER_ACME_PH", "APPSFLYER_ACME_MX",
    ]  # fmt: skip


def test_a_route_to_the_template_is_a_route_to_each_of_them(tmp_path: Path) -> None:
    config = loaded(tmp_path, MMP, ROUTE)

    assert [route.to for route in config.policy.routes] == list(config.outlets)
    assert {(*route.send.items(), *route.value.items()) for route in config.policy.routes} == {
        (("first_loan", "ev_fl"), ("first_loan", "fee"))
    }


@pytest.mark.parametrize(
    ("to", "ends"),
    [
        ('"mmp-acme-ng"', ["mmp-acme-ng"]),
        ('["mmp-acme-ng", "mmp-acme-k*"]', ["mmp-acme-ng", "mmp-acme-ke"]),
        ('"mmp-*-?h"', ["mmp-acme-ph"]),
        ('["mmp", "mmp-acme-ng"]', [f"mmp-{name}" for name in NAMES]),
    ],
)
def test_a_route_names_destinations_by_name_by_pattern_or_by_their_template(
    tmp_path: Path, to: str, ends: list[str]
) -> None:
    config = loaded(tmp_path, MMP, f'[[route]]\nto = {to}\nsend = {{ first_loan = "ev_fl" }}')

    assert [route.to for route in config.policy.routes] == ends


def test_twenty_apps_need_as_many_lines_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    many = [f"acme-{number:02d}" for number in range(20)]
    for name in many:
        monkeypatch.setenv(f"APPSFLYER_{name.replace('-', '_').upper()}", "made-up")
    listings = [APP.format(name=name, platform="android", bundle=f"com.{name}") for name in many]
    path = tmp_path / "lendsignal.toml"
    path.write_text("\n".join((HEAD, *listings, MMP, ROUTE)))

    assert len(load(path).outlets) == len(load(path).policy.routes) == 20


def test_what_differs_for_one_app_is_said_for_that_app_alone(tmp_path: Path) -> None:
    own = '[destination.mmp.per_app.acme-ke]\napp_id = "id42"\nmax_age = "2d"'
    config = loaded(tmp_path, MMP, own, ROUTE)

    assert config.outlets["mmp-acme-ke"].own.app_id == "id42"
    assert config.outlets["mmp-acme-ng"].own.app_id is None
    assert config.outlets["mmp-acme-ng"].common.max_age is None


def test_a_key_may_stand_for_every_app_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "made-up")
    ids = ", ".join(f'{name} = {{ firebase_app_id = "1:{n}:android:0a" }}' for n, name in enumerate(NAMES))
    firebase = '[destination.firebase]\nkind = "ga4"\napps = ["acme-*"]\napi_secret = { env = "SECRET" }\n'
    route = '[[route]]\nto = "firebase"\nsend = { first_loan = "ev_fl" }'
    config = loaded(tmp_path, f"{firebase}per_app = {{ {ids} }}", route)

    assert [outlet.own.firebase_app_id for outlet in config.outlets.values()] == [
        f"1:{n}:android:0a" for n in range(4)
    ]


def test_a_template_of_a_webhooks_body_keeps_its_braces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOOK", "whsec_bWFkZS11cC1zZWNyZXQtb2YtMjQtYnl0ZXM=")
    hook = (
        '[destination.hook]\nkind = "webhook"\napps = ["acme-ng"]\nsecret = { env = "HOOK" }\n'
        'url = "https://hooks.example/{app}"\n' + """template = '{"where": "{app}"}'"""
    )
    config = loaded(tmp_path, hook, '[[route]]\nto = "hook"\nsend = { first_loan = "ev_fl" }')

    own = config.outlets["hook-acme-ng"].own
    assert (own.url, own.template) == ("https://hooks.example/acme-ng", '{"where": "{app}"}')


@pytest.mark.parametrize(
    ("parts", "told"),
    [
        ((MMP.replace("acme-*", "acme-uk"), ROUTE), ["destination.mmp.apps[0]", "acme-ke"]),
        ((MMP.replace("acme-*", "zeta-*"), ROUTE), ["destination.mmp.apps[0]", "zeta-*"]),
        ((MMP + 'app = "acme-ng"', ROUTE), ["destination.mmp", "both app and apps"]),
        ((MMP + "per_app = { other = {} }", ROUTE), ["destination.mmp.per_app.other", "none of its own"]),
        ((MMP, ROUTE.replace('"mmp"', '"mpp-*"')), ["route[0].to", "'mpp-*'", "mmp-acme-ng"]),
        ((MMP, ROUTE.replace('"mmp"', '["mmp", "mpp*"]')), ["route[0].to[1]", "'mpp*'"]),
        ((MMP, ROUTE.replace('"mmp"', "[]")), ["route[0].to"]),
        ((MMP, TAKEN, ROUTE), ["destination.mmp", "'mmp-acme-ng'"]),
    ],
)  # fmt: skip
def test_a_mistake_in_a_template_is_named_where_it_was_written(
    tmp_path: Path, parts: tuple[str, ...], told: list[str]
) -> None:
    first = problems(tmp_path, *parts)[0]

    assert [word for word in told if word not in first] == []
    assert "line " in first


def test_a_mistake_of_every_app_is_one_problem_on_the_templates_line(tmp_path: Path) -> None:
    (only,) = problems(tmp_path, MMP + 'colour = "red"\n', ROUTE)
    line = next(
        number for number, text in enumerate((tmp_path / "lendsignal.toml").read_text().splitlines(), 1)
        if text.startswith("colour")
    )  # fmt: skip

    assert only.startswith(f"destination.mmp.colour (lendsignal.toml, line {line})")


def test_a_secret_that_one_app_lacks_names_the_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("APPSFLYER_ACME_PH")

    (only,) = problems(tmp_path, MMP, ROUTE)

    assert only.startswith("destination.mmp.token (lendsignal.toml, line ")
    assert "APPSFLYER_ACME_PH is not set" in only


def test_a_mistake_in_a_route_to_many_is_told_once_and_by_its_own_number(tmp_path: Path) -> None:
    good = '[[route]]\nto = "mmp"\nsend = { registration = "ev_r" }\n'

    (only,) = problems(tmp_path, MMP, good, ROUTE.replace("first_loan =", "first_lone =", 1).replace(
        "value = { first_loan", "value = { first_lone"))  # fmt: skip

    assert only.startswith("route[1].send.first_lone (lendsignal.toml, line ")


def test_a_mistake_in_what_is_said_for_one_app_is_named_there(tmp_path: Path) -> None:
    (only,) = problems(tmp_path, MMP, '[destination.mmp.per_app.acme-ke]\nmax_age = "soon"', ROUTE)

    assert only.startswith("destination.mmp.per_app.acme-ke.max_age (lendsignal.toml, line ")


def test_warnings_of_a_template_are_told_once_by_its_own_keys(tmp_path: Path) -> None:
    config = loaded(tmp_path, MMP, ROUTE.replace('"ev_fl"', '"credit_fl"'))

    (only,) = [warning for warning in config.warnings if warning.startswith("route")]
    assert only.startswith("route[0].send.first_loan: 'credit_fl' says 'credit'")


def test_check_says_what_a_template_stands_for(tmp_path: Path) -> None:
    loaded(tmp_path, MMP, ROUTE)
    words = ["check", "--config", str(tmp_path / "lendsignal.toml")]

    text = CliRunner().invoke(command, words).output
    told = json.loads(CliRunner().invoke(command, [*words, "--json"]).output)

    assert "template mmp stands for mmp-acme-ng, mmp-acme-ke, mmp-acme-ph, mmp-acme-mx\n" in text
    assert told["templates"] == {"mmp": [f"mmp-{name}" for name in NAMES]}


def test_a_file_without_templates_is_left_as_it_is() -> None:
    table: dict[str, Any] = {
        "destination": {"a": {"kind": "x", "app": "y"}},
        "route": [{"to": "a", "send": {}}, {"to": "b"}, 7],
        "app": {"y": {}},
    }

    found = unfolded(table, "lendsignal.toml")

    assert (found.table, found.problems, found.made) == (table, [], {})


def test_the_schema_takes_apps_in_place_of_app_and_lists_of_destinations() -> None:
    schema = config_schema()
    kinds = schema["$defs"]["Settings"]["properties"]["destination"]["additionalProperties"]["oneOf"]
    one, several = (kind for kind in kinds if kind["title"].startswith("appsflyer"))

    assert one["required"] == ["app", "kind", "token"]
    assert several["required"] == ["apps", "kind"]
    assert {"apps", "per_app", "token"} <= several["properties"].keys()
    assert not {"apps", "per_app"} & one["properties"].keys()
    assert "app" not in several["properties"]
    assert [one["type"] for one in schema["$defs"]["RouteSettings"]["properties"]["to"]["oneOf"]] == [
        "string", "array",
    ]  # fmt: skip
    assert msgspec.json.encode(schema)
