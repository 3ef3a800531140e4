# The rows of responses: the columns of the plugin, with durations, sizes and times.

use printable.nu
use problem.nu

export def service []: list -> table {
    each {|it|
        {
            name: $it.name
            description: $it.description
            dependencies: ($it.dependencies | each { $in.name })
            manager: $it.manager
            start_command: $it.start_command
            stop_command: $it.stop_command?
            health_check_endpoint: $it.health_check_endpoint?
            origin: ($it.origin? | default "file")
            auto: ($it.auto? | default false)
        }
    }
}

export def step []: list -> table { each {|it| { step: $it.step name: $it.name level: $it.level dependencies: $it.dependencies } } }

export def node []: list -> table {
    each {|it|
        {
            name: $it.name
            level: $it.level
            dependencies: ($it.dependencies | each { $in.name })
            dependents: $it.dependents
            state: $it.state
        }
    }
}

export def change []: list -> table {
    each {|it|
        {
            service: $it.service
            change: $it.change
            because: ($it.because | str join ", ")
            affects: ($it.affects | str join ", ")
        } | merge (if ($it.warnings? | is-empty) { {} } else { { warning: ($it.warnings | str join "; ") } })
    }
}

export def outcome []: list -> table {
    each {|it|
        {
            name: $it.name
            ok: $it.ok
            action: $it.action
            status: $it.status
            health: $it.health
            took: (took $it.took_ms)
            error: (problem cell $it.error?)
        } | merge (if $it.note? == null { {} } else { { note: $it.note } })
    }
}

export def status [long: bool]: list -> table {
    each {|it|
        let row = {
            name: $it.name
            status: $it.status
            state: $it.state
            health: $it.health
            pid: $it.pid?
            uptime: (uptime $it.uptime_ms?)
            memory: (size $it.memory?)
            restarts: $it.restarts
        }
        if $long { $row | merge (details $it) } else { $row }
    }
}

def details [it: record]: nothing -> record {
    {
        reason: $it.reason?
        cpu: (if $it.cpu? == null { null } else { $it.cpu | into float })
        since: (time $it.since?)
        exit_code: $it.exit_code?
        exit_signal: $it.exit_signal?
        memory_limit: (size $it.memory_limit?)
        cpu_limit: (if $it.cpu_limit? == null { null } else { $it.cpu_limit | into float })
        limits: $it.limits?
        dependencies: $it.dependencies
        command: $it.command
        cwd: $it.cwd
        log: $it.log?
        id: $it.id?
        project: $it.project
    }
}

export def health []: list -> table {
    each {|it|
        {
            name: $it.name
            healthy: $it.healthy?
            kind: $it.kind
            message: $it.message
            latency: (took $it.latency_ms)
            checked: (time $it.checked)
            endpoint: $it.endpoint?
        }
    }
}

export def manager []: list -> table {
    each {|it|
        {
            name: $it.name
            commands: ($it.commands | str join ", ")
            present: $it.present?
            program: $it.program?
            version: $it.version?
            services: $it.services
            contract: $it.contract?
            module: $it.module
            message: $it.message?
        }
    }
}

export def line []: list -> table {
    each {|it| { time: (time $it.time) service: $it.service stream: $it.stream line: $it.line } }
}

export def event []: list -> table {
    each {|it|
        {
            seq: $it.seq
            time: (time $it.time)
            service: $it.service?
            event: $it.event
            from: $it.from?
            to: $it.to?
            reason: $it.reason?
        }
    }
}

# Events with all columns.
export def event-long []: list -> table {
    each {|it|
        [$it] | event | first | merge {
            by: $it.by?
            run: $it.run?
            exit_code: $it.exit_code?
            exit_signal: $it.exit_signal?
            need: $it.need?
        }
    }
}

export def past []: list -> table {
    each {|it|
        {
            time: (time $it.time)
            service: $it.service
            kind: $it.kind
            from: $it.from?
            to: $it.to?
            run: $it.run?
            healthy: $it.healthy?
            latency: (took $it.latency_ms?)
            exit_code: $it.exit_code?
            exit_signal: $it.exit_signal?
            message: $it.message?
        }
    }
}

export def begun []: list -> table {
    each {|it|
        {
            service: $it.service
            run: $it.run?
            waited_for: $it.waited_for?
            waited: (took $it.waited_ms)
            took: (took $it.took_ms?)
            result: $it.result
            began: (time $it.began)
        }
    }
}

export def daemon [it: record]: nothing -> record {
    {
        running: true
        version: $it.version
        pid: $it.pid
        socket: $it.socket
        project: $it.project
        uptime: (uptime $it.uptime_ms)
        services_running: $it.services_running
        listen: $it.listen?
        unit: $it.unit?
        log: $it.log
    }
}

# The row of a daemon that does not run.
export def no-daemon [project: record]: nothing -> record {
    {
        running: false
        version: null
        pid: null
        socket: null
        project: ($project.config | printable plain)
        uptime: null
        services_running: null
        listen: null
        unit: null
        log: ($project.log | printable plain)
    }
}

export def unit [it: record]: nothing -> record {
    $it | select unit path enabled at state services note?
}

export def why [it: record]: nothing -> record {
    {
        name: $it.name
        summary: $it.summary
        goal: $it.goal
        state: $it.state
        health: $it.health
        since: (time $it.since?)
        waits_for: (inside $it.waits_for? {|edge|
            { service: $edge.service condition: $edge.condition state: $edge.state waiting: (took $edge.waiting_ms) }
        })
        last_check: (inside $it.last_check? {|check|
            { healthy: $check.healthy message: $check.message latency: (took $check.latency_ms) checked: (time $check.checked) }
        })
        exit: $it.exit?
        port_holder: (inside $it.port_holder? {|holder| { port: $holder.port pid: $holder.pid? process: $holder.process? } })
        next_retry: (inside $it.next_retry? {|next| { at: (time $next.at) in: (took $next.in_ms) } })
        log: ($it.log | line)
        help: $it.help?
    }
}

def inside [value: any, row: closure]: nothing -> any { if $value == null { null } else { do $row $value } }

# A duration, rounded to milliseconds, or to microseconds below one millisecond.
def took [ms: any]: nothing -> any {
    if $ms == null { return null }
    let nanoseconds = if $ms < 1.0 { ($ms * 1e3 | math round) * 1e3 } else { ($ms | math round) * 1e6 }
    $nanoseconds | into int | into duration
}

# An uptime, rounded down to seconds, or to milliseconds within the first second.
def uptime [ms: any]: nothing -> any {
    if $ms == null { return null }
    let nanoseconds = if $ms < 1e3 { ($ms | math floor) * 1e6 } else { ($ms / 1e3 | math floor) * 1e9 }
    $nanoseconds | into int | into duration
}

def size [bytes: any]: nothing -> any { if $bytes == null { null } else { $bytes | into filesize } }

def time [text: any]: nothing -> any { if ($text | is-empty) { null } else { $text | into datetime | date to-timezone local } }
