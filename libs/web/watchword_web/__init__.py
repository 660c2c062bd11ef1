"""The HTTP edge that the five services share.

| module | what |
|---|---|
| `app` | `create_app`: a service's FastAPI application with all of the below |
| `hot` | `HotPaths` and what hot endpoints read and write with |
| `errors`, `failures` | what is raised, and how it looks on each surface (`surfaces`) |
| `forms` | strict readers for forms, queries and JSON |
| `pages`, `csp`, `assets` | templates, their policy, static files |
| `cookies`, `csrf` | flow and session cookies; form tokens and origin checks |
| `targets`, `addresses`, `hosts` | return targets, client addresses, the public name |
| `limits`, `cors`, `api`, `openapi` | rate limits, cross-origin calls, lists with cursors, the document |
"""
