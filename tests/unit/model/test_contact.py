"""Hashed contacts, against vectors made with the platforms' own helpers.

Meta: `Normalize` of facebook-business 26.0.3. Google: `Formatter` of google-ads-datamanager-util 0.4.0.
Snap: the phone vector on its "parameters" page. All read 2026-11-22.
"""

import pytest

from lendsignal.model.contact import contact_of, digest, google_email, normal_email, normal_phone

PERSON = "542d240129883c019e106e3b1b2d3f3cb3537c43c425364de8e951d5a3083345"
PH_DIGITS = "7b0f3460b105dfa9af1dc747e68f8ca571b88b5aaf88ceee486bd1e90adeb3ee"
PH_E164 = "5f399b427fda5c2e9aa29471760b402cfd73b783b9c70ef7e587e35344c6556a"


def test_an_email_is_trimmed_and_lower_case_for_every_platform() -> None:
    contact, unusable = contact_of(" Person@Example.com ", None)

    assert contact is not None
    assert contact.email == contact.email_google == PERSON
    assert unusable == ()


def test_dots_and_suffixes_of_gmail_count_for_meta_and_not_for_google() -> None:
    contact, _ = contact_of("A.B+x@Gmail.com", None)

    assert contact is not None
    assert contact.email == "37f4906181d65f321515f92d28c1b418751e55b99713c45fd9fa2f4787abc095"
    assert contact.email_google == "86ca2ad27318696b41cfc650acfad97bb32194c43e119e465a16359ea74c7105"


@pytest.mark.parametrize("phone", ["+63 917-123-4567", "00639171234567", " +63 (917) 123 4567 "])
def test_a_phone_number_is_hashed_as_digits_for_meta_and_with_a_plus_for_google(phone: str) -> None:
    contact, unusable = contact_of(None, phone)

    assert contact is not None
    assert contact.phone_digits == PH_DIGITS
    assert contact.phone_e164 == PH_E164
    assert unusable == ()


def test_snaps_phone_vector_follows_the_same_rule() -> None:
    contact, _ = contact_of(None, "+44 844 412 4653")

    assert contact is not None
    assert contact.phone_digits == "dc008fda46e2e64002cf2f82a4906236282d431c4f75e5b60bfe79fc48546383"


def test_a_national_number_is_refused_for_it_would_become_a_strangers() -> None:
    assert contact_of(None, "0917 123 4567") == (None, ("phone",))
    assert normal_phone("0917 123 4567") is None


@pytest.mark.parametrize("phone", ["+1", "+1234567890123456", "+0639171234567", "9171234567", ""])
def test_what_is_no_international_number_is_left_out(phone: str) -> None:
    assert normal_phone(phone) is None


@pytest.mark.parametrize("email", ["person", "person@", "@example.com", "a b@example.com", "person@example"])
def test_what_is_no_address_is_left_out_and_named(email: str) -> None:
    assert normal_email(email) is None
    assert google_email(email) is None
    assert contact_of(email, "+63 917-123-4567")[1] == ("email",)


def test_digests_are_lower_case_hex() -> None:
    # FIPS 180-2, appendix B.1: the message "abc".
    assert digest("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
