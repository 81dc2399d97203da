"""A canary is found in every form in which it could have left, and in nothing else."""

import base64
import json
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lada.audit.canaries import folded, make_canary
from lada.core.errors import InputError

TEXT = "Ms Żółć, room 9"
CANARY = make_canary("canary 1", TEXT)


def found(data: bytes, canary=CANARY) -> list[str]:
    return canary.forms_in(data, folded(data.decode("utf-8", "replace")))


@pytest.mark.parametrize(
    ("data", "form"),
    [
        (TEXT.encode(), "as it is"),
        (TEXT[::-1].encode(), "backwards"),
        (TEXT.encode("utf-16-le"), "UTF-16"),
        (TEXT.encode("utf-16-be"), "UTF-16"),
        (TEXT.encode().hex().encode(), "hexadecimal"),
        (TEXT.encode().hex().upper().encode(), "hexadecimal"),
        (json.dumps(TEXT).encode(), "JSON escapes"),
        (quote(TEXT).encode(), "percent escapes"),
        ("MS ŻÓŁĆ,\nROOM\t9".encode(), "but for case and spaces"),
        ("Ms Z\u0307o\u0301łc\u0301, room 9".encode(), "but for case and spaces"),  # accents as characters of their own
    ],
)
def test_each_form_is_found_and_named(data: bytes, form: str):
    assert found(b"before " + data + b" behind") == [form]


@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
@given(before=st.binary(max_size=9), behind=st.binary(max_size=9))
def test_base64_is_found_whatever_stands_around(encode, before: bytes, behind: bytes):
    assert "base64" in found(encode(before + TEXT.encode() + behind))


@given(st.text(st.characters(codec="utf-8"), max_size=200))
def test_what_does_not_hold_it_does_not_hold_it(text: str):
    assert bool(found(text.encode())) == (folded(TEXT) in folded(text))


@pytest.mark.parametrize("text", ["", "a b c d e", "x" * 10_001])
def test_one_that_is_too_short_or_too_long_is_refused_without_repeating_it(text: str):
    with pytest.raises(InputError, match="canary 1: ") as caught:
        make_canary("canary 1", text)
    assert len(text) < 2 or text not in str(caught.value)
