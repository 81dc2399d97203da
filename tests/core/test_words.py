"""Texts that readers take for the same are the same."""

import pytest

from lada.core.words import plain, words_of


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("BRACKWATER", "brackwater"),
        ("Bra\u3164ckwater", "brackwater"),
        ("471\uffa01", "4711"),
        ("\u0664\u0667\u0661\u0661", "4711"),  # Arabic-Indic digits
        ("\uff14\uff17\uff11\uff11", "4711"),  # full-width digits
        ("S\u00f8rensen", "sorensen"),
        ("Wa\u0142\u0119sa", "walesa"),
        ("I\u015eIK", "isik"),
        ("I\u015f\u0131k", "isik"),
        ("b\u20ddr\u20dda", "bra"),
        ("Mueller", "M\u00fcller"),
        ("Soerensen", "S\u00f8rensen"),
        ("Kaestner", "K\u00e6stner"),
        ("Haakonsen", "H\u00e5konsen"),
        ("\u0643\u0631\u064a\u0645\u064a", "\u06a9\u0631\u06cc\u0645\u06cc"),  # Arabic and Persian letters
        ("\u0421\u041e\u0420\u0415", "cope"),  # Cyrillic
        ("\u0391\u03a4\u039f\u039c", "atom"),  # Greek
    ],
)
def test_forms_of_one_text(text: str, same: str):
    assert plain(text) == plain(same)
    assert words_of(text) == words_of(same)
