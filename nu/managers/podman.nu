# Services that podman runs as containers: root's own podman for root, the user's own for everybody else.
#
# Everything is as in containers.nu. See docs/managers.md.

use containers.nu

export const CONTRACT = 1

# The keys of a service's `with`.
export const WITH = [options]

# Starts the service's container.
@category service
export def start []: record -> record { $in | containers start podman }

# Stops the service's container.
@category service
export def stop []: record -> record { $in | containers stop podman }

# How the service's container is.
@category service
export def status []: record -> record { $in | containers status podman }

# How the containers of all these services are.
@category service
export def "status all" []: table -> table { $in | containers status all podman }

# The last lines that the container wrote.
@category service
export def logs []: record -> table { $in | containers logs podman }

# Whether podman is here and answers.
@category service
export def check []: nothing -> record { containers check podman }
