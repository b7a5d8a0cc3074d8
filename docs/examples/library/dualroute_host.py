"""dualroute: gunicorn library.dualroute_host:app, uvicorn library.dualroute_host:app."""

from dualroute import DualRoute, Mount, PlainTextResponse, Route, SyncRequest
from library.shop import status


def home(request: SyncRequest) -> PlainTextResponse:
    return PlainTextResponse("the shop")


app = DualRoute([Route("/", home), Mount("/status", app=status)])
