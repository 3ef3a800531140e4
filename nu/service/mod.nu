# Commands composed from those of the plugin `service`: `use nu/service` merges them into `service ...`.
#
# Only the plugin talks to the daemon; no name in here may equal one of its commands.

export use up.nu
export use down.nu
