import pytest

from lmtpd.protocol import replies
from lmtpd.protocol.states import NEXT, VERBS, State, out_of_order
from lmtpd.protocol.verbs import HANDLERS

READING = [State.FRESH, State.IDLE, State.TURNED_AWAY, State.SENDER, State.RECIPIENTS, State.BODY]


def test_every_state_has_its_row():
    assert set(NEXT) == set(State)


def test_every_verb_has_a_handler():
    assert set(HANDLERS) == set(VERBS)


@pytest.mark.parametrize("state", READING)
@pytest.mark.parametrize("verb", [b"LHLO", b"RSET", b"NOOP", b"VRFY", b"HELP", b"QUIT"])
def test_allowed_at_any_time(state, verb):
    assert verb in NEXT[state]


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("verb", [b"NOOP", b"VRFY", b"HELP"])
def test_without_effect_on_the_state(state, verb):
    assert NEXT[state][verb] is state


def test_refused_mail_allows_what_was_allowed_before():
    assert NEXT[State.TURNED_AWAY].keys() == NEXT[State.IDLE].keys()


@pytest.mark.parametrize(
    "verb, states",
    [
        (b"MAIL", {State.IDLE, State.TURNED_AWAY}),
        (b"RCPT", {State.SENDER, State.RECIPIENTS}),
        (b"DATA", {State.RECIPIENTS}),
        (b"BDAT", {State.RECIPIENTS, State.BODY}),
        (b"STARTTLS", {State.IDLE, State.TURNED_AWAY}),
        (b"XFORWARD", {State.IDLE, State.TURNED_AWAY}),
    ],
)
def test_transaction_commands_have_their_states(verb, states):
    assert {state for state in State if verb in NEXT[state]} == states


@pytest.mark.parametrize("state", READING)
def test_every_known_verb_is_allowed_or_503(state):
    for verb in VERBS - NEXT[state].keys():
        assert out_of_order(verb, state).code == 503


@pytest.mark.parametrize("state", READING)
def test_unknown_verbs_are_500(state):
    assert out_of_order(b"ETRN", state) is replies.UNKNOWN_COMMAND
    assert out_of_order(b"", state) is replies.NO_COMMAND


def test_data_without_a_recipient_says_so():
    assert out_of_order(b"DATA", State.SENDER) is replies.NO_VALID_RECIPIENTS
