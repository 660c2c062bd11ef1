"""The console: pages for administrators, which are a client of the installation that they administer.

`sessions` signs people in (code with PKCE, as any application does) and keeps the console's own sessions; `pages`
shows, `edits` changes, `fields` and `exchange` translate between forms and documents, `routes` puts
them behind one guard.
"""
