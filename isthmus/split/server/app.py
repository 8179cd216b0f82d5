# SPDX-License-Identifier: Apache-2.0
"""What can be asked: /predict, /health, /metrics."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError

from isthmus.split.server.gate import App, Gate
from isthmus.split.server.predicting import Predictions
from isthmus.split.server.refusal import RefusalError, as_json

TOP = 5  # classes that are told where nobody asks for more or fewer


def build_app(predictions: Predictions, token: str | None, ready: Callable[[], bool]) -> App:
    """The application. ready: whether it still takes requests."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        predictions.close()

    app = FastAPI(title="isthmus split serve", docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan)

    @app.post("/predict")
    async def predict(request: Request, top: Annotated[int, Query(ge=1)] = TOP, logits: bool = False) -> Response:
        return as_json(await predictions.predict(request, top, logits))

    @app.get("/health")
    async def health() -> Response:
        is_ready = ready()
        limits = {"max_body": predictions.limits.max_body}
        return as_json({"ready": is_ready, **predictions.tail.describe(), **limits}, 200 if is_ready else 503)

    @app.get("/metrics")
    async def metrics() -> Response:
        return Response(predictions.metrics.text(), media_type="text/plain; version=0.0.4")

    @app.exception_handler(RefusalError)
    async def refuse(_: Request, refusal: RefusalError) -> Response:
        return refusal.answer

    @app.exception_handler(RequestValidationError)
    async def refuse_query(_: Request, error: RequestValidationError) -> Response:
        wrong = error.errors()[0]
        return RefusalError(422, f"{wrong['loc'][-1]}: {wrong['msg']}; asked for {wrong['input']!r}").answer

    async def refuse_path(request: Request, error: Exception) -> Response:
        told = f"no {request.method} {request.url.path}; there are POST /predict, GET /health and GET /metrics"
        return RefusalError(getattr(error, "status_code", 404), told).answer

    for status in (404, 405):
        app.exception_handler(status)(refuse_path)
    return Gate(app, predictions.metrics, token)
