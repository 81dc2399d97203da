import pytest

from lada.core.errors import FederationError, InputError, LadaError, nearest


@pytest.mark.parametrize(
    ("name", "hint"), [("fedavgg", "; did you mean 'fedavg'?"), ("fedavg", "; did you mean 'fedavg'?"), ("zzz", "")]
)
def test_nearest(name, hint):
    assert nearest(name, iter(["random", "fedavg"])) == hint


def test_nearest_of_nothing():
    assert nearest("lada", []) == ""


def test_exit_codes():
    assert (LadaError.exit_code, InputError.exit_code, FederationError.exit_code) == (1, 2, 1)
    assert issubclass(InputError, LadaError)
    assert issubclass(FederationError, LadaError)
