# A daemon on another machine: `$env.config.plugins.service`, as for the plugin; and asking, here or there.

use problem.nu

const KEYS = [url token_file ca_file]
const HELP = "copy `tokens/read` or `tokens/admin` from beside the daemon's state there"

# The way to the daemon that the shell is set to; null if it is set to none, or the call names a file of this machine.
export def way [config: any, span: record]: nothing -> any {
    let said = $env.config.plugins?.service? | default {}
    if $config != null or $said.url? == null { return null }
    let strange = $said | columns | where $it not-in $KEYS
    if ($strange | is-not-empty) { refuse $"it has no key `($strange.0)`" $"its keys are ($KEYS | str join ', ')" $span }
    if $said.ca_file? != null {
        refuse "`ca_file` is for the plugin" "let this machine trust the authority: Nushell's own `http` goes by that" $span
    }
    if $said.token_file? == null { refuse "`token_file` is missing" $HELP $span }
    let url = $said.url | str trim --right --char /
    if $url !~ '^https?://[A-Za-z0-9._:\[\]-]+$' {
        problem raise { code: bad_request message: $"cannot find a daemon by the URL `($url)`"
            help: "write it as `https://host:7777`, without a path; the token is in `token_file`" } $span
    }
    { url: $url headers: { Authorization: $"Bearer (token ($said.token_file | path expand) $span)" } span: $span }
}

def refuse [message: string, help: string, span: record]: nothing -> error {
    problem raise { code: bad_request message: $"cannot follow $env.config.plugins.service: ($message)" help: $help } $span
}

def token [file: string, span: record]: nothing -> string {
    let cannot = $"cannot use the token in `($file)`: "
    if not ($file | path exists) { problem raise { code: unauthorized message: $"($cannot)there is no such file" help: $HELP } $span }
    if (^stat -L -c %a $file | str trim) !~ '00$' {
        problem raise { code: unauthorized message: $"($cannot)others can read it" help: $"run `chmod 600 ($file)`" } $span
    }
    open --raw $file | decode utf-8 | str trim
}

# What is answered there, or over the socket.
export def get [way: record, target: string, headers: record = {}]: nothing -> any {
    let url = url $way $target
    let headers = $headers | merge ($way.headers? | default {})
    # Not `return`: that would wait for the end.
    if $way.url? != null {
        http get --raw --allow-errors --headers $headers $url
    } else {
        http get --raw --allow-errors --headers $headers --unix-socket $way.socket $url
    }
}

# The same, in so much time.
export def get-within [limit: duration, way: record, target: string]: nothing -> any {
    let url = url $way $target
    if $way.url? != null { return (http get --raw --allow-errors --max-time $limit --headers $way.headers $url) }
    http get --raw --max-time $limit --unix-socket $way.socket $url
}

# What a wish is answered.
export def post [way: record, target: string, body: record, headers: record = {}]: nothing -> any {
    let url = url $way $target
    let headers = $headers | merge ($way.headers? | default {})
    # Not `return`: that would wait for the end.
    if $way.url? != null {
        http post --raw --allow-errors --content-type application/json --headers $headers $url $body
    } else {
        http post --raw --allow-errors --content-type application/json --headers $headers --unix-socket $way.socket $url $body
    }
}

def url [way: record, target: string]: nothing -> string { $"($way.url? | default http://localhost)($target)" }
