"""Personal data by its form: what is taken out and what is left."""

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lada.privacy.options import PiiKind
from lada.privacy.pii import FORMS, iban, luhn, redact


@pytest.mark.parametrize(
    ("kind", "text", "expected"),
    [
        ("email", "ask jörg.o'neil+x@klinik-köln.de.", "ask jörg.o'[EMAIL]."),
        ("email", "ask a.b@c.org, then d@e.co.uk", "ask [EMAIL], then [EMAIL]"),
        ("email", "5 @ 3 and @home and a@b", "5 @ 3 and @home and a@b"),
        ("url", "see https://a.example/p?q=1, or www.b.org.", "see [URL], or [URL]."),
        ("iban", "to DE89 3704 0044 0532 0130 00 by noon", "to [IBAN] by noon"),
        ("iban", "to gb82west12345698765432", "to [IBAN]"),
        ("iban", "to DE88 3704 0044 0532 0130 00", "to DE88 3704 0044 0532 0130 00"),  # its check digits are wrong
        ("credit_card", "card 4111 1111 1111 1111 12/27", "card [CREDIT_CARD] 12/27"),
        ("credit_card", "card 4111111111111111 ok", "card [CREDIT_CARD] ok"),
        ("credit_card", "amex 3782-822463-10005", "amex [CREDIT_CARD]"),
        ("credit_card", "card 4111 1111 1111 1112", "card 4111 1111 1111 1112"),
        ("credit_card", "card 4111 1111 1111 1111 99 88", "card [CREDIT_CARD] 99 88"),
        ("ip", "from 192.168.0.1 to fe80::1ff:fe23:4567:890a.", "from [IP] to [IP]."),
        ("ip", "3.14 and 300.1.1.1 and 12:30 and std::vector", "3.14 and 300.1.1.1 and 12:30 and std::vector"),
        ("date", "on 2024-05-01, 1.5.2024 and 12/31/99", "on [DATE], [DATE] and [DATE]"),
        ("date", "on 3rd March 2024 and May 4, 2023", "on [DATE] and [DATE]"),
        ("date", "7 - 2 = 5 and 1/2 and 3.14", "7 - 2 = 5 and 1/2 and 3.14"),
        ("phone", "call +49 221 1234-567 or 0221/123456 or (212) 555-0199", "call [PHONE] or [PHONE] or [PHONE]"),
        ("phone", "12 + 34 = 46 and 1200 300 400 of 20000000", "12 + 34 = 46 and 1200 300 400 of 20000000"),
    ],
)
def test_what_is_taken_out_and_what_is_left(kind, text, expected):
    assert redact(kind, text, 1.0) == expected


def test_luhn_by_hand():
    """79927398713 of the standard's example: 7+9·2→9+9+2·2→4+7+3·2→6+9+8·2→7+7+1·2→2+3 = 70."""
    assert luhn("79927398713")
    assert [digit for digit in "0123456789" if luhn("7992739871" + digit)] == ["3"]


@given(st.from_regex(r"[A-Z]{2}[0-9]{2}[A-Z0-9]{11,30}", fullmatch=True), st.data())
def test_an_iban_with_one_digit_changed_is_none(text: str, data):
    number = int("".join(str(int(character, 36)) for character in text[4:] + text[:2])) * 100
    whole = text[:2] + f"{98 - number % 97:02d}" + text[4:]
    assert iban(whole)
    place = data.draw(st.sampled_from([i for i, character in enumerate(whole) if character.isdigit() and i > 1]))
    digit = data.draw(st.sampled_from([d for d in "0123456789" if d != whole[place]]))
    assert not iban(whole[:place] + digit + whole[place + 1 :])


@pytest.mark.parametrize("kind", list(FORMS))
def test_long_texts_without_any_take_no_time_to_speak_of(kind):
    for letters in ("a", "1", "1 ", "a1@", "1.", "ab:", "4111 ", "de89 ", "+1 (2) "):
        redact(kind, letters * 5000, 20.0)


def test_there_is_a_form_of_each_kind_that_a_configuration_may_name() -> None:
    assert set(FORMS) == set(get_args(PiiKind))
