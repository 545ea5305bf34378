"""The types of the configuration's fields: what pydantic checks, after `values` has read what people write.

Apart from the keys so that those can be read as a list.
"""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, SecretStr

from claudeproxy.config.values import (
    check_host,
    check_ip,
    check_price,
    check_url,
    parse_address,
    parse_dollars,
    parse_list,
    parse_mapping,
    parse_size,
)


def _size(value: object) -> object:
    return parse_size(value) if isinstance(value, str) else value


def _hosts(value: object) -> object:
    items = parse_list(value) if isinstance(value, str) else value
    return [check_host(str(item)) for item in items] if isinstance(items, list | tuple) else items


def _addresses(value: object) -> object:
    pairs = parse_mapping(value) if isinstance(value, str) else value
    return {check_host(str(k)): check_ip(str(v)) for k, v in pairs.items()} if isinstance(pairs, dict) else pairs


def _prices(value: object) -> object:
    items = parse_list(value) if isinstance(value, str) else value
    return [check_price(item) for item in items] if isinstance(items, list | tuple) else items


def _dollars(value: object) -> object:
    return value if value is None or isinstance(value, bool) else parse_dollars(value)


def _address(value: object) -> object:
    # YAML reads 8443 as a number, and 12:34 as one in base 60: the first is meant, the second cannot be told apart.
    return str(parse_address(str(value))) if isinstance(value, str | int) and not isinstance(value, bool) else value


def _upstream_url(value: object) -> object:
    return check_url(value, credentials=False) if isinstance(value, str) else value


def _proxy_url(value: object) -> object:
    return SecretStr(check_url(value, credentials=True)) if isinstance(value, str) else value


def _user_and_password(value: object) -> object:
    if isinstance(value, str) and not value.partition(":")[2]:
        raise ValueError("write USER:PASSWORD")
    return value


def _path(value: object) -> object:
    return Path(value).expanduser().absolute() if isinstance(value, str | Path) else value


def _paths(value: object) -> object:
    items = parse_list(value) if isinstance(value, str) else value
    return [_path(item) for item in items] if isinstance(items, list | tuple) else items


def _mode(value: object) -> object:
    # YAML reads off and on as false and true. On is the stronger of the two: nobody who says yes wants it stored.
    return {False: "off", True: "redact"}[value] if isinstance(value, bool) else value


SecretsMode = Annotated[Literal["off", "report", "redact"], BeforeValidator(_mode)]
Size = Annotated[int, BeforeValidator(_size)]
Dollars = Annotated[Decimal, BeforeValidator(_dollars)]
Hosts = Annotated[tuple[str, ...], BeforeValidator(_hosts)]
AddressText = Annotated[str, BeforeValidator(_address)]
FilePath = Annotated[Path, BeforeValidator(_path)]
FilePaths = Annotated[tuple[Path, ...], BeforeValidator(_paths)]
AddressMap = Annotated[dict[str, str], BeforeValidator(_addresses)]
Prices = Annotated[tuple[dict[str, str], ...], BeforeValidator(_prices)]
UpstreamURL = Annotated[str, BeforeValidator(_upstream_url)]
ProxyURL = Annotated[SecretStr, BeforeValidator(_proxy_url)]
UserAndPassword = Annotated[SecretStr, BeforeValidator(_user_and_password)]
