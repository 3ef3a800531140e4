# The commands. Each is defined by its whole name, so that help and errors show this name.

export use add.nu *
export use apply.nu *
export use check.nu *
export use daemon.nu *
export use disable.nu *
export use enable.nu *
export use events.nu *
export use graph.nu *
export use health.nu *
export use history.nu *
export use init.nu *
export use list.nu *
export use logs.nu *
export use managers.nu *
export use ../manual.nu *
export use order.nu *
export use plan.nu *
export use projects.nu *
export use remove.nu *
export use restart.nu *
export use start.nu *
export use status.nu *
export use stop.nu *
export use wait.nu *
export use why.nu *
