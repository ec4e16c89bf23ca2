"""The Python client: a typed call for each event, kept on disk here until the service has it.

```python
from lendsignal.client import Client

client = Client("https://events.acme.example", key=os.environ["LENDSIGNAL_KEY"],
                spool="/var/lib/acme/lendsignal-spool.sqlite", brand="acme")
client.disbursed(user_id="u-88231", occurred_at=paid_at, loan_id="L-902",
                 amount=Decimal("15000"), currency="NGN", term_days=30)
```

It loads nothing of lendsignal but the nouns, the standard library and msgspec.
"""

from lendsignal.client.calls import AsyncClient, Client
from lendsignal.client.events import Common
from lendsignal.client.spool import NotKept, Refused, SpoolFull

__all__ = ["AsyncClient", "Client", "Common", "NotKept", "Refused", "SpoolFull"]
