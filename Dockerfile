# One image for the five services, the one-shot jobs and the command line; the command decides.
FROM python:3.11-slim-bookworm AS build
ENV UV_LINK_MODE=copy UV_COMPILE_BYTECODE=1 UV_PYTHON_DOWNLOADS=never UV_PROJECT_ENVIRONMENT=/opt/watchword
RUN pip install --no-cache-dir uv==0.13.9
WORKDIR /src
COPY pyproject.toml uv.lock LICENSE ./
COPY libs libs
COPY services services
COPY watchword watchword
# With traces, and without the embedded servers and the demo's provider: those are for machines without Docker.
RUN uv sync --frozen --no-dev --no-editable --package watchword --extra otel

FROM python:3.11-slim-bookworm
LABEL org.opencontainers.image.title="Watchword" \
      org.opencontainers.image.description="Self-hosted single sign-on whose revocations reach everyone in milliseconds" \
      org.opencontainers.image.licenses="Apache-2.0"
RUN useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin watchword
COPY --from=build /opt/watchword /opt/watchword
ENV PATH=/opt/watchword/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
# Requests; liveness, readiness and metrics.
EXPOSE 8000 9000
CMD ["watchword", "--help"]
