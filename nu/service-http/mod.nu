# The commands of the plugin in plain Nushell, over the daemon's HTTP API, for a Nushell that the plugin is not built for.
#
# `use nu/service-http *` gives `service ...` with the same names, flags, rows and error codes; `use nu/service` after it adds
# the commands that are composed from these. It needs `http get --unix-socket` (Nushell 0.109), and `orchestratord` on PATH.

export use service *
export use run.nu *
