# `service prompt`: a summary of the project for a prompt, without any wait.
#
# The text comes from a file that a background job writes. The job is started here when the file is older than a moment, so the
# text is that of the previous prompt; an older text also shows its age.

use paths.nu
use colors.nu
use summary.nu

# The age at which the file is refreshed, and the age that is shown.
const FRESH = 1sec
const RECENT = 15sec
# The limit of a background job.
const PATIENCE = 10sec

# Return a summary of the project for the prompt, such as `3/4 up, db failing`: from a snapshot, in less than 5 ms.
#
# The summary is empty outside a project and without a daemon. The command never waits and never starts a daemon: a background
# job writes the next snapshot. An old snapshot shows its age, as in `3/4 up (12min)`.
@category service
@search-terms segment status line starship
@example "on the right" "use service\n$env.PROMPT_COMMAND_RIGHT = { service prompt --color }"
export def "service prompt" [
    --color (-c) # green, yellow, or red if a service fails
]: nothing -> string {
    let config = paths usable $env.PWD
    if $config == null { return "" }
    let file = paths cache prompt $config
    let snapshot = try { open --raw $file | from json } catch { { at: 0 text: "" } }
    let age = (date now | into int) - $snapshot.at | into duration
    if $age > $FRESH and not (is-asked $file) { ask $config $file }
    let text = if $snapshot.text == "" or $age < $RECENT { $snapshot.text } else {
        $"($snapshot.text) \(($age | into string | split row ' ' | first)\)"
    }
    if $color and $text != "" { $"(ansi (colors style (mood $text)))($text)(ansi reset)" } else { $text }
}

def mood [text: string]: nothing -> string {
    if $text =~ "failing|wrong" { "failed" } else if $text =~ "way|unknown" { "starting" } else { "ready" }
}

# A job is already running.
def is-asked [file: string]: nothing -> bool {
    let asked = try { open --raw $"($file).asked" | into int } catch { return false }
    ((date now | into int) - $asked | into duration) < $PATIENCE
}

def ask [config: string, file: string]: nothing -> nothing {
    let asked = $"($file).asked"
    let begun = date now | into int | into string
    try { $begun | save --force $asked } catch {
        mkdir ($file | path dirname)
        $begun | save --force $asked
    }
    job spawn {
        let text = try { service status --no-start --quiet --config $config | summary } catch {|error| trouble $error }
        # If the job fails, the old snapshot stays and shows its age.
        if $text != null { { at: (date now | into int) text: $text } | to json --raw | paths keep $file }
        # Another job may have started after the limit.
        if (try { open --raw $asked } catch { "" }) == $begun { rm --force $asked }
    } | ignore
}

def trouble [error: record]: nothing -> any {
    match ($error.details?.code? | default "") {
        "service::daemon_unreachable" | "service::no_project" => ""
        "service::bad_definition" => "services.toml is wrong"
        _ => null
    }
}
