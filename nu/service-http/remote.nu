# The daemon of another machine (`$env.config.plugins.service`, as for the plugin), and requests to any daemon.

use ownership.nu
use problem.nu

const KEYS = [url token_file ca_file]
# Requests use no proxy, because the token is only for the daemon.
const NO_PROXY = { NO_PROXY: "*" no_proxy: "*" }
const PROXIES = [http_proxy HTTP_PROXY https_proxy HTTPS_PROXY all_proxy ALL_PROXY]
# The first minor version of Nushell that honours NO_PROXY.
const MIN_MINOR_WITH_NO_PROXY = 115
const TOKEN_HELP = "copy `tokens/read` or `tokens/admin` from the remote state directory"

# The connection to the configured remote daemon; null without one, or if the call names a local file.
export def connection [config: any, span: record]: nothing -> any {
    let remote = $env.config.plugins?.service? | default {}
    if $config != null or $remote.url? == null { return null }
    let unknown = $remote | columns | where $it not-in $KEYS
    if ($unknown | is-not-empty) { refuse $"it has no key `($unknown.0)`" $"its keys are ($KEYS | str join ', ')" $span }
    if $remote.ca_file? != null {
        refuse "`ca_file` is for the plugin" "add the authority to the machine's trust store, which Nushell's `http` uses" $span
    }
    if $remote.token_file? == null { refuse "`token_file` is missing" $TOKEN_HELP $span }
    let proxy = proxy
    if $proxy != null {
        refuse $"this Nushell would send the token to the proxy of $env.($proxy)" $"start it without that variable: `env -u ($proxy) nu`" $span
    }
    let url = $remote.url | str trim --right --char /
    if $url !~ '^https?://[A-Za-z0-9._:\[\]-]+$' {
        problem raise { code: bad_request message: $"cannot find a daemon by the URL `($url)`"
            help: "write it as `https://host:7777`, without a path; the token is in `token_file`" } $span
    }
    { url: $url headers: { Authorization: $"Bearer (token ($remote.token_file | path expand) $span)" } span: $span }
}

def refuse [message: string, help: string, span: record]: nothing -> error {
    problem raise { code: bad_request message: $"cannot follow $env.config.plugins.service: ($message)" help: $help } $span
}

def token [file: string, span: record]: nothing -> string {
    let cannot = $"cannot use the token in `($file)`: "
    cd /
    if not ($file | path exists) { problem raise { code: unauthorized message: $"($cannot)there is no such file" help: $TOKEN_HELP } $span }
    if (^stat -L -c %a $file | str trim) !~ '00$' {
        problem raise { code: unauthorized message: $"($cannot)others can read it" help: $"run `chmod 600 ($file)`" } $span
    }
    ownership require-regular ($file | path expand)
    open --raw $file | decode utf-8 | str trim
}

# A GET request to the remote daemon, or over the socket.
export def get [connection: record, target: string, headers: record = {}]: nothing -> any {
    let url = url $connection $target
    let headers = $headers | merge ($connection.headers? | default {})
    # A `return` would wait for the end of the stream.
    if $connection.url? != null {
        with-env $NO_PROXY { http get --raw --allow-errors --redirect-mode error --headers $headers $url }
    } else if (is-directory-gone) {
        request-from-root { verb: get socket: $connection.socket url: $url headers: $headers limit: 52wk }
    } else {
        http get --raw --allow-errors --headers $headers --unix-socket $connection.socket $url
    }
}

# A GET request with a time limit.
export def get-within [limit: duration, connection: record, target: string]: nothing -> any {
    let url = url $connection $target
    if $connection.url? != null {
        return (with-env $NO_PROXY { http get --raw --allow-errors --redirect-mode error --max-time $limit --headers $connection.headers $url })
    }
    if (is-directory-gone) { return (request-from-root { verb: get socket: $connection.socket url: $url headers: {} limit: $limit }) }
    http get --raw --max-time $limit --unix-socket $connection.socket $url
}

# A POST request.
export def post [connection: record, target: string, body: record, headers: record = {}]: nothing -> any {
    let url = url $connection $target
    # `service hook` identifies its requests with this header.
    let caller = if $env.SERVICE_CALLER? == hook { { Service-Caller: hook } } else { {} }
    let headers = $headers | merge ($connection.headers? | default {}) | merge $caller
    # A `return` would wait for the end of the stream.
    if $connection.url? != null {
        with-env $NO_PROXY {
            http post --raw --allow-errors --redirect-mode error --content-type application/json --headers $headers $url $body
        }
    } else if (is-directory-gone) {
        request-from-root { verb: post socket: $connection.socket url: $url headers: $headers limit: 52wk body: $body }
    } else {
        http post --raw --allow-errors --content-type application/json --headers $headers --unix-socket $connection.socket $url $body
    }
}

# Whether the shell's directory is gone. Nushell's `http` then finds no socket.
def is-directory-gone []: nothing -> bool {
    try { http get --unix-socket /proc/self/none http://localhost; false } catch {|error| $error.msg =~ "non-existent directory" }
}

# Sends the request from another Nushell, in `/`.
def request-from-root [request: record]: nothing -> any {
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

# The proxy variable that an older Nushell would use for requests. Such a Nushell uses the variables with which it was started.
def proxy []: nothing -> any {
    if (($env.NU_VERSION | parse "{major}.{minor}.{patch}").0.minor | into int) >= $MIN_MINOR_WITH_NO_PROXY { return null }
    let initial = try { open --raw $"/proc/($nu.pid)/environ" | decode utf-8 | split row (char --integer 0) } catch { [] }
    let initial = $initial | parse "{name}={value}"
    let now = $env | transpose name value | where name in $PROXIES
    ($initial | where name in $PROXIES and value != "" | append $now).0?.name?
}

def url [connection: record, target: string]: nothing -> string { $"($connection.url? | default http://localhost)($target)" }
