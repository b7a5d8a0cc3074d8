"""FastAPI: uvicorn library.fastapi_host:app."""

from fastapi import FastAPI

from library.shop import status

app = FastAPI()


@app.get("/")
async def home() -> str:
    return "the shop"


app.mount("/status", status)
