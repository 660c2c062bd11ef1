"""The command `watchword`: composes the five services into something that runs.

`cli.py` is what people type. `supervisor.py` is `watchword up`: embedded servers (`embedded/`), an installation on disk
(`installation.py`, `nats_conf.py`), migrations and first data (`provision.py`, `bootstrap.py`), and workers
(`worker.py` behind `gateway.py`). `apply.py` brings YAML documents to `/api/v1`. `demo/` is an application and an
upstream provider to try it with.
"""
