# Services that docker runs as containers, with the engine of `DOCKER_HOST` or of the current context.
#
# Everything else is in containers.nu. See docs/managers.md.

use containers.nu

export const CONTRACT = 1

# The keys of a service's `with`.
export const WITH = [options]

# Starts the service's container.
@category service
export def start []: record -> record { $in | containers start docker }

# Stops the service's container.
@category service
export def stop []: record -> record { $in | containers stop docker }

# The state of the service's container.
@category service
export def status []: record -> record { $in | containers status docker }

# The states of the containers of all these services.
@category service
export def "status all" []: table -> table { $in | containers status all docker }

# The last lines of the container.
@category service
export def logs []: record -> table { $in | containers logs docker }

# Whether docker is installed and answers.
@category service
export def check []: nothing -> record { containers check docker }
