from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import BaseModel, SecretStr, ValidationError

from claudeproxy.config.fields import (  # noqa: TC001  (pydantic reads the annotations when it runs)
    AddressMap,
    AddressText,
    FilePath,
    Hosts,
    ProxyURL,
    Size,
    UserAndPassword,
)


class Model(BaseModel):
    size: Size = 0
    hosts: Hosts = ()
    addresses: AddressMap = {}
    address: AddressText = ""
    path: FilePath = Path()
    proxy: ProxyURL | None = None
    user: UserAndPassword | None = None


def test_values_pass_in_their_own_type_or_as_text() -> None:
    assert Model(size="1KiB").size == Model(size=1024).size == 1024
    assert Model(hosts="A.example,b.example").hosts == Model(hosts=["a.example", "b.example"]).hosts
    assert Model(address=8443).address == Model(address="127.0.0.1:8443").address == "127.0.0.1:8443"
    assert Model(path="~/x").path == Path.home() / "x"
    assert Model(addresses="a=1.1.1.1").addresses == Model(addresses={"A": "1.1.1.1"}).addresses
    assert Model(proxy="http://h:1").proxy == Model(proxy=SecretStr("http://h:1")).proxy


@pytest.mark.parametrize(
    "values",
    [{"size": []}, {"hosts": 5}, {"addresses": [1]}, {"address": None}, {"address": True}, {"path": 5}, {"user": "x"}],
)
def test_other_types_are_left_to_the_field_to_refuse(values: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Model(**values)
