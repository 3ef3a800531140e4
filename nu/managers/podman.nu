# Services that podman runs as containers: the system's podman for root, the rootless one for other users.
#
# Everything else is in containers.nu. See docs/managers.md.

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

# The state of the service's container.
@category service
export def status []: record -> record { $in | containers status podman }

# The states of the containers of all these services.
@category service
export def "status all" []: table -> table { $in | containers status all podman }

# The last lines of the container.
@category service
export def logs []: record -> table { $in | containers logs podman }

# Whether podman is installed and answers.
@category service
export def check []: nothing -> record { containers check podman }
