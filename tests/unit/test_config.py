"""One file for everything: what it becomes, and that each mistake in it is named, with the others."""

import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from lendsignal import config as configuration
from lendsignal.config import Config
from lendsignal.errors import ConfigError, Problem

BASE = """\
[portfolio]
name = "acme-group"

[brand.acme]

[app.acme-ng]
brand    = "acme"
platform = "android"
bundle   = "com.acme.loans"
country  = "NG"
currency = "NGN"
timezone = "Africa/Lagos"

[app.acme-ios]
brand     = "acme"
platform  = "ios"
bundle    = "id123456789"
bundle_id = "com.acme.ios"
country   = "PH"
currency  = "PHP"
timezone  = "Asia/Manila"

[source.backend]
key = { env = "ACME_KEY" }

[destination.appsflyer-ng]
kind     = "appsflyer"
app      = "acme-ng"
token    = { file = "secrets/appsflyer" }
forwards = ["google"]

[destination.warehouse]
kind   = "webhook"
app    = "acme-ios"
url    = "https://hooks.acme.example/in"
secret = { env = "ACME_HOOK" }

[[route]]
to    = "appsflyer-ng"
send  = { first_loan = "ev_fl", disbursement = "ev_ln" }
value = { first_loan = "principal" }

[[route]]
to   = "warehouse"
send = { first_loan = "first_loan" }
"""
HOOK_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@pytest.fixture(autouse=True)
def secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACME_KEY", "ls_key-of-the-back-end")
    monkeypatch.setenv("ACME_HOOK", HOOK_SECRET)
    monkeypatch.delenv("NOT_SET", raising=False)
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "appsflyer").write_text("s2s-token\n")


def loaded(folder: Path, text: str = BASE, **overrides: Any) -> Config:
    path = folder / "lendsignal.toml"
    path.write_text(text)
    return configuration.load(path, overrides=overrides)


def mistakes(folder: Path, text: str) -> dict[str, Problem]:
    """Every problem by its key."""
    with pytest.raises(ConfigError) as found:
        loaded(folder, text)
    return {one.key: one for one in found.value.problems}


def changed(*pairs: tuple[str, str], more: str = "") -> str:
    text = BASE
    for old, new in pairs:
        assert text.count(old) >= 1, old
        text = text.replace(old, new, 1)
    return text + more


# what it becomes


def test_a_file_becomes_apps_outlets_keys_and_a_policy(tmp_path: Path) -> None:
    found = loaded(tmp_path)

    assert found.portfolio == "acme-group"
    assert set(found.apps) == {"acme-ng", "acme-ios"}
    assert found.apps["acme-ios"].bundle_id == "com.acme.ios"
    assert set(found.outlets) == {"appsflyer-ng", "warehouse"}
    assert found.outlets["warehouse"].hosts == ("hooks.acme.example",)
    assert found.outlets["appsflyer-ng"].hosts == ("api3.appsflyer.com", "api2.appsflyer.com")
    assert [access.source for access in found.keys.values()] == ["backend"]
    assert found.data == tmp_path / "data"
    assert found.replay_clock is None
    assert found.warnings == ()
    assert [route.to for route in found.policy.routes] == ["appsflyer-ng", "warehouse"]


def test_a_source_may_have_several_keys_each_with_its_own_end_and_its_limits(tmp_path: Path) -> None:
    table = f"""key = {{ env = "ACME_KEY" }}
scopes = ["events", "read"]
per_second = 20
max_bytes = 2048
[[source.backend.keys]]
key_sha256 = "{"5" * 64}"
expires = 2026-12-01T00:00:00+01:00
scopes = ["read", "relay"]"""
    found = loaded(tmp_path, changed(('key = { env = "ACME_KEY" }', table)))
    first, second = found.keys.values()

    assert first.until_us is None
    assert first.scopes == {"events", "read"}
    assert second.sha256 == "5" * 64
    assert second.until_us == 1_796_079_600_000_000  # 2026-11-30 23:00 UTC
    assert second.scopes == {"read"}  # never more than the source
    assert [(one.per_second, one.burst, one.max_bytes) for one in (first, second)] == [(20, 20, 2048)] * 2


def test_a_source_may_have_its_keys_in_the_data_folder_alone(tmp_path: Path) -> None:
    found = loaded(tmp_path, changed(('key = { env = "ACME_KEY" }', 'scopes = ["segment"]')))

    assert found.keys == {}
    assert found.sources["backend"].scopes == ("segment",)


def test_secrets_are_known_to_be_set_and_not_what_they_are(tmp_path: Path) -> None:
    found = loaded(tmp_path)

    assert found.secrets == {
        "destination.appsflyer-ng.token": True,
        "destination.warehouse.secret": True,
        "source.backend.key": True,
    }
    for value in ("s2s-token", HOOK_SECRET, "ls_key-of-the-back-end"):
        assert value not in repr(found)


def test_paths_count_from_the_files_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    found = loaded(tmp_path, changed(more='\n[service]\ndata = "kept/here"\nreplay_clock = "clock"\n'))

    assert found.data == tmp_path / "kept" / "here"
    assert found.replay_clock == tmp_path / "clock"


def test_a_destinations_own_settings_stand_beside_ours(tmp_path: Path) -> None:
    text = changed(
        ('forwards = ["google"]', 'timeout = "5s"\non_unknown = { hold = "7d" }\napp_id = "com.acme.old"')
    )
    outlet = loaded(tmp_path, text).outlets["appsflyer-ng"]

    assert outlet.common.timeout == timedelta(seconds=5)
    assert outlet.common.on_unknown is not None
    assert outlet.common.on_unknown.hold == timedelta(days=7)
    assert outlet.own.app_id == "com.acme.old"


def test_keys_of_this_run_go_before_the_file(tmp_path: Path) -> None:
    keys = {"door.port": 9000, "destination.warehouse.per_second": 3, "deliver.sandbox": "http://127.0.0.1:1"}
    path = tmp_path / "lendsignal.toml"
    path.write_text(BASE)
    found = configuration.load(path, overrides=keys)

    assert found.door.port == 9000
    assert found.outlets["warehouse"].common.per_second == 3
    assert found.outlets["appsflyer-ng"].common.per_second is None
    assert found.deliver.sandbox == "http://127.0.0.1:1"


def test_the_cut_table_makes_tiers_that_routes_may_name(tmp_path: Path) -> None:
    (tmp_path / "cuts.csv").write_text("share,cut\n20,710\n30,655\n50,600\n70,540\n")
    text = changed(
        ('first_loan = "ev_fl"', 'first_loan = "ev_fl", credit_top30 = "ev_c3"'),
        more='\n[tiers]\ncut_table = "cuts.csv"\n',
    )

    assert [cut.share for cut in loaded(tmp_path, text).policy.derive.tiers.cuts] == [20, 30, 50, 70]
    without = changed(('first_loan = "ev_fl"', 'first_loan = "ev_fl", credit_top30 = "ev_c3"'))
    assert "route[0].send.credit_top30" in mistakes(tmp_path, without)


def test_a_sandbox_stands_in_for_no_kafka_broker_and_check_says_so(tmp_path: Path) -> None:
    topic = """
[destination.events-out]
kind    = "kafka"
app     = "acme-ng"
brokers = ["kafka-1.acme.example:9093"]
topic   = "acme.conversions"

[[route]]
to   = "events-out"
send = { first_loan = "ev_fl" }
"""
    said = "destination events-out is sent to: deliver.sandbox stands in for no Kafka broker"

    found = loaded(tmp_path, BASE + topic)
    assert said not in found.warnings
    assert found.outlets["events-out"].hosts == ("kafka-1.acme.example",)
    sandboxed = changed(more=topic + '\n[deliver]\nsandbox = "http://127.0.0.1:8900"\n')
    assert said in loaded(tmp_path, sandboxed).warnings


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("[source.backend]", "no [source.NAME]: nobody can send events over HTTP"),
        ('[[route]]\nto   = "warehouse"', "destination warehouse gets nothing: no [[route]] names it"),
    ],
)
def test_what_may_be_meant_is_a_warning(tmp_path: Path, more: str, said: str) -> None:
    start = BASE.index(more)
    end = BASE.find("\n\n", start)
    text = BASE[:start] + (BASE[end:] if end > 0 else "")

    assert said in loaded(tmp_path, text).warnings


# mistakes


def test_every_mistake_is_named_at_once(tmp_path: Path) -> None:
    text = changed(
        ('platform = "android"', 'platform = "andriod"'),
        ('timezone = "Africa/Lagos"', 'timezone = "Africa/Lagoss"'),
        ('bundle    = "id123456789"', 'bundle    = "123456789"'),
        ('brand     = "acme"', 'brand     = "acmee"'),
        ('{ env = "ACME_KEY" }', '{ env = "NOT_SET" }'),
        ('kind   = "webhook"', 'kind   = "webhok"'),
        ('to    = "appsflyer-ng"', 'to    = "appsflyer"'),
        ('first_loan = "first_loan"', 'frist_loan = "first_loan"'),
        more='\n[deliver]\nprobe_after = "soon"\n',
    )

    assert set(mistakes(tmp_path, text)) >= {
        "app.acme-ng.platform",
        "app.acme-ng.timezone",
        "app.acme-ios.bundle",
        "app.acme-ios.brand",
        "source.backend.key",
        "destination.warehouse.kind",
        "route[0].to",
        "route[1].send.frist_loan",
        "deliver.probe_after",
    }


@pytest.mark.parametrize(
    ("old", "new", "key", "nearest"),
    [
        ('kind     = "appsflyer"', 'kind     = "appsflier"', "destination.appsflyer-ng.kind", "appsflyer"),
        ("[brand.acme]", '[brand.acme]\nlable = "Acme"', "brand.acme.lable", "label"),
        ("forwards", "forward", "destination.appsflyer-ng.forward", "forwards"),
        ('app      = "acme-ng"', 'app      = "acme-gn"', "destination.appsflyer-ng.app", "acme-ng"),
        ('to   = "warehouse"', 'to   = "werehouse"', "route[1].to", "warehouse"),
        ("disbursement =", "disbursment =", "route[0].send.disbursment", "disbursement"),
        ("[source.backend]", "[sauce.backend]", "sauce", "source"),
    ],
)
def test_the_nearest_known_word_is_named(tmp_path: Path, old: str, new: str, key: str, nearest: str) -> None:
    found = mistakes(tmp_path, changed((old, new)))

    assert found[key].nearest == nearest
    assert re.search(r"lendsignal\.toml, line \d+", found[key].origin)


@pytest.mark.parametrize(
    ("old", "new", "key", "said"),
    [
        ("[brand.acme]", '[brand."A b"]\n[brand.acme]', 'brand."A b"', "lower-case letters"),
        ('currency = "NGN"', 'currency = "naira"', "app.acme-ng.currency", ""),
        ('country  = "NG"', 'country  = "Nigeria"', "app.acme-ng.country", ""),
        ("https://hooks", "http://hooks", "destination.warehouse", "https://"),
        ('{ env = "ACME_HOOK" }', '"whsec_abc"', "destination.warehouse.secret", "secrets are given"),
        ('{ env = "ACME_HOOK" }', '{ env = "PATH" }', "destination.warehouse.secret", "no base64"),
        ('"secrets/appsflyer"', '"no/such"', "destination.appsflyer-ng.token", "no/such"),
        ('"ACME_KEY" }', f'"ACME_KEY" }}\nkey_sha256 = "{"0" * 64}"', "source.backend", "key or key_sha256"),
        ('"ACME_KEY" }', '"ACME_KEY" }\nkeys = [{}]', "source.backend.keys[0]", "key or key_sha256"),
        ('"ACME_KEY" }', '"ACME_KEY" }\nkeys=[{key={env="ACME_KEY"}}]', "source.backend.keys[0]", "once"),
        ('"ACME_KEY" }', '"ACME_KEY" }\nscopes = ["write"]', "source.backend.scopes[0]", "attribution"),
        ('"ACME_KEY" }', '"ACME_KEY" }\nsegment.app = "acme-gn"', "source.backend.segment.app", "acme-ng"),
        ('"ACME_KEY" }', '"ACME_KEY" }\nsegment.brand = "acmee"', "source.backend.segment.brand", "acme"),
        ('"ACME_KEY" }', '"ACME_KEY" }\nsegment.fields = { x = "y" }', "source.backend.segment", "amount"),
        ('"ACME_KEY" }', '"ACME_KEY" }\nsegment.events = { x = "Y" }', "source.backend.segment", "snake"),
        ('key = { env = "ACME_KEY" }', 'key_sha256 = "abc"', "source.backend.key_sha256", "64 lower-case"),
        ('value = { first_loan =', 'value = { repeat_loan =', "route[0].value.repeat_loan", "does not send"),
        ('"ev_fl"', f'"{"x" * 101}"', "route[0].send.first_loan", "101 characters"),
        ('"ev_fl"', '""', "route[0].send.first_loan", "is empty"),
    ],
)  # fmt: skip
def test_each_rule_says_what_it_wants(tmp_path: Path, old: str, new: str, key: str, said: str) -> None:
    found = mistakes(tmp_path, changed((old, new)))

    assert said in str(found[key])


@pytest.mark.parametrize(
    ("table", "key", "said"),
    [
        ('[deliver]\nsandbox = "127.0.0.1:8900"', "deliver", "such as http://127.0.0.1:8900"),
        ('[deliver]\nprobe_after = "0s"', "deliver", "probe_after must be longer than 0s"),
        ('[deliver]\nwindow = 5', "deliver.window", "100"),
        ('[door]\nport = 70000', "door.port", "65535"),
        ('[tiers]\ncut_table = "no.csv"', "tiers.cut_table", "no file that can be read"),
        ('[resolve]\nsettle = 2', "resolve.settle", ""),
        ('[destination.meta-ng]\nkind = "meta"\napp = "acme-ng"', "destination.meta-ng.token", "required"),
        ('[surprise]\nx = 1', "surprise", "unknown key"),
    ],
)  # fmt: skip
def test_each_table_is_looked_at(tmp_path: Path, table: str, key: str, said: str) -> None:
    found = mistakes(tmp_path, changed(more=f"\n{table}\n"))

    assert said in str(found[key])


def test_a_destination_without_time_for_an_answer_is_refused(tmp_path: Path) -> None:
    found = mistakes(tmp_path, changed(('forwards = ["google"]', 'timeout = "0s"')))

    assert "timeout must be longer than 0s" in str(found["destination.appsflyer-ng"])


META = """
[destination.meta-ng]
kind       = "meta"
app        = "acme-ng"
dataset_id = "1234567890123456"
token      = { env = "ACME_KEY" }
"""


def test_one_platform_reached_in_two_ways_is_refused(tmp_path: Path) -> None:
    text = changed(
        ('forwards = ["google"]', 'forwards = ["google", "meta"]'),
        more=META + '\n[[route]]\nto = "meta-ng"\nsend = { first_loan = "ev_fl" }\n',
    )

    assert "first_loan already reaches meta by appsflyer-ng" in str(
        mistakes(tmp_path, text)["route[2].send.first_loan"]
    )


def test_a_name_that_tells_a_borrowers_standing_is_refused_where_the_platform_forbids_it(
    tmp_path: Path,
) -> None:
    text = changed(more=META + '\n[[route]]\nto = "meta-ng"\nsend = { first_loan = "credit_granted" }\n')

    assert "credit" in str(mistakes(tmp_path, text)["route[2].send.first_loan"])


def test_no_message_repeats_a_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACME_HOOK", "whsec_sesame!!")
    text = changed(('token    = { file = "secrets/appsflyer" }', 'token    = "sesame-in-the-file"'))
    found = mistakes(tmp_path, text)

    assert {"destination.warehouse.secret", "destination.appsflyer-ng.token"} <= set(found)
    assert [one for one in found.values() if "sesame" in str(one)] == []


def test_a_key_below_a_value_is_a_mistake_of_the_command_line(tmp_path: Path) -> None:
    path = tmp_path / "lendsignal.toml"
    path.write_text(BASE)
    with pytest.raises(ConfigError, match=r"portfolio\.name\.first.*no table"):
        configuration.load(path, overrides={"portfolio.name.first": "acme"})


@pytest.mark.parametrize(
    "text", ["portfolio = 3", "app = []", 'route = "x"', "destination = 1", "brand = [1]", ""]
)
def test_a_file_of_another_shape_is_mistakes_not_a_crash(tmp_path: Path, text: str) -> None:
    assert mistakes(tmp_path, text)
