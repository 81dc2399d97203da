"""A client's model repeats a secret of a private sample in various forms, where the server can read it."""

import dataclasses
import sys
import unicodedata
from pathlib import Path

from harness import Count, main

from lada.codecs import paths
from lada.core.terms import Knowledge, Likelihood, Sample
from lada.core.terms import Path as Written
from lada.privacy.distinctive import Distinctive, texts_of
from lada.privacy.options import Withholding
from lada.tasks.load import load_task
from lada.tasks.options import BuiltinTask

sys.path.append(str(Path(__file__).parents[1] / "hosts"))
from actors import make_party

from lada.rounds.knowledge import PATHS, send_knowledge

SECRETS = (
    "PIN 4711",
    "4711",
    "zanzibar",
    "Mr Aldous Brackwater",
    "Żółć",
    "room 9b",
    "born 1987-03-14",
    "GB82 WEST 1234 5698 7654 32",
    "ada.lovelace@example.org",
    "sk-9f3Kq7Zt",
    "+44 20 7946 0958",
    "two drops of laudanum",
    "the patient in room nine was given forty drops of the brown syrup",
    "患者は九号室にいる",
)
CYRILLIC = dict(zip(b"aeopcxy", "\u0430\u0435\u043e\u0440\u0441\u0445\u0443", strict=True))
FORMS = {
    "as it is": lambda text: text,
    "upper case": str.upper,
    "lower case": str.lower,
    "spaced": lambda text: "   ".join(text.split(" ")),
    "a word a line": lambda text: "\n".join(text.split(" ")),
    "broken within a word": lambda text: text[: len(text) // 2] + "-\n" + text[len(text) // 2 :],
    "zero-width": lambda text: "\u200b".join(text),
    "soft hyphens": lambda text: text[:2] + "\u00ad" + text[2:],
    "wide": lambda text: "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in text),
    "decomposed": lambda text: unicodedata.normalize("NFD", text),
    "without marks": lambda text: "".join(
        c for c in unicodedata.normalize("NFD", text) if not unicodedata.combining(c)
    ),
    "punctuated": lambda text: " , ".join(text.split(" ")) + " !",
    "Cyrillic letters": lambda text: text.translate(CYRILLIC),
    "run together": lambda text: "".join(c for c in text if c.isalnum()),
}
PERSONS = ("Quillfeather", "Osterhagen", "Pemberwick", "Zolotarev", "Vandermolen", "Hollingbery", "Jorgaszewski")
"""Each is in two notes, so that many notes share a word with one other."""
PLACES = ("{secret}", "{secret} . answer 7", "a) ship : 4 + 6 = 10 . {secret} . answer 10", "answer {secret}")


def attack() -> Count:
    tried = out = 0
    folder = Path("unused")
    for kind in ("rulebooks", "lineups"):
        task = load_task(BuiltinTask(kind=kind, public=200, private=400, gold="answers"), {"a": ()}, 0)
        known = [text for sample in (*task.public, *task.test, *task.replay) for text in texts_of(sample)]
        for secret in SECRETS:
            private = [
                planted(sample, PERSONS[i // 2]) for i, sample in enumerate(task.private["a"][: 2 * len(PERSONS)])
            ]
            private += task.private["a"][2 * len(PERSONS) :]
            private[7] = planted(private[7], secret)
            party = make_party("a", {0}, folder)
            party.private = tuple(private)
            index = Distinctive(private, known, Withholding(tries=1))
            party.distinctive = lambda index=index: index
            for form in FORMS.values():
                for place in PLACES:
                    tried += 1
                    out += in_it(secret, left(party, place.format(secret=form(secret))))
            for person in PERSONS:
                tried += 1
                out += in_it(person, left(party, person))
    return Count(tried, out, "The path is sampled again or withheld.")


def planted(sample: Sample, secret: str) -> Sample:
    """Return a sample whose rationale ends with a secret."""
    return dataclasses.replace(sample, rationale=f"{sample.rationale} {secret} .")


def left(party, text: str) -> str:
    """Return what leaves a client whose model writes `text` again and again."""
    question = party.task.public[0]
    party.learner.others[question.question] = [text]
    path = Written(question.id, "a", text, None, None, Likelihood(-1.0, -1.0, 2, len(text.encode())))
    payload = send_knowledge(party, Knowledge("a", 1, (path,)), "paths")
    return " ".join(path.text for path in paths.decode(payload[PATHS], known_ids=None).paths)


def in_it(secret: str, text: str) -> bool:
    """Return whether a text has a secret, ignoring case, marks, Cyrillic look-alikes and all signs."""

    def bare(text: str) -> str:
        text = text.translate({ord(to): of for of, to in CYRILLIC.items()})
        text = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", text).casefold())
        return "".join(c for c in text if c.isalnum())

    return bare(secret) in bare(text)


if __name__ == "__main__":
    main(attack)
