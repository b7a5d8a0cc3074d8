"""The settings of the Django project, as they always were: nothing in them knows of dualroute."""

DEBUG = True
SECRET_KEY = "change me, and keep it to yourself; this one is for trying the example out"
ROOT_URLCONF = "migrate_django.urls"
SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"  # which needs no database
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
]
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates"}]
