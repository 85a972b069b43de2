"""What /openapi.json says of the endpoints for whoever watches over the service."""

from typing import Any, Literal

import msgspec

from gateway.describe.operation import Content, Operation, Parameter, Paths


class Liveness(msgspec.Struct):
    """The process serves."""

    status: Literal["alive"]


class Readiness(msgspec.Struct, omit_defaults=True):
    """`reason`: what is wrong, where it is not ready. The rest is there with `?verbose`."""

    status: Literal["ready", "unready"]
    reason: str | msgspec.UnsetType = msgspec.UNSET
    pid: int | msgspec.UnsetType = msgspec.UNSET
    gateway: str | msgspec.UnsetType = msgspec.UNSET
    uptime_seconds: float | msgspec.UnsetType = msgspec.UNSET
    checks: dict[str, str] | msgspec.UnsetType = msgspec.UNSET
    broker: dict[str, Any] | msgspec.UnsetType | None = msgspec.UNSET


_VERBOSE = Parameter("verbose", "query", "Say more.", {"type": "string"})
_EXCLUDE = Parameter("exclude", "query", "A check to leave out; may be given several times.", {"type": "string"})

PATHS: Paths = {
    "/livez": {"GET": Operation("Whether the process serves.", {200: Content("It does.", Liveness)})},
    "/readyz": {
        "GET": Operation(
            "Whether it can do its work now.",
            {200: Content("It can.", Readiness), 503: Content("It cannot.", Readiness)},
            parameters=(_VERBOSE, _EXCLUDE),
        )
    },
}
