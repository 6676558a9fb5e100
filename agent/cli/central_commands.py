"""The command `central` and those below it."""

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from agent.cli.arguments import USAGE, RefusedSecret, days, id_scopes, list_commands, port
from agent.config import loader as configuration
from agent.diagnostics import installation

if TYPE_CHECKING:
    from agent.cli.central_accounts import Accounts


def add_central(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `central` and its commands."""
    central = commands.add_parser("central", help="run a local IoT Central")
    central.add_argument(
        "--data",
        type=Path,
        metavar="DIR",
        help="directory for its data (default: in your home directory)",
    )
    central.add_argument(
        "--listen",
        default="127.0.0.1",
        metavar="ADDRESS",
        help="address for MQTT clients (default: %(default)s)",
    )
    central.add_argument(
        "--http-port",
        type=port,
        metavar="PORT",
        help="port of the web page; 0 for any free port (default: the first free one from 8080)",
    )
    central.add_argument(
        "--room-socket",
        type=Path,
        metavar="PATH",
        help="control socket of a daemon whose simulated sensor the page controls",
    )
    central.add_argument(
        "--id-scopes",
        type=id_scopes,
        default=1,
        metavar="N",
        help="create at least N ID scopes, each with its own hub, to move devices between them",
    )
    central.add_argument(
        "--certificate",
        metavar="DEVICE",
        help="make a certificate with which DEVICE can sign in, and exit",
    )
    central.add_argument(
        "--console-listen",
        default="127.0.0.1",
        metavar="ADDRESS",
        help="address for the web page; on any but a loopback address with TLS and sign-in",
    )
    central.add_argument(
        "--console-certificate",
        type=Path,
        metavar="FILE",
        help="certificate for the web page, in PEM, in place of one that central makes",
    )
    central.add_argument(
        "--console-key", type=Path, metavar="FILE", help="private key of that certificate, in PEM"
    )
    central.add_argument(
        "--local-webhooks",
        action="store_true",
        help="let rules send alerts to loopback and link-local addresses, too",
    )
    central.set_defaults(do=_central)
    groups = central.add_subparsers(metavar="COMMAND")
    _backup_commands(groups)
    _user_commands(groups)
    _token_commands(groups)


def _user_commands(groups: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    users = groups.add_parser("user", help="add, list and remove users of the web page")
    users.set_defaults(do=lambda _arguments: list_commands(users))
    verbs = users.add_subparsers(metavar="COMMAND")
    # No abbreviations: --password would be --password-file.
    add = verbs.add_parser("add", help="add a user", allow_abbrev=False)
    remove = verbs.add_parser("remove", help="remove a user, who is signed out at once")
    password = verbs.add_parser(
        "password",
        help="give a user another password, and sign the user out",
        allow_abbrev=False,
    )
    show = verbs.add_parser("list", help="list the users and their roles")
    for command in (add, remove, password):
        command.add_argument("name", metavar="NAME", help="name of the user")
    _role_option(add, "what the user may do")
    for command in (add, password):
        command.add_argument(
            "--password-file",
            type=Path,
            metavar="FILE",
            help="file with the password, which others cannot read (default: ask for it)",
        )
        command.add_argument("--password", nargs="?", action=RefusedSecret, help=argparse.SUPPRESS)
    for command, do in ((add, _add_user), (remove, _remove_user), (password, _set_password)):
        command.set_defaults(do=do)
    show.set_defaults(do=_list_users)
    for command in (add, remove, password, show):
        _data_option(command)


def _token_commands(groups: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    tokens = groups.add_parser("token", help="make, list and remove API tokens for scripts")
    tokens.set_defaults(do=lambda _arguments: list_commands(tokens))
    verbs = tokens.add_subparsers(metavar="COMMAND")
    add = verbs.add_parser("add", help="make an API token, and print it")
    remove = verbs.add_parser("remove", help="remove an API token, which ends at once")
    show = verbs.add_parser("list", help="list the API tokens and their roles")
    for command in (add, remove):
        command.add_argument("name", metavar="NAME", help="name of the token")
    _role_option(add, "what a script with it may do")
    add.add_argument(
        "--days",
        type=days,
        default=365,
        metavar="N",
        help="days after which it expires (default: %(default)s)",
    )
    add.set_defaults(do=_add_token)
    remove.set_defaults(do=_remove_token)
    show.set_defaults(do=_list_tokens)
    for command in (add, remove, show):
        _data_option(command)


def _role_option(command: argparse.ArgumentParser, text: str) -> None:
    roles = ("viewer", "operator", "administrator")
    command.add_argument("--role", required=True, choices=roles, help=text)


def _backup_commands(groups: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    backup = groups.add_parser("backup", help="save central's data to a file, also while it runs")
    backup.add_argument("file", type=Path, metavar="FILE", help="file to create")
    backup.set_defaults(do=_back_up)
    restore = groups.add_parser("restore", help="replace central's data by a backup")
    restore.add_argument("file", type=Path, metavar="FILE", help="file that `backup` has made")
    restore.set_defaults(do=_restore)
    for command in (backup, restore):
        _data_option(command)


def _data_option(command: argparse.ArgumentParser) -> None:
    # Without a default here: it would replace what is given before the command.
    command.add_argument(
        "--data",
        type=Path,
        default=argparse.SUPPRESS,
        metavar="DIR",
        help="directory of central's data (default: in your home directory)",
    )


def _central(arguments: argparse.Namespace) -> int:
    installation.need(installation.CENTRAL, what="sensor-agent central", extra="central")
    from agent.cli.central import make_certificate, run_central  # noqa: PLC0415 - an extra

    data = _central_data(arguments)
    if (arguments.console_certificate is None) != (arguments.console_key is None):
        print(
            "sensor-agent central: --console-certificate and --console-key need each other",
            file=sys.stderr,
        )
        return USAGE
    if arguments.certificate is not None:
        return make_certificate(data, arguments.certificate)
    return run_central(
        data=data,
        listen=arguments.listen,
        http_port=arguments.http_port,
        room_socket=arguments.room_socket,
        id_scopes=arguments.id_scopes,
        console_listen=arguments.console_listen,
        console_certificate=arguments.console_certificate,
        console_key=arguments.console_key,
        local_webhooks=arguments.local_webhooks,
    )


def _central_data(arguments: argparse.Namespace) -> Path:
    given: Path | None = arguments.data
    return given or configuration.state_directory(os.environ, None) / "central"


def _accounts(arguments: argparse.Namespace) -> "Accounts":
    installation.need(installation.CENTRAL, what="sensor-agent central", extra="central")
    from agent.cli.central_accounts import Accounts  # noqa: PLC0415 - an extra

    return Accounts(_central_data(arguments))


def _add_user(arguments: argparse.Namespace) -> int:
    return _accounts(arguments).add_user(
        arguments.name, arguments.role, password_file=arguments.password_file
    )


def _set_password(arguments: argparse.Namespace) -> int:
    return _accounts(arguments).set_password(arguments.name, password_file=arguments.password_file)


def _remove_user(arguments: argparse.Namespace) -> int:
    return _accounts(arguments).remove_user(arguments.name)


def _list_users(arguments: argparse.Namespace) -> int:
    return _accounts(arguments).list_users()


def _add_token(arguments: argparse.Namespace) -> int:
    return _accounts(arguments).add_token(arguments.name, arguments.role, days=arguments.days)


def _remove_token(arguments: argparse.Namespace) -> int:
    return _accounts(arguments).remove_token(arguments.name)


def _list_tokens(arguments: argparse.Namespace) -> int:
    return _accounts(arguments).list_tokens()


def _back_up(arguments: argparse.Namespace) -> int:
    installation.need(installation.CENTRAL, what="sensor-agent central", extra="central")
    from agent.cli.central import back_up  # noqa: PLC0415 - an extra

    return back_up(_central_data(arguments), arguments.file)


def _restore(arguments: argparse.Namespace) -> int:
    installation.need(installation.CENTRAL, what="sensor-agent central", extra="central")
    from agent.cli.central import restore  # noqa: PLC0415 - an extra

    return restore(_central_data(arguments), arguments.file)
