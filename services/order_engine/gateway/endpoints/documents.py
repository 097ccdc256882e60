"""Serves the OpenAPI document."""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from order_engine.gateway.contract.openapi import document
from order_engine.gateway.services import services


async def openapi(request: Request) -> Response:
    return JSONResponse(document(is_open=services(request).access.is_open))
