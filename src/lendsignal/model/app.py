"""An app: one store listing of a brand."""

from typing import Literal

from msgspec import Struct


class App(Struct, frozen=True, kw_only=True):
    """One store listing. `bundle` is the Android package name, or `id` + App Store number on iOS
    (`id123456789`) with the bundle identifier in `bundle_id`. `timezone` is an IANA name.
    """

    name: str
    brand: str
    platform: Literal["android", "ios"]
    bundle: str
    country: str
    currency: str
    timezone: str
    bundle_id: str | None = None

    @property
    def identifier(self) -> str:
        """The bundle identifier that appears in raw data: `com.acme.loans` on both platforms."""
        return self.bundle_id or self.bundle
