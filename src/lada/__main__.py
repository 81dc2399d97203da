"""`python -m lada` is the `lada` command."""

from lada.cli.main import app

app()
