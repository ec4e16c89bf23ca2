"""Who showed which phone, at the place in the log where it is asked: what makes a phone a shared one."""

from collections.abc import Iterable, Mapping, Sequence, Set

from lendsignal.log import Fact, Remembering, number_of_user
from lendsignal.model import Event, person_key
from lendsignal.plan import Policy, UserState, phones_asked, phones_shown
from lendsignal.resolve import ResolveSettings

Users = tuple[int, ...]
"""The numbers of a phone's users; no more of them are kept than make it a shared one."""


class PhoneUsers:
    """The users of each phone, by what was told so far."""

    def __init__(self) -> None:
        self._users: dict[int, Users] = {}

    def know(self, users: Mapping[int, Users]) -> None:
        """These phones have these users, whatever was told before."""
        self._users.update(users)

    def shared(self, state: UserState, event: Event, policy: Policy) -> Set[int]:
        """Of the phones that a decision asks about those which enough users showed, by this event."""
        asked = phones_asked(state, event, policy)
        if not asked:
            return asked
        enough, user = policy.resolve.shared_device_users, number_of_user(state.key)
        shown = phones_shown(event, policy)
        return {key for key in asked if len(self._of(key, user if key in shown else None)) >= enough}

    def take(self, event: Event, policy: Policy) -> Sequence[tuple[int, int]]:
        """Counts the user of an event that was taken: (phone, user) where that is news."""
        shown = phones_shown(event, policy)
        if not shown:
            return ()
        return self.add([(key, number_of_user(person_key(event))) for key in shown], policy.resolve)

    def add(self, pairs: Iterable[tuple[int, int]], resolve: ResolveSettings) -> Sequence[tuple[int, int]]:
        """Counts these users; those who were not known are given back."""
        fresh = [(key, user) for key, user in pairs if user not in self._users.get(key, ())]
        for key, user in fresh:
            if len(self._users.get(key, ())) < resolve.shared_device_users:
                self._users[key] = self._of(key, user)
        return fresh

    def _of(self, key: int, user: int | None) -> Users:
        """The users of a phone, that one among them."""
        users = self._users.get(key, ())
        return users if user is None or user in users else (*users, user)


class BatchPhones:
    """The users of the phones that one batch of events is about: those in the log, and those of the batch.

    Nothing is read before a policy asks. `fresh` is what the batch adds to the log.
    """

    def __init__(self, log: Remembering, facts: Sequence[Fact], states: Mapping[str, UserState]) -> None:
        self._log = log
        self._facts = facts
        self._states = states
        self._users = PhoneUsers()
        self._read_for: ResolveSettings | None = None
        self.fresh: list[tuple[int, int]] = []

    def shared(self, state: UserState, event: Event, policy: Policy) -> Set[int]:
        """As `PhoneUsers.shared`."""
        self._read(policy)
        return self._users.shared(state, event, policy)

    def take(self, event: Event, policy: Policy) -> None:
        """Counts the user of an event that was taken."""
        self.fresh += self._users.take(event, policy)

    def _read(self, policy: Policy) -> None:
        """Reads the known users of all the batch's phones at once."""
        if policy.resolve is self._read_for:
            return
        keys: set[int] = set()
        for fact in self._facts:
            event = fact.event
            state = self._states.get(person_key(event))
            keys.update(phones_shown(event, policy))
            if state is not None:
                keys |= phones_asked(state, event, policy)
        self._users.know(self._log.phones(keys, policy.resolve.shared_device_users))
        self._users.add(self.fresh, policy.resolve)
        self._read_for = policy.resolve
