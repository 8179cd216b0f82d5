# SPDX-License-Identifier: Apache-2.0
"""What can be asked: /predict, /health, /metrics."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request, Response

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

    async def predict(request: Request) -> Response:
        query = request.query_params
        top, logits = whole(query.get("top"), "top", TOP, 1), whole(query.get("logits"), "logits", 0, 0)
        return as_json(await predictions.predict(request, top, bool(logits), query.get("run")))

    # A plain route of Starlette: what FastAPI does for a request's parameters takes as long as all the rest.
    app.add_route("/predict", predict, methods=["POST"])

    @app.get("/health")
    async def health(run: str | None = None) -> Response:
        is_ready = ready()
        limits = {"max_body": predictions.limits.max_body}
        return as_json({"ready": is_ready, **predictions.tails.describe(run), **limits}, 200 if is_ready else 503)

    @app.get("/metrics")
    async def metrics() -> Response:
        return Response(predictions.metrics.text(), media_type="text/plain; version=0.0.4")

    @app.exception_handler(RefusalError)
    async def refuse(_: Request, refusal: RefusalError) -> Response:
        return refusal.answer

    async def refuse_path(request: Request, error: Exception) -> Response:
        told = f"no {request.method} {request.url.path}; there are POST /predict, GET /health and GET /metrics"
        return RefusalError(getattr(error, "status_code", 404), told).answer

    for status in (404, 405):
        app.exception_handler(status)(refuse_path)
    return Gate(app, predictions.metrics, token)


def whole(text: str | None, name: str, usual: int, low: int) -> int:
    """A number of a query. Raises RefusalError."""
    if text is None:
        return usual
    if not (text.isascii() and text.isdigit() and len(text) < 10 and int(text) >= low):
        raise RefusalError(422, f"{name}={text}: expected an integer from {low}")
    return int(text)
