"""Scripts and style sheets of ``book/_static`` that only the pages load which use them: an extension of Sphinx.

Jupyter Book puts every script of ``_static`` on every page.  A directive that needs one says so with :func:`use`; every file in :data:`OURS` is
then on the pages that asked for it, deferred, and on no other.
"""

from __future__ import annotations

from fnmatch import fnmatch

OURS = ("selfcheck.*", "widgets/*")  # patterns below _static; what they do not match stays on every page


def use(env, *files: str) -> None:
    """The page that is being read needs ``files``, named below ``_static``."""
    wanted = _wanted(env).setdefault(env.docname, [])
    wanted += [name for name in files if name not in wanted]


def _wanted(env) -> dict[str, list[str]]:
    if not hasattr(env, "l2m_page_assets"):
        env.l2m_page_assets = {}
    return env.l2m_page_assets


def _from_no_page(app, config) -> None:
    for key in ("html_js_files", "html_css_files"):
        kept = [entry for entry in config[key] if not any(fnmatch(str(entry), pattern) for pattern in OURS)]
        config[key] = kept


def _purge(app, env, docname: str) -> None:
    _wanted(env).pop(docname, None)


def _merge(app, env, docnames, other) -> None:
    _wanted(env).update({name: files for name, files in _wanted(other).items() if name in docnames})


def _onto_the_page(app, pagename: str, template: str, context: dict, doctree) -> None:
    wanted = _wanted(app.env)
    if app.builder.name == "singlehtml":  # one page holds all
        names = list(dict.fromkeys(name for files in wanted.values() for name in files))
    else:
        names = wanted.get(pagename, [])
    for name in names:
        if name.endswith(".css"):
            app.add_css_file(name)
        else:
            app.add_js_file(name, loading_method="defer")


def setup(app) -> dict[str, bool]:
    """Register with Sphinx: pages load what they :func:`use`."""
    app.connect("config-inited", _from_no_page)
    app.connect("env-purge-doc", _purge)
    app.connect("env-merge-info", _merge)
    app.connect("html-page-context", _onto_the_page)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
