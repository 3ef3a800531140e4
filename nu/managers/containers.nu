# The common part of the managers `podman` and `docker`: one container per service, found by its labels.
#
# A stopped container is kept for its logs and its exit code. If definition and image are unchanged, the next start starts the same
# container again, with its file system. Otherwise a new container replaces it. See docs/managers.md.

use quote.nu

const PROJECT = "service-orchestrator.project"
const SERVICE = "service-orchestrator.service"
const DEFINITION = "service-orchestrator.definition"

# The format for `inspect`: one line of JSON for each container, with only the required fields. All fields would be ten times as much
# text to parse every `health.interval`.
const INSPECT_FORMAT = r#'{"Id":{{json .ID}},"Name":{{json .Name}},"Image":{{json .Image}},"State":{{json .State}},"RestartCount":{{json .RestartCount}},"Config":{"Labels":{{json .Config.Labels}},"Healthcheck":{{json .Config.Healthcheck}}},"NetworkSettings":{"Ports":{{json .NetworkSettings.Ports}}}}'#

# The number of lines that means all lines.
const ALL_LINES = 2147483647

# Networks that the engine provides.
const BUILT_IN_NETWORKS = [host none bridge default private pasta slirp4netns podman]

# Whether the program is installed, and whether its engine answers.
export def check [engine: string]: nothing -> record {
    let program = which $engine | where type == external | get path.0?
    if $program == null {
        return {present: false program: $engine version: null message: $"there is no `($engine)` on this machine"}
    }
    let version = ^$engine --version | complete | get stdout | parse --regex '(?<version>\d+\.\d+[\w.~+-]*)' | get version.0?
    let result = ^$engine ps --quiet --last 1 | complete
    let message = if $result.exit_code == 0 { "its engine answers" } else { error-text $result | quote }
    {present: ($result.exit_code == 0) program: $program version: $version message: $message}
}

# Starts the service's container; creates it if there is none with this definition and image.
export def start [engine: string]: record -> record {
    let service = $in
    let name = name-of $service
    let options = options-of $service $name
    let definition = [$service.image $options $service.env ($service.command? | default [])] | to json --raw | hash sha256
    let existing = find $engine $service start
    if $existing != null {
        let same = ($existing.Config.Labels | get --optional $DEFINITION) == $definition
        if $same and $existing.State.Running and not ($existing.State.Paused? | default false) {
            return (report $engine $existing)
        }
        if $same and (is-current $engine $service $existing) {
            stop-container $engine $service start $existing
            run-engine $engine $service start [start -- $name] | ignore
            return (find $engine $service start | report-or-stopped $engine $name)
        }
        stop-container $engine $service start $existing
        run-engine $engine $service start [rm --force -- $name] | ignore
    }
    for network in ($service.networks? | default []) { create-network $engine $service $network }
    # Values without line breaks are read from standard input, so that no command line and no file contains them. The engine's
    # program inherits the others.
    let lines = $service.env? | default {} | transpose name value
    let plain = $lines | where value !~ '[\r\n\x00"''`]'
    let inherited = $lines | where value =~ '[\r\n\x00"''`]'
    let labels = [$"--label=($DEFINITION)=($definition)"]
    let environment = ["--env-file=/dev/stdin"] ++ ($inherited | each {|line| $"--env=($line.name)" })
    let words = [run --detach] ++ $options ++ $labels ++ $environment ++ [-- $service.image] ++ ($service.command? | default [])
    let text = $plain | each {|line| $"($line.name)=($line.value)(char newline)" } | str join
    let result = with-env ($inherited | reduce --fold {} {|line all| $all | insert $line.name $line.value }) { $text | ^$engine ...$words | complete }
    if $result.exit_code != 0 {
        # The container may have been created before the start failed.
        ^$engine rm --force -- $name | complete | ignore
        refuse $engine $service start (error-text $result)
    }
    find $engine $service start | report-or-stopped $engine $name
}

# Stops the service's container and keeps it for its logs.
export def stop [engine: string]: record -> record {
    let service = $in
    let existing = find $engine $service stop
    if $existing != null { stop-container $engine $service stop $existing }
    let now = find $engine $service stop | report-or-stopped $engine (name-of $service)
    if $now.state in [running starting] { $now } else { $now | merge {state: stopped} }
}

# The state of the service's container.
export def status [engine: string]: record -> record {
    let service = $in
    find $engine $service status | report-or-stopped $engine (name-of $service)
}

# The states of the containers of all these services, with one request to the engine.
export def "status all" [engine: string]: table -> table {
    let services = $in
    # All services belong to one project.
    let prefix = prefix-of ($services | get 0?.project | default "")
    let names = $services | each {|service| $prefix + $service.name }
    let found = inspect $engine $names "cannot ask for containers"
    let found = $found | group-by {|one| $one.Name | str trim --left --char '/' }
    $services | zip $names | each {|one|
        let service = $one.0
        let name = $one.1
        let container = $found | get --optional $name | get 0?
        let answer = try {
            if $container != null { check-owner $service status $container }
            $container | report-or-stopped $engine $name
        } catch {|error| {state: unknown message: $error.msg} }
        {name: $service.name} | merge $answer
    }
}

# The last lines of the container, with their times.
export def logs [engine: string]: record -> table {
    let service = $in
    if (find $engine $service "show the log of") == null { return [] }
    # podman omits lines of exactly that time, so the request begins 1 ms earlier.
    let since = $service.since? | if $in != null { [$"--since=($in - 1ms | format date '%Y-%m-%dT%H:%M:%S%.9f%:z')"] } else { [] }
    # podman allocates memory for the requested number of lines, so a request for all lines names no number.
    let tail = if $service.tail < $ALL_LINES { [$"--tail=($service.tail)"] } else { [] }
    let words = [logs --timestamps] ++ $tail ++ $since ++ [-- (name-of $service)]
    let answer = ^$engine ...$words | complete
    # podman 4 fails while a line is being written.
    let answer = if $answer.stderr =~ 'not a valid container log line' { ^$engine ...$words | complete } else { $answer }
    if $answer.exit_code != 0 { refuse $engine $service "show the log of" (error-text $answer) }
    [stdout stderr]
    | each {|stream|
        $answer | get $stream | parse --regex '(?m)^(?<time>\d{4}-\S+)(?: (?<line>.*))?$' | insert stream $stream
    }
    | flatten
    | update time { into datetime }
    | where $service.since? == null or $it.time >= $service.since
    | sort-by time
    | last $service.tail
}

# The name of a service's container: readable and unique.
def name-of [service: record]: nothing -> string {
    (prefix-of $service.project) + $service.name
}

# The prefix of the names of a project's containers.
def prefix-of [project: string]: nothing -> string {
    let directory = $project | path dirname | path basename | str replace --all --regex '[^a-zA-Z0-9_.-]' '-'
    let fingerprint = $project | hash sha256 | str substring 0..7
    $"($directory)-($fingerprint)-" | str replace --regex '^[^a-zA-Z0-9]+' ''
}

# The options that create this container, without its environment.
def options-of [service: record name: string]: nothing -> list<string> {
    let each_of = {|key flag| $service | get --optional $key | default [] | each {|value| $"--($flag)=($value)" } }
    let one_of = {|key flag| $service | get --optional $key | if $in != null { [$"--($flag)=($in)"] } else { [] } }
    let named = $service.networks? | default [] | where {|network| is-named $network }
    let user = [$service.user? $service.group?] | compact | str join ":"
    [
        $"--name=($name)"
        $"--label=($PROJECT)=($service.project)"
        $"--label=($SERVICE)=($service.name)"
        ...(do $each_of ports publish)
        ...(do $each_of volumes volume)
        ...(do $each_of networks network)
        # Services of one network find each other by their names.
        ...(if ($named | is-not-empty) { [$"--network-alias=($service.name)"] } else { [] })
        ...(if ($user | is-not-empty) { [$"--user=($user)"] } else { [] })
        ...(do $one_of memory_limit memory)
        ...(do $one_of cpu_limit cpus)
        ...(do $one_of stop_signal stop-signal)
        ...(if ($service.pull? | default missing) != missing { [$"--pull=($service.pull)"] } else { [] })
        ...($service.with?.options? | default [])
    ]
}

# Whether a stopped container has the image that a new one would have.
def is-current [engine: string service: record container: record]: nothing -> bool {
    if ($service.pull? | default missing) in [always newer] { return false }
    if $container.State.Status not-in [exited stopped running paused] { return false }
    let image = ^$engine image inspect --format "{{.Id}}" -- $service.image | complete
    $image.exit_code == 0 and ($image.stdout | str trim | str replace "sha256:" "") == ($container.Image | str replace "sha256:" "")
}

# Stops a running container with the service's signal and timeout.
def stop-container [engine: string service: record verb: string container: record]: nothing -> nothing {
    let name = name-of $service
    if ($container.State.Paused? | default false) { run-engine $engine $service $verb [unpause -- $name] | ignore }
    if $container.State.Status in [running paused restarting stopping] {
        let seconds = $service.stop_timeout? | default 10sec | into duration | $in / 1sec | math ceil | into int
        run-engine $engine $service $verb [stop -t $"($seconds)" -- $name] | ignore
    }
}

# Creates a network, unless it exists.
def create-network [engine: string service: record network: string]: nothing -> nothing {
    if not (is-named $network) { return }
    let is_there = {|| (^$engine network inspect -- $network | complete).exit_code == 0 }
    if (do $is_there) { return }
    let result = ^$engine network create $"--label=($PROJECT)=($service.project)" -- $network | complete
    # Another service of this project may have created the network in the meantime.
    if $result.exit_code != 0 and not (do $is_there) {
        refuse $engine $service start $"its network `($network)` cannot be created:  (error-text $result)"
    }
}

def is-named [network: string]: nothing -> bool {
    $network not-in $BUILT_IN_NETWORKS and not ($network | str contains ":")
}

# The service's container, or nothing.
def find [engine: string service: record verb: string]: nothing -> any {
    let found = inspect $engine [(name-of $service)] $"cannot ($verb) `($service.name)`" | get 0?
    if $found != null { check-owner $service $verb $found }
    $found
}

# Fails if a container of that name belongs to another project.
def check-owner [service: record verb: string container: record]: nothing -> nothing {
    let labels = $container.Config.Labels? | default {}
    if ($labels | get --optional $PROJECT) != $service.project or ($labels | get --optional $SERVICE) != $service.name {
        error make --unspanned {
            msg: $"cannot ($verb) `($service.name)`: the container `(name-of $service)` is not managed by this project"
            help: "rename or remove it"
        }
    }
}

# The engine's data of these containers, without those that do not exist.
def inspect [engine: string names: list<string> cannot: string]: nothing -> table {
    if (which $engine | where type == external | is-empty) {
        error make --unspanned {
            msg: $"($cannot): there is no `($engine)` on this machine"
            help: $"install ($engine), or name another manager"
        }
    }
    let answer = ^$engine container inspect --format $INSPECT_FORMAT -- ...$names | complete
    let errors = $answer.stderr | lines | where ($it | str trim | is-not-empty) | where $it !~ '(?i)no such (container|object)|Emulate Docker'
    if $answer.exit_code != 0 and ($errors | is-not-empty) {
        error make --unspanned {msg: $"($cannot): ($errors | str join '; ' | quote)" help: $"try `($engine) ps`"}
    }
    $answer.stdout | from json --objects
}

# The state of a container, which may not exist.
def report-or-stopped [engine: string name: string]: any -> record {
    let container = $in
    if $container == null { {state: stopped message: $"there is no container ($name)"} } else { report $engine $container }
}

# The state record of a container, from the engine's data.
def report [engine: string container: record]: nothing -> record {
    let state = $container.State
    let paused = $state.Paused? | default false
    let health = if $paused { "unhealthy" } else if $state.Running { health-of $engine $container }
    let reported = match $state.Status {
        _ if $paused => "running"
        "running" if $health == "starting" => "starting"
        "running" | "stopping" => "running"
        "exited" | "stopped" => (if $state.ExitCode == 0 { "completed" } else { "failed" })
        "dead" => "failed"
        "restarting" => "starting"
        # Created and never started.
        _ => "stopped"
    }
    let ended = $reported in [completed failed]
    let words = [
        $state.Status
        (if $health != null and not $paused { $health })
        (if $ended { $"exit code ($state.ExitCode)" })
        (if ($state.OOMKilled? | default false) { "it had no memory left" })
        ($state.Error? | default "" | if $in != "" { $in | quote })
        (if not $ended { published $container })
    ]
    {
        state: $reported
        id: ($container.Id | str substring 0..11)
        pid: (if $state.Running and $state.Pid > 0 { $state.Pid })
        message: ($words | compact | str join ", ")
        since: (parse-time (if $ended { $state.FinishedAt } else { $state.StartedAt }))
        exit_code: (if $ended { $state.ExitCode })
        healthy: (if $health in [healthy unhealthy] { $health == "healthy" })
        restarts: ($container.RestartCount? | default 0)
    }
}

# `127.0.0.1:8080->80/tcp`, as the engines write it. Loops are used because a closure costs more than the work here.
def published [container: record]: nothing -> any {
    let ports = $container.NetworkSettings?.Ports? | default {}
    mut words = []
    for port in ($ports | columns) {
        for at in ($ports | get $port | default []) {
            let host = if $at.HostIp? in ["" null] { "0.0.0.0" } else { $at.HostIp }
            $words ++= [$"($host):($at.HostPort)->($port)"]
        }
    }
    if ($words | is-not-empty) { $words | uniq | str join ", " }
}

# The result of the container's own health check; nothing if it has none.
#
# podman lets systemd run the check. Without systemd, this function runs the check when it is due.
def health-of [engine: string container: record]: nothing -> any {
    let rule = $container.Config.Healthcheck? | default {}
    let known = $container.State.Health? | default ($container.State.Healthcheck? | default {})
    if ($known.Status? | default "") in ["" none] { return null }
    let is_podman = $container.State.ConmonPid? != null
    if not $is_podman or ("/run/systemd/system" | path exists) { return $known.Status }
    let last = $known.Log? | default [] | last 1 | get 0?
    let interval = $rule.Interval? | default 30000000000 | into duration
    if $last != null and (date now) < ($last.End | into datetime) + $interval { return $known.Status }
    ^$engine healthcheck run $container.Id | complete | ignore
    let again = ^$engine container inspect --format "{{json .State}}" -- $container.Id | complete
    let state = try { $again.stdout | from json } catch { {} }
    $state.Health?.Status? | default ($state.Healthcheck?.Status? | default $known.Status)
}

# A time; null for the year 1, which the engine uses for `never`.
def parse-time [text: any]: nothing -> any {
    if $text == null or ($text | str starts-with "0001") { return null }
    try { $text | into datetime }
}

# Runs the engine's program and returns the output; raises the engine's error.
def run-engine [engine: string service: record verb: string words: list<string>]: nothing -> string {
    let answer = ^$engine ...$words | complete
    if $answer.exit_code != 0 { refuse $engine $service $verb (error-text $answer) }
    $answer.stdout
}

# The reason of an engine's failure: its error without warnings and progress.
def error-text [answer: record]: nothing -> string {
    let lines = $answer.stderr | lines | each { str trim } | where ($it | is-not-empty) | where $it !~ '^Emulate Docker|level='
    let errors = $lines | where $it =~ '(?i)^(docker: )?error'
    let relevant = if ($errors | is-empty) { $lines } else { $errors }
    $relevant | last 1 | to text | str trim | str replace --regex '(?i)^(docker: )?error( response from daemon)?: ' ''
}

def refuse [engine: string service: record verb: string why: string]: nothing -> error {
    let help = match $why {
        _ if $why =~ '(?i)address already in use|port is already allocated' => "another program has that port: change `ports`, or stop that program"
        _ if $why =~ '(?i)initializing source|short-name|manifest unknown|no such image|image not known|pull access|unable to find' => {
            $"the image is not available: try `($engine) pull ($service.image)`"
        }
        _ if $why =~ '(?i)executable file not found|no such file or directory' => "is that program in the image? `start_command` runs inside the container"
        _ => $"see `($engine) ps --all`, or try `($engine) run --rm ($service.image)`"
    }
    error make --unspanned {msg: $"cannot ($verb) `($service.name)`: ($why | quote)" help: $help}
}
