"""The lender before whom the pages' commands run: every name that they use is in its configuration."""

from tests.commands import Shell

SMALL = """
[period]
users = 300
days  = 40
"""

MAP = """
[file.events]
match = "events*.jsonl.gz"

[[event]]
as_is = true
"""

CONFIG = """
[portfolio]
name = "acme"

[brand.acme]

[app.acme-android]
brand    = "acme"
platform = "android"
bundle   = "com.acme.loans"
country  = "NG"
currency = "NGN"
timezone = "Africa/Lagos"

[app.acme-ios]
brand    = "acme"
platform = "ios"
bundle   = "id1234567890"
country  = "NG"
currency = "NGN"
timezone = "Africa/Lagos"

[app.acme-ng]
brand    = "acme"
platform = "android"
bundle   = "com.acme.ng"
country  = "NG"
currency = "NGN"
timezone = "Africa/Lagos"

[source.backend]
key = { env = "LENDSIGNAL_BACKEND_KEY" }

[source.app]

[source.reporting]
scopes = ["read"]

[source.office]
scopes = ["admin"]

[feed.mmp]
kind = "generic"
mmp  = "appsflyer"

[spend.ads]
kind     = "generic"
timezone = "Africa/Lagos"

[destination.appsflyer-ng]
kind  = "appsflyer"
app   = "acme-android"
token = { env = "APPSFLYER_S2S_KEY" }

[destination.meta-ng]
kind       = "meta"
app        = "acme-android"
dataset_id = "1234567890123456"
token      = { env = "META_TOKEN" }

[destination.warehouse]
kind   = "webhook"
app    = "acme-android"
url    = "https://hooks.acme.example/in"
secret = { env = "ACME_HOOK_SECRET" }

[[route]]
to   = "appsflyer-ng"
send = { registration = "ev_r", first_loan = "ev_fl", disbursement = "ev_ln" }

[[route]]
to   = "meta-ng"
send = { registration = "ev_r", first_loan = "ev_fl" }

[[route]]
to   = "warehouse"
send = { disbursement = "ev_ln" }

[tiers]
basis  = ["score"]
shares = [20, 30, 50, 70]

[holdout.lapsed]
share     = 0.2
audiences = ["lapsed"]
from      = 2026-01-10T00:00:00Z
to        = 2026-02-08T00:00:00Z

[audience_account.meta-ng]
kind    = "file"
to      = "exports/lists"
columns = ["mobile_id"]

[audience.good]
kind = "good_repayers"
to   = ["meta-ng"]

[audience.arrears]
kind = "in_arrears"
to   = ["meta-ng"]

[alert.ops]
kind = "slack"
url  = { env = "ALERT_SLACK_URL" }
"""


SECRETS = {
    "LENDSIGNAL_BACKEND_KEY": "made-up-key-of-the-back-end",
    "APPSFLYER_S2S_KEY": "made-up-s2s-key",
    "META_TOKEN": "made-up-token",
    "ALERT_SLACK_URL": "https://hooks.slack.com/services/made-up",
    "ACME_HOOK_SECRET": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
}

SENT = """event_time,event_name,contract,at,event,loan_id
2026-01-20T10:00:00,ev_ln,L00000001,2026-01-20T09:00:00Z,ev_ln,L00000001
"""

DEVICES = """Customer User ID,AppsFlyer ID,Advertising ID,Install Time
u-17,1700000000001-1000001,38400000-8cf0-11bd-b23e-10b96e40000d,2026-01-05 10:00:00
"""

LEDGER = """loan_id,paid_out_at,amount,currency
L00000001,2026-01-20T09:30:00+01:00,25000.00,NGN
"""

OTHER_LEDGER = """LoanNo,PaidOn,amount
L00000001,2026-01-20,25000.00
"""

FILES = {
    "small.toml": SMALL,
    "mine.toml": SMALL,
    "map.toml": MAP,
    "lendsignal.toml": CONFIG,
    "changed.toml": CONFIG.replace('first_loan = "ev_fl"', 'first_loan = "ev_f1"'),
    "sent.csv": SENT,
    "devices.csv": DEVICES,
    "loans.csv": LEDGER,
    "other.csv": OTHER_LEDGER,
}


def prepared(shell: Shell) -> Shell:
    """A folder with the lender's files, and its history in the log and the archive."""
    for name, text in FILES.items():
        (shell.folder / name).write_text(text)
    for line in SETUP:
        code, said = shell.run(line)
        assert code == 0, f"{line}: {said}"
    return shell


SETUP = (
    "lendsignal generate --out lender --seed 1 --parameters small.toml",
    "lendsignal import events lender/events.jsonl.gz --map map.toml",
    "lendsignal import attribution lender/attribution.csv --feed mmp",
    "lendsignal import spend lender/spend.csv --feed ads",
    "lendsignal import touches devices.csv --brand acme --app acme-ng --timezone Africa/Lagos",
    "lendsignal archive write",
    "gzip --keep --stdout other.csv > loans.csv.gz",
)
