"""A console with users, as on a network: over TLS and with sign-in."""

import ssl
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
from addresses import own_address
from consoles import INFORMATION, MODEL

from central.application import Settings
from central.console.sign_in import passwords, tokens
from central.records import ApiToken, Role, User
from central.server import open_store
from central.storage import accounts

PASSWORD = "correct horse battery"
USERS = {"vera": Role.VIEWER, "otto": Role.OPERATOR, "ann": Role.ADMINISTRATOR}


def network_settings(directory, **options):
    """Return settings of a console on all addresses, with USERS."""
    with open_store(directory) as store:
        for name, role in USERS.items():
            user = User(name, role, passwords.hash_password(PASSWORD), 1.0)
            store.call(accounts.add_user, user)
    return Settings(
        directory,
        listen=own_address(),
        http_port=0,
        console_listen="0.0.0.0",  # noqa: S104 - so it is not on loopback.
        templates=(MODEL, INFORMATION),
        **options,
    )


def new_token(central, name, role, *, expires):
    """Add an API token and return it."""
    resource = central.store.call(accounts.application_id)
    text = tokens.new_token(resource=resource, name=name, expires=expires)
    made = tokens.parse(text)
    assert made is not None
    token = ApiToken(name, role, made.digest, 1.0, made.expires)
    central.store.call(accounts.add_token, token)
    return text


@asynccontextmanager
async def browser_session(central):
    """A client that trusts the console's authority, and keeps cookies as a browser does."""
    context = ssl.create_default_context(cafile=str(central.console_ca_file))
    connector = aiohttp.TCPConnector(ssl=context)
    jar = aiohttp.CookieJar(unsafe=True)  # Of addresses, too.
    async with aiohttp.ClientSession(central.http, connector=connector, cookie_jar=jar) as http:
        yield http


def origin(central):
    return {"Origin": central.http.rstrip("/")}


async def sign_in(http, central, name, password=PASSWORD):
    """Sign in, and return the status of the response."""
    body = {"user": name, "password": password}
    async with http.post("/console/api/session", json=body, headers=origin(central)) as response:
        return response.status


def console_token(central):
    """The header with the token in central's directory."""
    return {"Authorization": Path(central.console_token_file).read_text().strip()}
