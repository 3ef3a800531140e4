# Services that docker runs as containers, at the engine that `DOCKER_HOST` or the current context names.
#
# Everything is as in containers.nu. See docs/managers.md.

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

# How the service's container is.
@category service
export def status []: record -> record { $in | containers status docker }

# How the containers of all these services are.
@category service
export def "status all" []: table -> table { $in | containers status all docker }

# The last lines that the container wrote.
@category service
export def logs []: record -> table { $in | containers logs docker }

# Whether docker is here and answers.
@category service
export def check []: nothing -> record { containers check docker }
