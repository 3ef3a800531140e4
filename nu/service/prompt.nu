# `service prompt`: a summary of the project for a prompt, without any wait.
#
# The text comes from a file that a background job writes. A prompt starts the job if the file is old, and shows the text of the
# previous prompt. An older text also shows its age.

use paths.nu
use colors.nu
use summary.nu

# The age from which the file is refreshed, and the age from which the prompt shows the age.
const REFRESH_AGE = 1sec
const SHOWN_AGE = 15sec
# The maximum time of a background job.
const JOB_TIMEOUT = 10sec

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
    let config = paths trusted-project $env.PWD
    if $config == null { return "" }
    let file = paths cache prompt $config
    let snapshot = try { open --raw $file | from json } catch { { at: 0 text: "" } }
    let age = (date now | into int) - $snapshot.at | into duration
    if $age > $REFRESH_AGE and not (is-job-running $file) { start-job $config $file }
    let text = if $snapshot.text == "" or $age < $SHOWN_AGE { $snapshot.text } else {
        $"($snapshot.text) \(($age | into string | split row ' ' | first)\)"
    }
    if $color and $text != "" { $"(ansi (colors style (worst-state $text)))($text)(ansi reset)" } else { $text }
}

def worst-state [text: string]: nothing -> string {
    if $text =~ "failing|wrong" { "failed" } else if $text =~ "way|unknown" { "starting" } else { "ready" }
}

# Whether a job is running.
def is-job-running [file: string]: nothing -> bool {
    let marker = try { open --raw $"($file).asked" | into int } catch { return false }
    ((date now | into int) - $marker | into duration) < $JOB_TIMEOUT
}

def start-job [config: string, file: string]: nothing -> nothing {
    let marker = $"($file).asked"
    let started = date now | into int | into string
    try { $started | save --force $marker } catch {
        mkdir ($file | path dirname)
        $started | save --force $marker
    }
    job spawn {
        let text = try { service status --no-start --quiet --config $config | summary } catch {|error| describe-error $error }
        # If the job fails, the old snapshot stays and shows its age.
        if $text != null { { at: (date now | into int) text: $text } | to json --raw | paths save-private $file }
        # If the time is exceeded, another job may have started.
        if (try { open --raw $marker } catch { "" }) == $started { rm --force $marker }
    } | ignore
}

def describe-error [error: record]: nothing -> any {
    match ($error.details?.code? | default "") {
        "service::daemon_unreachable" | "service::no_project" => ""
        "service::bad_definition" => "services.toml is wrong"
        _ => null
    }
}
