# A daemon on another machine: `$env.config.plugins.service`, as for the plugin; and asking, here or there.

use ownership.nu
use problem.nu

const KEYS = [url token_file ca_file]
# No proxy is asked for anything. A token is for the daemon alone.
const NO_PROXY = { NO_PROXY: "*" no_proxy: "*" }
const PROXIES = [http_proxy HTTP_PROXY https_proxy HTTPS_PROXY all_proxy ALL_PROXY]
# From this minor version on Nushell does what NO_PROXY says.
const HEARS_NO_PROXY = 115
const HELP = "copy `tokens/read` or `tokens/admin` from the remote state directory"

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

# What is answered there, or over the socket.
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

# The same, in so much time.
export def get-within [limit: duration, way: record, target: string]: nothing -> any {
    let url = url $way $target
    if $way.url? != null {
        return (with-env $NO_PROXY { http get --raw --allow-errors --redirect-mode error --max-time $limit --headers $way.headers $url })
    }
    if (is-lost) { return (from-elsewhere { verb: get socket: $way.socket url: $url headers: {} limit: $limit }) }
    http get --raw --max-time $limit --unix-socket $way.socket $url
}

# What a wish is answered.
export def post [way: record, target: string, body: record, headers: record = {}]: nothing -> any {
    let url = url $way $target
    # What acts in the shell's name, `service hook`, says so of itself.
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

# Whether the shell is in a directory that is gone: then its `http` finds no socket, whatever its path.
def is-lost []: nothing -> bool {
    try { http get --unix-socket /proc/self/none http://localhost; false } catch {|error| $error.msg =~ "non-existent directory" }
}

# The same, asked by a Nushell in another directory.
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

# The proxy that an older Nushell would send the token to, whatever it is told: it goes by the variables that it began with.
def proxy []: nothing -> any {
    if (($env.NU_VERSION | parse "{major}.{minor}.{patch}").0.minor | into int) >= $HEARS_NO_PROXY { return null }
    let began = try { open --raw $"/proc/($nu.pid)/environ" | decode utf-8 | split row (char --integer 0) } catch { [] }
    let began = $began | parse "{name}={value}"
    let now = $env | transpose name value | where name in $PROXIES
    ($began | where name in $PROXIES and value != "" | append $now).0?.name?
}

def url [way: record, target: string]: nothing -> string { $"($way.url? | default http://localhost)($target)" }
