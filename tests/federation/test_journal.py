from lada.federation.checkpoints import files
from lada.federation.journal import Journal


def test_an_entry_is_found_again_and_a_damaged_one_counts_as_absent(tmp_path):
    journal = Journal(tmp_path).at("1")
    assert journal.load("a/b") is None
    journal.save("a/b", files({"x": b"1"}))
    found = journal.load("a/b")
    assert found
    assert (found / "x").read_bytes() == b"1"
    (found / "x").write_bytes(b"2")
    assert journal.load("a/b") is None
    journal.save("a/b", files({"x": b"3"}))
    found = journal.load("a/b")
    assert found
    assert (found / "x").read_bytes() == b"3"


def test_pruning_keeps_what_is_named(tmp_path):
    journal = Journal(tmp_path / "j")
    journal.prune({"1"})
    for round in ("1", "2", "3"):
        journal.at(round).save("entry", files({"x": b""}))
    journal.prune({"3", "7"})
    assert journal.names() == ["3"]
    assert journal.at("3").load("entry")


def test_what_is_removed_is_gone_with_all_below_it(tmp_path):
    journal = Journal(tmp_path)
    for key in ("replies/learn/a", "replies/learn/b", "replies/contribute/a"):
        journal.save(key, files({"x": b"1"}))
    journal.remove("replies/learn")
    journal.remove("missing/learn")
    assert journal.load("replies/learn/a") is None
    assert journal.load("replies/contribute/a")
