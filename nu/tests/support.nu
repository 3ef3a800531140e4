# Helpers of the tests of the Nushell side.

# The maximum time of a wait, on a machine under load.
const WAIT_TIMEOUT = 20sec

# Writes the services.toml of the test. TEST_SERVICE in the text is replaced by the test program. Services without a check become
# ready after 100 ms.
export def define [text: string]: nothing -> nothing {
    let quick = if "service_defaults" in $text { "" } else { "\n[orchestrator.service_defaults.ready]\ndelay = \"100ms\"\n" }
    $"($text | str replace --all TEST_SERVICE $"'($env.TEST_SERVICE_PROGRAM)'")($quick)" | save --force services.toml
}

# Fails unless both are the same value, of the same type.
export def equal [found: any, wanted: any]: nothing -> nothing {
    if $found != $wanted or ($found | describe) != ($wanted | describe) {
        error make --unspanned { msg: $"found ($found | to nuon), of ($found | describe)\nwanted ($wanted | to nuon), of ($wanted | describe)" }
    }
}

# Fails unless the condition holds.
export def holds [condition: bool, what: string]: nothing -> nothing {
    if not $condition { error make --unspanned { msg: $"expected: ($what)" } }
}

# The code of the error that a closure raises; fails if it raises none.
export def code-of [work: closure]: nothing -> string {
    let error = error-of $work
    # An older Nushell has the details as text.
    $error.details?.code? | default { $error.json | from json | get code }
}

# The help of the error that a closure raises, as one line; the rendered error wraps it.
export def help-of [work: closure]: nothing -> string {
    let error = error-of $work
    $error.details?.help? | default { $error.json | from json | get help }
}

# The error that a closure raises.
export def error-of [work: closure]: nothing -> record {
    let error = try { do $work | ignore; null } catch {|error| $error }
    if $error == null { error make --unspanned { msg: $"(view source $work) raised no error" } }
    $error
}

# Waits until a closure returns true.
export def eventually [what: string, condition: closure]: nothing -> nothing {
    let deadline = (date now) + $WAIT_TIMEOUT
    while not (do $condition) {
        if (date now) > $deadline { error make --unspanned { msg: $"not within ($WAIT_TIMEOUT): ($what)" } }
        sleep 20ms
    }
}

# The type of each column, from its values.
export def types []: table -> record {
    let rows = $in
    $rows | columns | reduce --fold {} {|column, all|
        let kinds = $rows | get $column | each { describe } | where $it != nothing | uniq
        $all | insert $column ($kinds | get --optional 0 | default nothing)
    }
}

# Whether a daemon runs for this project.
export def has-daemon []: nothing -> bool {
    (service daemon status).running
}
