"""Two apps of a made-up lender, one in each store; no field of one has the value of another."""

from lendsignal.model import App

ANDROID = App(
    name="acme-ng",
    brand="acme",
    platform="android",
    bundle="com.example.loans",
    country="NG",
    currency="NGN",
    timezone="Africa/Lagos",
)
IOS = App(
    name="acme-mx",
    brand="acme",
    platform="ios",
    bundle="id123456789",
    bundle_id="com.example.prestamos",
    country="MX",
    currency="MXN",
    timezone="America/Mexico_City",
)
