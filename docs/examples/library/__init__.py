"""Six applications that have the pages of the library `statuspages` below ``/status``, and those pages by themselves.

cd docs/examples
gunicorn library.flask_host:app
gunicorn library.django_host:wsgi
uvicorn library.django_host:asgi
uvicorn library.fastapi_host:app
uvicorn library.starlette_host:app
dualroute run library.dualroute_host:app    by both servers
dualroute run library.shop:status           the pages by themselves
"""
