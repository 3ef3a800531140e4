# `--since`: a duration back from now, a datetime, or the number of an event, in the form of the API.

use problem.nu

export def main [since: any, span: record, --numbers]: nothing -> any {
    match ($since | describe) {
        nothing => null
        duration if $since >= 0sec => ((date now) - $since | rfc3339)
        datetime => ($since | rfc3339)
        int if $numbers and $since >= 0 => $since
        string => (try { $since | into datetime | rfc3339 } catch { refuse $span })
        _ => { refuse $span }
    }
}

def rfc3339 []: datetime -> string {
    $in | date to-timezone UTC | format date "%Y-%m-%dT%H:%M:%S%.9fZ"
}

def refuse [span: record]: nothing -> error {
    problem raise { code: bad_request message: "cannot use this as a point in time"
        help: "for example `--since 10min` or `--since ((date now) - 1hr)`" } $span
}
