# Output of services, files and other users contains no control sequence for the terminal.

use support.nu *
use ../service-http/printable.nu

# Control sequences: control characters, escape sequences other than colours, changes of the writing direction.
const CONTROL_SEQUENCE = '[\x00-\x08\x0b-\x1a\x1c-\x1f\x7f-\x{9f}\x{61c}\x{200e}\x{200f}\x{202a}-\x{202e}\x{2066}-\x{2069}]|\x1b(?!\[[0-9;:]*m)'
# Control sequences as a TOML string: clipboard, clear, title, C1, direction; and a colour.
const BAD = '\u001b]52;c;eA==\u0007\u001b[2J\u001b[H\u009b2J\u009d0;t\u0007\u202e\u001b[31mred\u001b[0m'
const NAME = "evil\u{1b}]0;t\u{7}\u{9b}2J\u{202e}"

# Everything that a call shows: the table of its result, or its error.
def shown-text [work: closure]: nothing -> string {
    let answer = try { { rows: (do $work) } } catch {|error|
        { rows: ([$error.msg ($error.details?.help? | default "") ($error.rendered? | default "")] | str join "\n") }
    }
    $"(texts $answer.rows | str join "\n")"
}

def texts [value: any]: nothing -> list<string> {
    match ($value | describe --detailed).type {
        string => [$value]
        record => ($value | values | each {|cell| texts $cell } | flatten)
        list | table => ($value | each {|cell| texts $cell } | flatten)
        _ => []
    }
}

def check-printable [what: string, work: closure]: nothing -> nothing {
    let text = shown-text $work
    if $text =~ $CONTROL_SEQUENCE {
        error make --unspanned { msg: $"($what) has a control sequence for the terminal: ($text | to json)" }
    }
}

export def "test control sequences are removed" [] {
    for case in [
        [written plain coloured];
        ["as it is\n\tgrün" "as it is\n\tgrün" "as it is\n\tgrün"]
        ["\u{1b}[1;31mred\u{1b}[0m\u{7}" "red" "\u{1b}[1;31mred\u{1b}[0m"]
        ["\u{1b}[2J\u{1b}[HCLEAR\u{1b}[10A" "CLEAR" "CLEAR"]
        ["\u{1b}[>4;2mkeys\u{1b}[?25l" "keys" "keys"]
        ["\u{1b}]0;title\u{7}a\u{1b}]8;;http://x\u{1b}\\b\u{1b}cc" "abc" "abc"]
        ["\u{1b}]52;c;eA==\u{9c}x\u{1b}P1$r0m\u{1b}\\y\u{1b}_z\u{1b}\\" "xy" "xy"]
        ["\u{9b}31mred\u{9d}0;title\u{7}, \u{90}q\u{9c}\u{85}dark" "red, dark" "red, dark"]
        ["\u{1b}]never ended\nnext" "\nnext" "\nnext"]
        ["\u{1b}(B\u{1b}7ok\u{1b}8\u{1b}" "ok" "ok"]
        ["one\r\ntwo\u{0}\u{8}\u{7f}" "one\ntwo" "one\ntwo"]
        ["\u{1b}\u{1b}[31m\u{1b}[\u{1b}[2J[2J" "[2J" "\u{1b}[31m[2J"]
        ["\u{202e}gnp.\u{2066}exe\u{2069}" "gnp.exe" "gnp.exe"]
    ] {
        equal ($case.written | printable plain) $case.plain
        equal ($case.written | printable coloured) $case.coloured
    }
    equal ('{"a.b": "\u001b[1mx", "log": [{"line": "\u001b[1my\u001b[2J"}], "none": null, "few": []}' | printable decode) {
        "a.b": x log: [{ line: "\u{1b}[1my" }] none: null few: []
    }
}

export def "test a hostile service and its checks do not control the terminal" [] {
    define $"
[services.loud]
description = '''DESCRIBED'''
start_command = [TEST_SERVICE, 'say', \"($BAD)\"]
health_check_endpoint = \"exec:printf '($BAD)'; exit 1\"
[services.loud.ready]
timeout = '300ms'
[services.lost]
description = \"($BAD)\"
start_command = \"($BAD)\"
working_dir = \"/nowhere($BAD)\"
"
    check-printable start { service start --all --timeout 5sec }
    check-printable "start of one" { service start lost --timeout 5sec }
    eventually "the log has the lines" { service logs loud | where stream == stdout | is-not-empty }
    for command in [
        [what work];
        [status { service status }] ["status --long" { service status --long }] [logs { service logs }] [list { service list }]
        [health { service health }] [why { service why loud }] ["why lost" { service why lost }] [events { service events }]
        [history { service history }] [plan { service plan }] [check { service check }] [daemon { service daemon status }]
        [wait { service wait loud --timeout 100ms }] [graph { service graph --format tree }]
    ] {
        check-printable $command.what $command.work
    }
    equal (service logs loud | where stream == stdout | get 0.line) "\u{1b}[31mred\u{1b}[0m"
    holds (service logs loud --raw | str contains "\u{1b}]52;c;eA==\u{7}\u{1b}[2J") "the raw text is unchanged"
}

export def "test a hostile file does not control the terminal" [] {
    for text in [
        $"# comment \u{1b}]0;t\u{7}\u{1b}[2J\n[services.a]\nstart_command = 'true'\n"
        $"\"k($BAD)\" = 1\n"
        $"[services.\"n($BAD)\"]\nstart_command = 'true'\n"
        $"[services.a]\nstart_command = 'true'\ndependencies = [\"d($BAD)\"]\n"
        $"[services.a]\nstart_command = 'true'\n\"k($BAD)\" = \"v\"\n"
        $"[services.a]\nstart_command = 'true'\nrestart = \"($BAD)\"\nhealth_check_endpoint = \"($BAD)\"\n"
    ] {
        $text | save --force services.toml
        for work in [{ service status } { service list } { service check } { service check --strict } { service start a }] {
            check-printable ($text | to json) $work
        }
    }
}

export def "test a hostile Procfile does not control the terminal" [] {
    $"web: echo \u{1b}]52;c;eA==\u{7}\u{1b}[2J\nb\u{9b}2Jad: x\n" | save Procfile
    check-printable init { service init }
    holds (open --raw services.toml | lines | all {|line| $line !~ $CONTROL_SEQUENCE }) "no control character is in the file"
    check-printable "init again" { service init }
}

export def "test a hostile directory does not control the terminal" [] {
    # Nushell itself cannot enter such a directory.
    ^mkdir $NAME
    define "[services.web]\nstart_command = \"TEST_SERVICE\"\n"
    ^cp services.toml $NAME
    let config = $"($NAME)/services.toml"
    for work in [
        { service start web --config $config } { service status --long --config $config } { service daemon status --config $config }
        { service projects } { service check --config $config } { service list --config $config } { service status nobody --config $config }
        { service daemon stop --services --config $config } { service daemon status --config $config }
        { service check --config $"($NAME)/no.toml" }
    ] {
        check-printable (view source $work) $work
    }
}
