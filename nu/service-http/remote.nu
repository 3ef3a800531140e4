# The daemon of another machine (`$env.config.plugins.service`, as for the plugin), and requests to any daemon.

use ownership.nu
use problem.nu

const KEYS = [url token_file ca_file]
# Requests use no proxy: the token is meant for the daemon alone.
const NO_PROXY = { NO_PROXY: "*" no_proxy: "*" }
const PROXIES = [http_proxy HTTP_PROXY https_proxy HTTPS_PROXY all_proxy ALL_PROXY]
# The first minor version of Nushell that honours NO_PROXY.
const HEARS_NO_PROXY = 115
const HELP = "copy `tokens/read` or `tokens/admin` from the remote state directory"

# The address of the daemon that the shell is configured for; null if there is none, or if the call names a local file.
export def way [config: any, span: record]: nothing -> any {
    let said = $env.config.plugins?.service? | default {}
    if $config != null or $said.url? == null { return null }
    let strange = $said | columns | where $it not-in $KEYS
    if ($strange | is-not-empty) { refuse $"it has no key `($strange.0)`" $"its keys are ($KEYS | str join ', ')" $span }
    if $said.ca_file? != null {
        refuse "`ca_file` is for the plugin" "let this machine trust the authority: Nushell's own `http` goes by that" $span
    }
    if $said.token_file? == null { refuse "`token_file` is missing" $HELP $span }
    let proxy = proxy
    if $proxy != null {
        refuse $"this Nushell would send the token to the proxy of $env.($proxy)" $"start it without that variable: `env -u ($proxy) nu`" $span
    }
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
    cd /
    if not ($file | path exists) { problem raise { code: unauthorized message: $"($cannot)there is no such file" help: $HELP } $span }
    if (^stat -L -c %a $file | str trim) !~ '00$' {
        problem raise { code: unauthorized message: $"($cannot)others can read it" help: $"run `chmod 600 ($file)`" } $span
    }
    ownership must-be-regular ($file | path expand)
    open --raw $file | decode utf-8 | str trim
}

# A GET request to that address, or over the socket.
export def get [way: record, target: string, headers: record = {}]: nothing -> any {
    let url = url $way $target
    let headers = $headers | merge ($way.headers? | default {})
    # Not `return`: that would wait for the end.
    if $way.url? != null {
        with-env $NO_PROXY { http get --raw --allow-errors --redirect-mode error --headers $headers $url }
    } else if (is-lost) {
        from-elsewhere { verb: get socket: $way.socket url: $url headers: $headers limit: 52wk }
    } else {
        http get --raw --allow-errors --headers $headers --unix-socket $way.socket $url
    }
}

# The same with a limit.
export def get-within [limit: duration, way: record, target: string]: nothing -> any {
    let url = url $way $target
    if $way.url? != null {
        return (with-env $NO_PROXY { http get --raw --allow-errors --redirect-mode error --max-time $limit --headers $way.headers $url })
    }
    if (is-lost) { return (from-elsewhere { verb: get socket: $way.socket url: $url headers: {} limit: $limit }) }
    http get --raw --max-time $limit --unix-socket $way.socket $url
}

# A POST request.
export def post [way: record, target: string, body: record, headers: record = {}]: nothing -> any {
    let url = url $way $target
    # `service hook` acts on behalf of the shell and names itself.
    let caller = if $env.SERVICE_CALLER? == hook { { Service-Caller: hook } } else { {} }
    let headers = $headers | merge ($way.headers? | default {}) | merge $caller
    # Not `return`: that would wait for the end.
    if $way.url? != null {
        with-env $NO_PROXY {
            http post --raw --allow-errors --redirect-mode error --content-type application/json --headers $headers $url $body
        }
    } else if (is-lost) {
        from-elsewhere { verb: post socket: $way.socket url: $url headers: $headers limit: 52wk body: $body }
    } else {
        http post --raw --allow-errors --content-type application/json --headers $headers --unix-socket $way.socket $url $body
    }
}

# Whether the shell's directory is gone: then Nushell's `http` finds no socket.
def is-lost []: nothing -> bool {
    try { http get --unix-socket /proc/self/none http://localhost; false } catch {|error| $error.msg =~ "non-existent directory" }
}

# The same request from a Nushell in another directory.
def from-elsewhere [request: record]: nothing -> any {
    cd /
    $request | to nuon | ^$nu.current-exe --no-config-file --no-std-lib --stdin --commands '
        let it = $in | from nuon
        if $it.verb == get {
            http get --raw --allow-errors --max-time $it.limit --headers $it.headers --unix-socket $it.socket $it.url
        } else {
            http post --raw --allow-errors --content-type application/json --headers $it.headers --unix-socket $it.socket $it.url $it.body
        }
    ' e> /dev/null
}

# The proxy to which an older Nushell would send the token: it uses the variables with which it was started.
def proxy []: nothing -> any {
    if (($env.NU_VERSION | parse "{major}.{minor}.{patch}").0.minor | into int) >= $HEARS_NO_PROXY { return null }
    let began = try { open --raw $"/proc/($nu.pid)/environ" | decode utf-8 | split row (char --integer 0) } catch { [] }
    let began = $began | parse "{name}={value}"
    let now = $env | transpose name value | where name in $PROXIES
    ($began | where name in $PROXIES and value != "" | append $now).0?.name?
}

def url [way: record, target: string]: nothing -> string { $"($way.url? | default http://localhost)($target)" }
