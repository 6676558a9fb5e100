"""The paths of the console, each declared with what it needs."""

from collections.abc import Callable
from dataclasses import dataclass

from central.console.responses import Handler
from central.console.sign_in.roles import Permission


@dataclass(frozen=True)
class Route:
    """One path and method. With `head`, a GET also answers HEAD."""

    method: str
    path: str
    handler: Handler
    needs: Permission
    head: bool = True


class Routes(list[Route]):
    """The paths of one topic."""

    def on(
        self, method: str, *paths: str, needs: Permission, head: bool = True
    ) -> Callable[[Handler], Handler]:
        """Return a decorator for the handler of these paths."""

        def decorate(handler: Handler) -> Handler:
            self.extend(Route(method, path, handler, needs, head) for path in paths)
            return handler

        return decorate
