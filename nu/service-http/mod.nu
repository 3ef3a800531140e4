# The plugin's commands in plain Nushell, over the daemon's HTTP API, for a Nushell without a matching plugin.
#
# `use nu/service-http *` defines `service ...` with the same names, flags, rows and error codes; `use nu/service` after it adds
# the combined commands. This module needs `http get --unix-socket` (Nushell 0.109), and `orchestratord` on PATH.

export use service *
export use run.nu *
