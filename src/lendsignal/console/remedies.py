"""What a person does about a reason, in one sentence; docs/reference/reasons.md says more of each."""

from collections.abc import Iterable, Mapping

from lendsignal.console.words import marked as _

NOTHING = _("As it should be: there is nothing to do.")
ITSELF = _("It passes by itself, and is tried again.")
RIGHT = _("Put right what the platform names, then resume.")
ANSWER = _("The platform's answer says what is wrong: mend it, then send these again.")

_SAID: Mapping[str, str] = {
    NOTHING: "no_consent test_user suppressed holdout shadow duplicate disbursement_reversed loan_cancelled"
    " repayment_reversed rebound by_hand nothing_told opted_out consent_refused",
    ITSELF: "timeout no_answer connection_reset half_answer connection_failed connect_failed host_unknown"
    " tls_failed not_ours stopped throttled platform_error dataset_not_ready not_received partly_received"
    " maintenance too_recent refused_with_others too_many_rows daily_quota no_token no_report not_placed"
    " validator_error unexpected_answer",
    _("Send logins with their device: without one nothing can be bound."): "no_login",
    _("Send the id that this platform needs with each login."): (
        "no_device_id appsflyer_id_missing device_id_missing no_identifiers"
    ),
    _("Send events sooner, or widen max_age where the platform's window allows it."): "too_old clock_ahead",
    _("Send loan_number with each loan, or import the users' history."): "first_unknown",
    _("Send the events of one device in their order; see lane_wait."): "out_of_order",
    _("Many users share that phone: resolve.shared_device says what becomes of it."): "shared_device",
    _("The window closed before it was taken: resume paused destinations sooner."): "window_closed",
    _("Compare the platform's own count, and send again only what it does not have."): "unknown",
    _("A mistake of ours: the service's log has a line with ERROR about it."): (
        "encode_failed gbraid_wbraid_both_set unusable_request"
    ),
    _("The platform does not know the name that the route has: correct it, then send these again."): (
        "invalid_event_token no_such_conversion_action wrong_conversion_action_type wrong_event_source"
        " link_not_found invalid_destination"
    ),
    _("The platform has seen no session of that phone: does the app start its SDK before the login?"): (
        "device_not_found"
    ),
    _("The platform blocks it: lift that there, or give the event another name."): (
        "event_blocklisted blocked_for_policy"
    ),
    _("The platform's window of that conversion is shorter than the way to it: lengthen it there."): (
        "expired_event conversion_expired conversion_precedes_event adjustment_precedes_conversion"
    ),
    _("The click is not one of this account: is the destination the account that paid for it?"): (
        "click_not_found event_not_found invalid_customer_for_click unparseable_gclid unparseable_gbraid"
        " unparseable_wbraid"
    ),
    _("The app did not come for it: see the page of the client relay."): "not_fetched not_acknowledged",
    _("Look at what the first ones came to, then resume."): "first_run",
    _("Resume if so many are right; otherwise cancel what waits."): "unusual_volume",
    _("See why so many were refused, put it right, resume, and send the dead again."): "mass_reject",
    _("Put a good secret where the configuration looks for it, then resume."): (
        "no_secret bad_token bad_credentials refresh_token_ended wrong_kind_of_token token_of_another_app"
        " bad_app_secret token_suspected http_401 kafka_authentication kafka_sasl_authentication_failed"
    ),
    _("Give this account the permission it lacks, in the platform's own console; then resume."): (
        "permission_missing http_403 not_in_the_plan not_allowlisted terms_not_signed app_not_found"
        " app_inactive tracking_disabled dataset_not_found enhanced_conversions_off"
        " kafka_topic_authorization_failed kafka_cluster_authorization_failed"
    ),
    _("The address is not right: correct it in the configuration, then resume."): (
        "host_not_declared private_address redirected no_such_endpoint endpoint_gone http_404 kafka_ssl"
    ),
    _("Make the topic, or correct its name in the configuration; then resume."): (
        "kafka_unknown_topic kafka_unknown_topic_or_part kafka_unknown_partition kafka_topic_exception"
    ),
}

REMEDIES: Mapping[str, str] = {reason: said for said, reasons in _SAID.items() for reason in reasons.split()}
"""Reason → what to do about it."""


def remedy(what: str, reason: str) -> str:
    """What to do where something ended, or waits, as `what` for that reason.

    `what` is a word of deliveries, such as `dead`, or `paused`; a platform's own trouble passes while what
    it struck is not dead.
    """
    if reason in REMEDIES and not (what == "dead" and REMEDIES[reason] == ITSELF):
        return REMEDIES[reason]
    return {"dead": ANSWER, "paused": RIGHT}.get(what, ITSELF)


def remedies(found: Iterable[tuple[str, str]]) -> Mapping[str, tuple[tuple[str, str], ...]]:
    """What there is to do → the (what, reason)s that ask for it; what needs nothing is left out."""
    todo: dict[str, dict[tuple[str, str], None]] = {}
    for what, reason in found:
        said = remedy(what, reason)
        if said not in (NOTHING, ITSELF):
            todo.setdefault(said, {})[what, reason] = None
    return {said: tuple(reasons) for said, reasons in todo.items()}
