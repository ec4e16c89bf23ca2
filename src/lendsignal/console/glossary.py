"""What the console's words mean, each in one sentence: shown where the word stands."""

from collections.abc import Mapping

from lendsignal.console.words import marked as _

GLOSSARY: Mapping[str, str] = {
    _("last login"): _("The device on which the user had logged in last before the event: what we bind to."),
    _("first install"): _("The device on which the user was first seen: what most set-ups bind to."),
    _("posting delay"): _("From the moment something happened to the moment the platform had it."),
    _("decision delay"): _(
        "From the application to the grant, the denial or the payout: review, phone checks."
    ),
    _("first loan"): _("The user's first disbursed loan; what campaigns for new users are judged by."),
    _("repeat loan"): _("Any further loan; what retargeting campaigns are judged by."),
    _("credit shift"): _("Loans that change channel when the last login binds them, not the first install."),
    _("orphan install"): _("An installation that an MMP counts and that no event of ours was bound to."),
    _("maturity"): _("Whether enough time has passed: a cohort of ten days has no 30-day value yet."),
    _("vintage"): _("Loans that were disbursed in one period, followed as they are repaid or lost."),
    _("cohort"): _("Users who installed or registered in one period."),
    _("ROAS"): _("Return on ad spend: what users brought, net of losses, for each unit spent on ads."),
    _("tier"): _("The best part of those granted, by score or by predicted value: top 20, 30, 50, 70 %."),
    _("PSI"): _("Population stability index: how far scores have moved from those the cuts were made of."),
    _("dead"): _("Kept and not tried again by itself: the platform refused it, or its window closed."),
    _("held"): _("Nobody knows whether the platform has it: a person decides, so that nothing is doubled."),
    _("paused"): _("Nothing is sent and nothing is lost: it goes on when the reason is gone."),
    _("holdout"): _("Users who are left alone on purpose, so that what ads bring can be measured."),
    _("predicted value"): _("What a user is expected to bring within a horizon, net of losses."),
    _("VO"): _("Value optimisation: the platform looks for users with a high value instead of many."),
    _("tROAS"): _("Target return on ad spend: the platform bids so that value by spend reaches a target."),
    _("LAL"): _("Look-alike audience: people whom the platform finds similar to a list of yours."),
    _("seed"): _("The list of good users that a look-alike audience is made from."),
    _("MMP"): _("Mobile measurement partner: who says which ad an installation came from."),
    _("quarantine"): _(
        "Events that the door refused, with field and rule; they can be mended and sent through."
    ),
    _("shadow"): _("Everything but the sending: to compare with what another sender does."),
    _("interval"): _("Where the true figure lies 95 times of 100; a wide one means: too few users yet."),
}
"""Word → its meaning."""
