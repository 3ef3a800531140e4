# `service check`.

use ../client.nu
use ../problem.nu
use ../project.nu

# Show all errors and warnings of a services.toml.
@category service
@search-terms validate lint verify errors warnings
export def "service check" [
    file?: path # the file to check instead of the project's own
    --config (-c): path # the services.toml to use
    --strict # fail if there is an error, and report every problem in it: for CI
]: any -> table {
    ignore # the item of a closure
    let span = (metadata $file).span
    let findings = client query-offline (project ($file | default $config) $span) [check --nu $nu.current-exe] $span
    let errors = $findings | where severity == error
    if $strict and ($errors | is-not-empty) {
        let texts = $findings | each {|it|
            let place = if $it.line? == null { "" } else { $"\n --> ($it.file):($it.line):($it.column)" }
            let help = if $it.help? == null { "" } else { $"\nhelp: ($it.help)" }
            $"\n\n($it.severity): ($it.message)($place)($help)"
        }
        problem raise {
            code: bad_definition
            message: $"cannot start services with `($errors.0.file)`($texts | str join)"
        } $span
    }
    $findings | each {|it|
        {
            severity: $it.severity
            service: $it.service?
            key: $it.key?
            message: $it.message
            file: $it.file
            line: $it.line?
            column: $it.column?
            help: $it.help?
        }
    }
}
