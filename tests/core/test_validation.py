"""What may stand at a key, told from the models' fields: the slow reference is pydantic's own JSON Schema."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from lada.bench.suite import Suite
from lada.config import RunConfig
from lada.core.errors import InputError
from lada.core.validation import _fields, _kinds_at, validate
from lada.models.api_options import PLAIN, ApiOptions


def places(schema: dict[str, Any], node: dict[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple]:
    """Yield each place that a location may name, with the keys that it has by the schema."""
    if "$ref" in node:
        node = schema["$defs"][node["$ref"].rsplit("/", 1)[-1]]
    if mapping := node.get("discriminator", {}).get("mapping"):
        for tag, ref in mapping.items():
            yield from places(schema, {"$ref": ref}, (*path, tag))
    elif options := node.get("anyOf") or node.get("oneOf"):
        options = [option for option in options if option.get("type") != "null"]
        for option in options:
            name = (option["$ref"].rsplit("/", 1)[-1],) if options[1:] and "$ref" in option else ()
            yield from places(schema, option, (*path, *name))
    elif "items" in node:
        yield from places(schema, node["items"], (*path, "0"))
    elif "properties" in node:
        yield path, sorted(node["properties"])
        for name, below in node["properties"].items():
            yield from places(schema, below, (*path, name))


@pytest.mark.parametrize("model", [RunConfig, Suite])
def test_the_keys_are_those_of_the_schema(model: type[BaseModel]):
    schema = model.model_json_schema()
    found = list(places(schema, schema))
    assert len(found) > 1
    for path, keys in found:
        assert sorted({name for kind in _kinds_at(model, list(path)) for name in _fields(kind)}) == keys, path


@given(st.from_regex(PLAIN, fullmatch=True))
def test_a_plain_address_is_one_that_requests_can_be_sent_to(address: str):
    url = httpx.URL(address)
    assert (url.scheme, url.host) == (address.partition(":")[0], address.split("/")[2].partition(":")[0])
    assert (url.userinfo, url.query, url.fragment) == (b"", b"", "")


@pytest.mark.parametrize("address", ["http://127.0.0.1:8000/v1", "https://[::1]/v1", "https://münchen.example/v1"])
def test_others_are_looked_at_more_closely(address: str):
    assert validate(ApiOptions, {"base_url": address, "model": "m"}).base_url == address


@pytest.mark.parametrize(
    "address", ["http://h:99999", "http://01.2.3.4", "ftp://h/v1", "http://a b/", "http://", "h/v1"]
)
def test_what_is_no_address_is_refused(address: str):
    with pytest.raises(InputError, match="base_url: expected http"):
        validate(ApiOptions, {"base_url": address, "model": "m"})
