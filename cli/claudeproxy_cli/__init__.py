"""The command ``claudeproxy``: one skin over the library's verbs, one module a command.

``__main__``, ``main``
    the process, and in it the application, and what becomes of errors
``parameters``, ``options``, ``times``, ``ids``, ``render``, ``listing``
    what commands share: how parameters are read, options, times as people write them, ids as prefixes, output as
    table, lines, JSON, CSV
``serve``, ``run``, ``demo``, ``query``, ``show``, ``ca``, ``doctor``, ``configcmd``
    the commands; each imports what it needs when it runs, so that reading captures starts no server library
``running``, ``environment``, ``bundle``, ``client_settings``, ``child``, ``attached``, ``kept``, ``receipt``,
``trust``, ``findings``, ``machine_checks``, ``proxy_checks``, ``descriptors``
    what `run`, `ca` and `doctor` are made of

A package of its own beside the library, which never imports it.
"""
