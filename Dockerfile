# One image for web, workers and scheduler; docker-compose.yml says which is which.
FROM python:3.12-slim-bookworm

ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PIP_NO_CACHE_DIR=1 PATH=/app/.venv/bin:$PATH
WORKDIR /app

COPY requirements/run.txt requirements/
RUN python -m venv .venv && .venv/bin/pip install --require-hashes -r requirements/run.txt

COPY . .
RUN pybabel --quiet compile --directory locale --domain django
RUN useradd --system --uid 1000 --create-home titanic && mkdir /data && chown titanic /data
USER 1000
# What trainings record: docker build --build-arg GIT_COMMIT=$(git rev-parse HEAD) .
ARG GIT_COMMIT=""
ENV GIT_COMMIT=$GIT_COMMIT
ENV TITANIC_HOME=/data HOST=0.0.0.0 PORT=8000 GRANIAN_WORKERS=2
VOLUME /data
EXPOSE 8000

CMD ["granian", "--interface", "wsgi", "--blocking-threads", "2", "--http", "1", "--no-ws", "--workers-kill-timeout", "8", "--host", "0.0.0.0", "--port", "8000", "--respawn-failed-workers", "titanic_site.wsgi:application"]
