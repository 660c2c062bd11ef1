"""The HTTP edge that the five services share.

| module | what |
|---|---|
| `app` | `create_app`: a service's FastAPI application with all of the below |
| `hot` | `HotPaths`, and what hot endpoints read and write with |
| `errors`, `failures`, `surfaces` | what is raised, how it looks, and to whom (page, OAuth client, API) |
| `forms` | strict readers for forms, queries and JSON |
| `pages`, `csp`, `assets` | templates, their policy, static files |
| `cookies`, `csrf` | flow and session cookies; form tokens and origin checks |
| `targets`, `addresses`, `hosts` | return targets, client addresses, the public name |
| `limits`, `cors`, `api`, `openapi` | rate limits, cross-origin calls, lists with cursors, the document |

**Errors.** Raise `OAuthError`, `Problem` or `PageError` where the rule is; unreadable input is raised for you
as `BadRequest`. Anything else becomes a 500 (or 503 or 409, see `judge`) with a reference id and no details.

**Paths** are written without the installation's base path everywhere: in routes, in `HotPaths`, in templates through
`url("/login")`. The gateway strips it from `path`, or leaves it there and sets `root_path` (ASGI); both work.

**Pages.** A service has a `templates` folder and `Pages(["watchword_web", "watchword_<service>"], settings)`. There
is no inline script or style, and no page needs JavaScript. A page extends `base.html` and fills these blocks:

    title, heading (the title again unless filled), eyebrow (a small line above), lead (a paragraph below), content,
    head (script files of ours: then render with scripts=True), main_class ("wide" or "full" for more room), footer

Every text stands in `{{ _("...") }}`. In templates: `url(path)`, `static(name)`, `product`, `public_url`. Macros, by
`{% from "macros.html" import form, field, submit %}`:

    {% call form("/login?flow=" ~ flow, csrf) %}...{% endcall %}      a POST form with its token
    hidden(name, value)
    field(name, label, type=, value=, autocomplete=, hint=, error=, required=, autofocus=, inputmode=, spellcheck=)
    password_field(name="password", label=, new=, hint=, error=)    code_field("otp", label)    checkbox(name, label)
    submit(label, id, kind="primary" | "quiet" | "danger", name=, value=)
    link_button(label, path, id=, kind=)                               provider_link(id, name, path)
    alert(message, kind="error" | "warning" | "success" | "info", title=)
    divider(label)    person(name, note)    permissions([{title, note}])    facts({label: value})    frames(urls, title)

Ready pages: `message.html` (title, message; kind, action={label, href, id}), `confirm.html` (title, message, action,
csrf, confirm={label, id, kind}; fields, cancel={label, href}), `error.html` (by `PageError`), `form_post.html` (by
`Pages.render_form_post`). Classes for the rest: `.providers` around provider links, `.actions` around buttons (`.pair`
for two side by side), `.section`, `.stack`, `.scroll` around a `table`, `.button.slim`, `.small`,
`.unseen` for text that only screen readers need.

A POST that ends at an application needs that application's redirect URI in `form_action`: browsers check every hop.
"""
