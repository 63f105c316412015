"""Running an app's hook with its FastAPI dependencies filled.

Protocol endpoints are plain Starlette routes; hooks want sessions and settings like
any route of the app. So each hook becomes a route of its own that is never
published: FastAPI fills its parameters by public means, overrides included.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable
from typing import Any

from fastapi import Request
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response
from starlette.types import Message

from watchword.errors import ConfigError
from watchword.exchanges.bench import Caller

_VALUE, _RESULT = "watchword.hook.value", "watchword.hook.result"


class Hook:
    """A function of the app's that gets one value of ours and whatever else it declares.

    Args:
        function: sync or async.
        kind: the type of the parameter that we bind.
        overrides: the app, whose `dependency_overrides` count here too.

    Raises:
        ConfigError: no parameter of that type, or annotations that cannot be read.
    """

    def __init__(self, function: Callable[..., Any], kind: type, overrides: Any = None) -> None:
        try:
            hints = typing.get_type_hints(function, include_extras=True)
        except NameError as error:
            raise ConfigError(
                f"The annotations of {function.__qualname__} cannot be read: {error}.",
                fix="import what they name at the top of the module",
            ) from error
        parameters = inspect.signature(function).parameters
        bound = [name for name in parameters if hints.get(name) is kind]
        if len(bound) != 1:
            raise ConfigError(
                f"{function.__qualname__} needs one parameter typed {kind.__name__}.",
                why="that is how the hook learns what is going on",
                fix=f"async def {function.__name__}(context: {kind.__name__}): ...",
            )
        others = [
            parameter.replace(
                annotation=hints.get(name, parameter.annotation),
                kind=inspect.Parameter.KEYWORD_ONLY,
            )
            for name, parameter in parameters.items()
            if name not in bound
        ]
        is_async = inspect.iscoroutinefunction(function)

        async def endpoint(watchword_request: Request, **filled: Any) -> Response:
            values = {bound[0]: watchword_request.scope[_VALUE], **filled}
            if is_async:
                result = await function(**values)
            else:
                result = await run_in_threadpool(function, **values)
            watchword_request.scope[_RESULT].append(result)
            return Response(status_code=204)

        own = inspect.Parameter(
            "watchword_request", inspect.Parameter.KEYWORD_ONLY, annotation=Request
        )
        endpoint.__signature__ = inspect.Signature([own, *others])  # type: ignore[attr-defined]
        self._route = APIRoute(
            "/",
            endpoint,
            methods=["POST"],
            response_model=None,
            include_in_schema=False,
            dependency_overrides_provider=overrides,
        )

    async def __call__(self, value: Any, caller: Caller) -> Any:
        """The function's result; what it raises is raised here."""
        results: list[Any] = []
        scope = {
            **caller.connection.scope,
            _VALUE: value,
            _RESULT: results,
            # Answered by the app's handlers, an HTTPException would be dropped with the answer.
            "starlette.exception_handlers": ({}, {}),
        }
        await self._route.app(scope, _nothing, _drop)
        return results[0]


async def _nothing() -> Message:
    return {"type": "http.request", "body": b"", "more_body": False}


async def _drop(message: Message) -> None:
    del message
